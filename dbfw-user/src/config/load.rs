//! Loading: from files to a configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dbfw_core::{
    source::SourceType,
    toml::{Document, Place, Problems, Report, Table, utf8},
};
use dbfw_provider::{
    fs::{OpenError, read_file},
    tables::{
        APTIBLE, DIGITALOCEAN, check_dns, read_aptible, read_digitalocean, read_dns, read_feeds,
    },
};
use jiff::Timestamp;

use super::{
    exposed::exposed_files,
    tables::{
        agent::{read_agent, warn_max_stale},
        database::{Draft, read_database},
        server::read_server,
    },
    types::{AgentConfig, Config, ConfigFile},
    validate::{check_databases, check_local, check_providers, warn_sources},
};

/// Largest configuration file in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads the configuration in `path` and in `conf.d/*.toml` beside it.
///
/// Drop-ins are read in the order of their names. What one says in a table replaces what
/// came before; its databases are added.
///
/// # Errors
///
/// Everything that is wrong in the files, or that keeps them from being read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let mut report = Report::default();
    let mut files = Vec::new();
    let mut complete = true;

    for file in file_names(path, &mut report) {
        match read_text(&file, file == path, &mut report) {
            Some(text) => files.push(ConfigFile { path: file, text }),
            None => complete = false,
        }
    }
    let mut config = assemble(path, files, complete, report)?;
    config.warnings.extend(exposed_files(&config));
    Ok(config)
}

/// Makes a configuration of files that were read earlier, the main file first.
///
/// # Errors
///
/// Everything that is wrong in them.
pub fn parse(files: Vec<ConfigFile>) -> Result<Config, Problems> {
    let main = files.first().map(|file| file.path.clone()).unwrap_or_default();
    assemble(&main, files, true, Report::default())
}

/// Reads `files` into a configuration. `complete`: no file beside them could not be read.
fn assemble(
    path: &Path,
    files: Vec<ConfigFile>,
    mut complete: bool,
    mut report: Report,
) -> Result<Config, Problems> {
    let mut config = Config::default();
    let mut drafts = Vec::new();
    for file in &files {
        complete &= read_tables(file, &mut config, &mut drafts, &mut report).is_some();
    }
    // A file that could not be read may have had the databases.
    if drafts.is_empty() && complete && report.is_clean() {
        let fix = "add one that begins with [[database]]";
        report.problem(&Place::file(path), "protects no database", fix);
    }
    check_databases(&drafts, &mut report);
    check_local(&drafts, config.agent.backstop, &mut report);
    // Or the tables that they need.
    if complete {
        check_providers(&drafts, &config, &mut report);
    }
    if let Some(table) = &config.digitalocean {
        DIGITALOCEAN.check(&table.api_url, &table.http, &mut report);
    }
    if let Some(table) = &config.aptible {
        APTIBLE.check(&table.api_url, &table.http, &mut report);
    }
    check_dns(&config.dns, &mut report);
    let feed = drafts
        .iter()
        .flat_map(|draft| &draft.config.trusted_sources)
        .find(|source| source.kind() == SourceType::Feed);
    let polls = [
        config.digitalocean.as_ref().map(|table| ("[digitalocean]", table.poll)),
        config.aptible.as_ref().map(|table| ("[aptible]", table.poll)),
        feed.map(|_| ("[feeds]", config.feeds.poll)),
    ];
    warn_max_stale(&config.agent, polls.into_iter().flatten(), &mut report);
    let now = Timestamp::now();
    for draft in &drafts {
        warn_sources(draft, now, &mut report);
    }

    config.warnings = report.finish(path)?;
    config.databases = drafts.into_iter().map(|draft| draft.config).collect();
    config.files = files;
    Ok(config)
}

