//! PostgreSQL and the agent on the database host, and their files.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::chown,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::unistd::User;
use serde_json::Value;

use super::{
    api::{self, CLUSTER},
    hosts::{self, API, APP4, DB},
    program::{self, Done, Programs},
    signals,
    site::{PINS, Site},
};

/// The user PostgreSQL's packages make.
const POSTGRES: &str = "postgres";

/// Lines of a log shown when something failed.
const LAST_LINES: usize = 15;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a database cluster and starts PostgreSQL on it.
pub(super) fn start_postgres(site: &mut Site, programs: &Programs) -> Result<()> {
    let data = site.path("data");
    let user = User::from_name(POSTGRES)
        .context("cannot look up the user postgres")?
        .context("there is no user postgres: PostgreSQL's server package makes it")?;
    fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
    chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("cannot hand {} to postgres", data.display()))?;
    let mut initdb = as_postgres(&programs.initdb);
    initdb.arg("--pgdata").arg(&data);
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]);
    program::succeed(initdb.arg("--no-sync"))?;
    append(&data.join("pg_hba.conf"), "host all all all trust\n")?;
    let settings = format!(
        "listen_addresses = '*'\nport = 5432\nfsync = off\nunix_socket_directories = '{}'\n",
        data.display()
    );
    append(&data.join("postgresql.conf"), &settings)?;

    let mut postgres = as_postgres(&programs.postgres);
    site.start(POSTGRES, postgres.arg("-D").arg(&data))?;
    let table = "create table orders as select generate_series(1, 1000) as id";
    signals::wait("PostgreSQL to accept connections", PATIENCE, || {
        site.check(POSTGRES)?;
        let mut psql = DB.command(&programs.psql);
        psql.arg("--host").arg(&data).args(["--username=postgres", "--no-psqlrc", "-c", table]);
        let done = program::finish(&mut psql)?;
        Ok(done.status.success().then_some(()))
    })
}

