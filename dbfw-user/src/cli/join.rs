//! `dbfw join`: makes this host one of a control plane's.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use dbfw_core::answers::ListId;
use dbfw_provider::server::{Membership, join as join_server, url_problem};
use dbfw_wire::agent::JoinToken;
use nix::unistd::gethostname;
use tempfile::NamedTempFile;
use url::Url;

use super::{
    context::Context,
    exit::{Exit, UsageError},
    message::{note, warn},
};
use crate::config::{self, Config};

/// Bytes of the longest join token, with what may be around it.
const MAX_TOKEN: u64 = 4096;

/// The files that joining writes, beside the configuration.
struct Paths {
    /// `conf.d/server.toml`.
    table: PathBuf,
    token: PathBuf,
    ca: PathBuf,
}

impl Paths {
    fn of(config: &Path) -> Self {
        Self {
            table: config.with_file_name("conf.d").join("server.toml"),
            token: config.with_file_name("host-token"),
            ca: config.with_file_name("server-ca.pem"),
        }
    }

    /// The first that is there already.
    fn existing(&self) -> Option<&Path> {
        let all = [&self.table, &self.token, &self.ca];
        all.into_iter().map(PathBuf::as_path).find(|path| path.symlink_metadata().is_ok())
    }
}

pub(super) fn join(
    context: &Context,
    url: &str,
    token_file: Option<&Path>,
    force: bool,
) -> anyhow::Result<Exit> {
    let url = read_url(url)?;
    let config = std::path::absolute(&context.config).context("the directory is not known")?;
    let paths = Paths::of(&config);
    // Before the token is used, which is good for one host.
    if let Some(existing) = paths.existing().filter(|_| !force) {
        bail!(
            "{} is there: this host has joined before. To join it again, run this with --force; \
             what is in force stays until the new server has sent its lists",
            existing.display()
        );
    }
    let files = NewFiles::open(&paths)?;
    let token = read_token(token_file)?;
    let hostname = gethostname()
        .map_or_else(|_| "unnamed".to_owned(), |name| name.to_string_lossy().into_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for a server")?;
    let Membership { joined, ca } = runtime
        .block_on(join_server(&url, &token, &hostname))
        .with_context(|| format!("cannot join {}", shown(&url)))?;
    files.write(&paths, &url, &joined.token, ca.as_deref())?;
    note(&format!(
        "joined {} as host {}; written: {}",
        joined.server,
        joined.host,
        paths.table.display()
    ));
    tell_next(&config, &joined.databases);
    Ok(Exit::Ok)
}

fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn read_url(text: &str) -> anyhow::Result<Url> {
    // Somebody may give the token in the place of the address: neither is shown.
    let wrong = |problem: &str| {
        UsageError(format!("the address of the server {problem}: write https://HOST:PORT"))
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    match url_problem(&url) {
        Some(problem) => Err(wrong(problem).into()),
        None => Ok(url),
    }
}

/// The join token, from a file or from standard input: arguments are seen by everybody.
fn read_token(file: Option<&Path>) -> anyhow::Result<JoinToken> {
    let mut text = String::new();
    match file {
        Some(path) => {
            let cannot = || format!("cannot read the join token in {}", path.display());
            let file = fs::File::open(path).with_context(cannot)?;
            file.take(MAX_TOKEN).read_to_string(&mut text).with_context(cannot)?;
        }
        None => {
            if io::stdin().is_terminal() {
                note("the join token, as `dbfw-server join-token` prints it, then Enter:");
                io::stdin().read_line(&mut text).context("cannot read the join token")?;
            } else {
                let read = io::stdin().take(MAX_TOKEN).read_to_string(&mut text);
                read.context("cannot read the join token from standard input")?;
            }
        }
    }
    let token = text.trim();
    if token.is_empty() {
        bail!(
            "there is no join token on standard input: make one with `dbfw-server join-token` on \
             the server, and pipe it into this command, or name a file with --token-file"
        );
    }
    Ok(token.parse::<JoinToken>()?)
}

/// The files before they have their names: what cannot be written is told before the token is used.
struct NewFiles {
    table: NamedTempFile,
    token: NamedTempFile,
    ca: NamedTempFile,
}

impl NewFiles {
    fn open(paths: &Paths) -> anyhow::Result<Self> {
        let directory = paths.table.parent().unwrap_or(Path::new("/"));
        let cannot = |path: &Path| format!("cannot write {}: run this as root", path.display());
        if !directory.exists() {
            fs::create_dir_all(directory).with_context(|| cannot(directory))?;
        }
        let open = |path: &Path| {
            NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))
                .with_context(|| cannot(path))
        };
        Ok(Self { table: open(&paths.table)?, token: open(&paths.token)?, ca: open(&paths.ca)? })
    }

    /// Writes the files, the table last: with it the others count.
    fn write(self, paths: &Paths, url: &Url, token: &str, ca: Option<&str>) -> anyhow::Result<()> {
        let mut table = format!(
            "# Written by `dbfw join`.\n[server]\nurls       = [{:?}]\ntoken_file = {:?}\n",
            shown(url),
            paths.token.display().to_string(),
        );
        if let Some(ca) = ca {
            table.push_str(&format!("ca_file    = {:?}\n", paths.ca.display().to_string()));
            put(self.ca, &paths.ca, ca, 0o644)?;
        }
        table.push_str(
            "# The networks that the server may grant at most:\n# within   = [\"10.0.0.0/8\"]\n",
        );
        put(self.token, &paths.token, &format!("{token}\n"), 0o600)?;
        put(self.table, &paths.table, &table, 0o644)
    }
}