/// `[agent]` as far as it can be made out, for commands that only need to know where things
/// are: what is missing, unreadable or wrong has its default.
pub fn agent_section(path: &Path) -> AgentConfig {
    let mut agent = AgentConfig::default();
    let mut ignored = Report::default();
    for file in file_names(path, &mut ignored) {
        let Ok(content) = read_file(&file, MAX_FILE) else { continue };
        let text = String::from_utf8_lossy(&content);
        let document = Document::parse_lenient(&file, &text);
        let section = document.root().take("agent");
        if let Some(table) = section.and_then(|value| value.table("", &mut ignored)) {
            read_agent(&mut agent, table, &mut ignored);
        }
    }
    agent
}

/// The main file, and the files in `conf.d` beside it by name.
fn file_names(main: &Path, report: &mut Report) -> Vec<PathBuf> {
    let directory = main.with_file_name("conf.d");
    let entries = fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths: Vec<PathBuf> = match entries {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let fix = "make it a readable directory, or remove it";
            report.problem(&Place::file(&directory), format!("cannot be read: {error}"), fix);
            Vec::new()
        }
    };
    // Names that begin with a dot are editors' temporary files.
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "toml")
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    });
    paths.sort();
    paths.insert(0, main.to_owned());
    paths
}

/// Reads one file's text; `None` if there is none.
fn read_text(file: &Path, is_main: bool, report: &mut Report) -> Option<String> {
    let content = read_file(file, MAX_FILE)
        .map_err(|error| {
            report.problem(&Place::file(file), error.to_string(), open_fix(&error, is_main));
        })
        .ok()?;
    utf8(file, &content, report).map(str::to_owned)
}

/// Takes in what one file says; `None` if it is no TOML.
fn read_tables(
    file: &ConfigFile,
    config: &mut Config,
    databases: &mut Vec<Draft>,
    report: &mut Report,
) -> Option<()> {
    let document = Document::parse(&file.path, &file.text, report)?;
    let mut root = document.root();

    let Config { agent, digitalocean, aptible, server, feeds, dns, .. } = config;
    section(&mut root, "agent", report, |table, report| read_agent(agent, table, report));
    if let Some(value) = root.take("database")
        && let Some(elements) = value.array("begin each database with [[database]]", report)
    {
        databases.extend(elements.filter_map(|element| read_database(element, report)));
    }
    section(&mut root, "digitalocean", report, |table, report| {
        read_digitalocean(digitalocean.get_or_insert_default(), table, report);
    });
    section(&mut root, "aptible", report, |table, report| {
        read_aptible(aptible.get_or_insert_default(), table, report);
    });
    section(&mut root, "server", report, |table, report| {
        read_server(server.get_or_insert_default(), table, report);
    });
    section(&mut root, "feeds", report, |table, report| read_feeds(feeds, table, report));
    section(&mut root, "dns", report, |table, report| read_dns(dns, table, report));
    root.finish(report);
    Some(())
}

/// Hands the table of that name to `read`, if there is one.
fn section<'d>(
    root: &mut Table<'d>,
    name: &'static str,
    report: &mut Report,
    read: impl FnOnce(Table<'d>, &mut Report),
) {
    let fix = format!("begin it with [{name}]");
    if let Some(table) = root.take(name).and_then(|value| value.table(&fix, report)) {
        read(table, report);
    }
}

fn open_fix(error: &OpenError, is_main: bool) -> &'static str {
    match error {
        OpenError::NotRegular if !is_main => "move it out of conf.d",
        OpenError::NotRegular => "name a file",
        OpenError::TooLarge(_) => "move long lists of sources to a file of their own (provider)",
        OpenError::Io(error) => match error.kind() {
            io::ErrorKind::NotFound if !is_main => "remove the broken link",
            io::ErrorKind::NotFound => "create it, or name another one with --config",
            io::ErrorKind::PermissionDenied if nix::unistd::geteuid().is_root() => {
                "`sudo dbfw check` names the command that lets the agent read it"
            }
            io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
            _ => "check the path and the file system",
        },
    }
}