fn as_postgres(program: &Path) -> Command {
    let mut command = DB.command("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

fn append(path: &Path, text: &str) -> Result<()> {
    File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the agent's configuration for a list in a file, and returns it.
pub(super) fn configure(site: &Site) -> Result<String> {
    let list = site.path("orders.list");
    write_config(site, "", &format!("kind = \"file\", path = \"{}\"", list.display()))
}

/// The same for a list at DigitalOcean.
pub(super) fn configure_api(site: &Site) -> Result<String> {
    let account = format!(
        "[digitalocean]\n\
         api_url = \"https://{}\"\n\
         ca_file = \"{}\"\n\
         token_file = \"{}\"\n\
         poll = \"1s\"\n\
         requests_per_hour = 20000\n",
        API.describe(),
        site.path("tls/ca.pem").display(),
        site.path("do-token").display(),
    );
    write_config(site, &account, &format!("kind = \"digitalocean\", cluster = \"{CLUSTER}\""))
}

fn write_config(site: &Site, account: &str, provider: &str) -> Result<String> {
    let text = format!(
        "[agent]\n\
         interfaces = [\"eth0\"]\n\
         metrics_listen = \"127.0.0.1:9787\"\n\
         state_dir = \"{}\"\n\
         run_dir = \"{}\"\n\
         pin_dir = \"{PINS}\"\n\
         {account}[[database]]\n\
         name = \"orders\"\n\
         ports = [5432]\n\
         provider = {{ {provider} }}\n",
        site.path("state").display(),
        site.path("run").display(),
    );
    let path = site.path("dbfw.toml");
    fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(text)
}

/// Replaces the list of trusted sources as a careful editor does, by a file renamed over it.
/// Returns when the rename began.
pub(super) fn replace_list(site: &Site, text: &str) -> Result<Instant> {
    let fresh = site.path("orders.list.new");
    let mut file =
        File::create(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    let path = site.path("orders.list");
    let began = Instant::now();
    fs::rename(&fresh, &path).with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(began)
}

/// Starts the agent and waits until it has read protection back from the kernel.
pub(super) fn start_agent(site: &mut Site, programs: &Programs) -> Result<Duration> {
    let began = Instant::now();
    let mut command = DB.command(&programs.dbfw);
    site.start("agent", command.arg("run").arg("--config").arg(site.path("dbfw.toml")))?;
    signals::wait("the agent to be ready", PATIENCE, || {
        site.check("agent")?;
        let status = status(site, programs)?;
        Ok((status["agent"]["ready"] == true).then_some(()))
    })?;
    Ok(began.elapsed())
}

/// A `dbfw` command on the database host.
pub(super) fn dbfw(site: &Site, programs: &Programs, words: &[&str]) -> Result<Done> {
    let mut command = DB.command(&programs.dbfw);
    program::finish(command.args(words).env("DBFW_CONFIG", site.path("dbfw.toml")))
}

/// `dbfw status` for programs; null while there is nothing to tell.
pub(super) fn status(site: &Site, programs: &Programs) -> Result<Value> {
    json(site, programs, "status")
}

/// The JSON output of a `dbfw` command; null while there is none.
pub(super) fn json(site: &Site, programs: &Programs, command: &str) -> Result<Value> {
    let done = dbfw(site, programs, &[command, "--output", "json"])?;
    Ok(serde_json::from_str(&done.stdout).unwrap_or_default())
}

/// Packets to the database that were dropped so far, from the kernel's own counters.
pub(super) fn dropped(site: &Site, programs: &Programs) -> Result<u64> {
    let done = dbfw(site, programs, &["metrics"])?;
    Ok(sum_of_dropped(&done.stdout))
}

/// The dropped packets of the database in the text form of the metrics.
pub(super) fn sum_of_dropped(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("dbfw_dropped_packets_total{"))
        .filter(|line| line.contains("database=\"orders\""))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// The ends of the servers' logs.
pub(super) fn last_words(site: &Site) -> String {
    let mut text = String::new();
    for name in ["agent", POSTGRES, API.name] {
        let log = fs::read_to_string(site.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        if !last.is_empty() {
            text.push_str(&format!("The last lines of {name}'s log:\n{}\n\n", last.join("\n")));
        }
    }
    text
}

/// Instructions for looking around in a demo that was left standing.
pub(super) fn guide(site: &Site, programs: &Programs) -> String {
    let config = site.path("dbfw.toml");
    let dbfw = format!(
        "nsenter --net={} {} --config {}",
        DB.path().display(),
        programs.dbfw.display(),
        config.display()
    );
    let enter: String = hosts::ALL
        .iter()
        .map(|host| format!("  nsenter --net={}\n", host.path().display()))
        .collect();
    format!(
        "The demo is left standing. As root, look around:\n\
         \x20 {dbfw} status\n\
         \x20 {dbfw} sources\n\
         \x20 {dbfw} drops --follow\n\
         \x20 nsenter --net={} curl -s http://127.0.0.1:9787/metrics\n\
         Run a query as app4:\n\
         \x20 nsenter --net={} {} 'host=192.0.2.1 user=postgres connect_timeout=2' \
         -c 'select count(*) from orders'\n\
         Trust or distrust a source, as the account at the provider does:\n\
         \x20 echo 'rule add orders ip_addr 192.0.2.66' > {}\n\
         \x20 (help, and what it answers, is in {})\n\
         The agent's log: {}\n\
         A shell on each host:\n\
         {enter}\
         Remove all of it:\n\
         \x20 cargo xtask demo --clean",
        DB.path().display(),
        APP4.path().display(),
        programs.psql.display(),
        api::pipe(site).display(),
        site.path("api.log").display(),
        site.path("agent.log").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_the_database_are_summed() {
        let metrics = "# TYPE dbfw_dropped_packets_total counter\n\
            dbfw_dropped_packets_total{database=\"*\",family=\"ipv4\",reason=\"malformed\"} 9\n\
            dbfw_dropped_packets_total{database=\"orders\",family=\"ipv4\",reason=\"x\"} 3\n\
            dbfw_dropped_packets_total{database=\"orders\",family=\"ipv6\",reason=\"y\"} 4\n\
            dbfw_allowed_packets_total{database=\"orders\",family=\"ipv4\"} 5\n";
        assert_eq!(sum_of_dropped(metrics), 7);
    }
}