/// Gives a file its content and its name.
fn put(mut file: NamedTempFile, path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let cannot = || {
        format!(
            "cannot write {}; the join token is used: remove the host at the server, and join with \
             another token",
            path.display()
        )
    };
    file.write_all(text.as_bytes()).with_context(cannot)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

/// Says what to do next: by the configuration as it is now.
fn tell_next(path: &Path, databases: &[String]) {
    let named = match databases {
        [] => "none yet: give the host some at the server".to_owned(),
        names => names.join(", "),
    };
    note(&format!("lists of the server for this host: {named}"));
    match config::load(path) {
        Ok(config) if uses_server(&config) => {
            note("next: `dbfw reload`, and `dbfw status` shows the server's lists");
        }
        Ok(_) => note_provider(path, databases),
        Err(_) => {
            warn("the configuration is not valid yet: `dbfw check` shows why");
            note_provider(path, databases);
        }
    }
}

fn note_provider(path: &Path, databases: &[String]) {
    let name = databases.first().map_or("orders", String::as_str);
    note(&format!(
        "next: in {}, give a [[database]] provider = {{ kind = \"server\", database = {name:?} }}, \
         then `dbfw check` and `dbfw reload`",
        path.display()
    ));
}

fn uses_server(config: &Config) -> bool {
    let mut databases = config.databases.iter();
    databases.any(|database| matches!(database.provider, Some(ListId::Server(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_a_configuration_that_loads() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("dbfw.toml");
        let database = "[[database]]\nname = \"o\"\nports = [5432]\n\
                        provider = { kind = \"server\", database = \"orders\" }\n";
        fs::write(&config, database).unwrap();
        let paths = Paths::of(&config);
        assert_eq!(paths.existing(), None);
        let url = read_url("https://ctl.example.com:7443/").unwrap();
        let files = NewFiles::open(&paths).unwrap();
        files.write(&paths, &url, "dbfwh_x", Some("PEM")).unwrap();
        assert_eq!(paths.existing(), Some(&*paths.table));

        let loaded = config::load(&config).unwrap();
        let server = loaded.server.unwrap();
        assert_eq!(server.urls, [url]);
        assert_eq!(server.http.ca_file.as_deref(), Some(&*paths.ca));
        assert!(server.http.only_ca_file);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&paths.token), mode(&paths.table)), (0o600, 0o644));
        assert_eq!(fs::read_to_string(&paths.token).unwrap(), "dbfwh_x\n");

        // A server of a public authority: no file of authorities.
        let url = read_url("http://127.0.0.1:7443").unwrap();
        NewFiles::open(&paths).unwrap().write(&paths, &url, "dbfwh_y", None).unwrap();
        assert_eq!(config::load(&config).unwrap().server.unwrap().http.ca_file, None);
    }

    #[test]
    fn addresses_that_cannot_be_a_servers() {
        for bad in
            ["ctl.example.com", "http://ctl.example.com", "https://a:b@c", "https://a/b", "dbfwj_1"]
        {
            let error = read_url(bad).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("https://HOST:PORT") && !text.contains("dbfwj_1"), "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        for bad in ["", "dbfwj_secret", "do-token"] {
            fs::write(&file, bad).unwrap();
            let text = format!("{:#}", read_token(Some(&file)).unwrap_err());
            assert!(!text.contains("secret"), "{text}");
        }
        let whole = format!("dbfwj_{}.{}", "0".repeat(32), "a".repeat(64));
        fs::write(&file, format!("{whole}\n")).unwrap();
        assert!(read_token(Some(&file)).is_ok());
    }
}
