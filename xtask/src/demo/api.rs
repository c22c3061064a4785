//! The provider: the tests' server that speaks DigitalOcean's API over HTTPS, on a host of its
//! own. It takes commands from a pipe that has a name, so that it stays, and can be told more,
//! when the demo is left standing.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::json;

use super::{
    hosts::{API, APP4, APP6, Host, WORKER},
    program::Programs,
    screen, signals,
    site::Site,
};

/// The database cluster whose trusted sources are the list.
pub(super) const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

/// The droplet that gets the tag and loses it.
pub(super) const DROPLET: u64 = 3_164_496;
pub(super) const TAG: &str = "backend";

/// The cluster's trusted sources.
pub(super) const RULES: [&str; 2] = ["tag:backend", "ip_addr:198.51.100.0/24"];

const NAME: &str = "api";
const PIPE: &str = "api.pipe";
const PATIENCE: Duration = Duration::from_secs(10);

/// The running server.
#[derive(Debug)]
pub(super) struct Api {
    pipe: File,
    log: PathBuf,
    /// Lines it has said.
    said: usize,
}

impl Api {
    /// Starts it, with an account that has a database cluster and a droplet for every
    /// application.
    pub(super) fn start(site: &mut Site, programs: &Programs) -> Result<Self> {
        let token = site.path("do-token");
        write(&token, "dop_v1_of_the_demo\n", 0o600)?;
        let droplet = |id: u64, host: Host, tags: &[&str]| json!({ "id": id, "name": host.name, "addresses": host.plain_addresses(), "tags": tags });
        let state = json!({
            "databases": [{ "uuid": CLUSTER, "name": "orders", "rules": RULES }],
            "droplets": [
                droplet(3_164_494, APP4, &[TAG]),
                droplet(3_164_495, APP6, &[TAG]),
                droplet(DROPLET, WORKER, &[]),
            ],
        });
        write(&site.path("account.json"), &state.to_string(), 0o644)?;

        let path = site.path(PIPE);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .with_context(|| format!("cannot make {}", path.display()))?;
        // For both directions: opening does not wait, and the server, which gets it as well,
        // never sees its end.
        let pipe = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = API.command(&programs.api);
        command
            .args(["--listen", &format!("{}:443", API.describe()), "--token-file"])
            .arg(&token)
            .arg("--state")
            .arg(site.path("account.json"))
            .arg("--tls-dir")
            .arg(site.path("tls"))
            .stdin(pipe.try_clone().context("cannot share a pipe")?);
        site.start(NAME, &mut command)?;
        let mut api = Self { pipe, log: site.path(&format!("{NAME}.log")), said: 0 };
        signals::wait("the provider to listen", PATIENCE, || {
            site.check(NAME)?;
            api.answer()
        })?;
        Ok(api)
    }

    /// Has it carry out a command; when the command was given.
    pub(super) fn tell(&mut self, line: &str) -> Result<Instant> {
        screen::typed(API.name, &format!("echo {line} > {PIPE}"))?;
        let began = Instant::now();
        self.pipe
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| format!("cannot tell the provider to {line}"))?;
        signals::wait("the provider to answer", PATIENCE, || self.answer())?;
        Ok(began)
    }

    /// The next line it says: that all is well, or an error.
    fn answer(&mut self) -> Result<Option<()>> {
        let text = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        match complete.lines().nth(self.said) {
            None => Ok(None),
            Some(line) if line == "ok" || line.starts_with("ok ") => {
                self.said += 1;
                Ok(Some(()))
            }
            Some(line) => bail!("the provider says: {line}"),
        }
    }
}

/// The address at which it takes commands.
pub(super) fn pipe(site: &Site) -> PathBuf {
    site.path(PIPE)
}

fn write(path: &PathBuf, text: &str, mode: u32) -> Result<()> {
    File::create(path)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())
        })
        .with_context(|| format!("cannot write {}", path.display()))
}
