//! Ports of containers that are published on this host.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read as _,
    net::IpAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use dbfw_core::audit::Engine;

use super::{
    probe,
    processes::{self, Process, Program},
};

/// Bytes of a ruleset that are read.
const MAX_RULES: u64 = 16 << 20;

/// A port of this host that leads to one of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Published {
    /// The address on this host; `None`: every one.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// The port inside.
    pub(super) inner: u16,
    /// "docker-proxy 910", "a rule of nft".
    pub(super) by: String,
}

impl Published {
    /// The engine that the port inside is of.
    pub(super) fn engine(&self) -> Option<Engine> {
        match probe::Engine::of_port(self.inner)? {
            probe::Engine::Postgres => Some(Engine::Postgres),
            probe::Engine::MySql => Some(Engine::MySql),
            probe::Engine::Redis => Some(Engine::Redis),
            probe::Engine::MongoDb => Some(Engine::MongoDb),
            probe::Engine::Tls => None,
        }
    }
}

/// The published ports, and the reason why some may be missing.
pub(super) fn published() -> (BTreeSet<Published>, Option<String>) {
    let proxies = processes::processes();
    let proxies = proxies.iter().filter(|process| process.program == Program::DockerProxy);
    let mut found: BTreeSet<Published> = proxies.filter_map(by_proxy).collect();
    let mut missing = None;
    for (program, arguments, table) in LISTINGS {
        // Listing a table of the old iptables that is not there would make it.
        let is_there = table.is_none_or(|table| {
            let tables = fs::read_to_string(table).unwrap_or_default();
            tables.lines().any(|table| table == "nat")
        });
        if !is_there {
            continue;
        }
        match output(program, arguments) {
            Ok(Some(rules)) => {
                found.extend(rules.lines().filter_map(|rule| by_rule(rule, program)))
            }
            Ok(None) => missing = missing.or(Some(format!("{program} is not installed"))),
            Err(error) => missing = missing.or(Some(format!("{program} fails: {error}"))),
        }
    }
    (found, missing)
}

/// The programs that list rules, and the file that says whether theirs exist.
const LISTINGS: [(&str, &[&str], Option<&str>); 3] = [
    ("nft", &["--terse", "list", "ruleset"], None),
    ("iptables-legacy-save", &["-t", "nat"], Some("/proc/net/ip_tables_names")),
    ("ip6tables-legacy-save", &["-t", "nat"], Some("/proc/net/ip6_tables_names")),
];

/// What a program prints, as far as it is read; `None`: it is not installed.
fn output(program: &str, arguments: &[&str]) -> io::Result<Option<String>> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&directories);
    let program = directories
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    let Some(program) = program else { return Ok(None) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_RULES).read_to_end(&mut text)?;
    }
    // One that has more to say cannot say it any more, and ends.
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// The port that a docker-proxy publishes, by its arguments.
fn by_proxy(process: &Process) -> Option<Published> {
    let words = processes::arguments(process.pid).ok()?;
    let words: Vec<String> =
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    of_arguments(&words, format!("docker-proxy {}", process.pid))
}

fn of_arguments(words: &[String], by: String) -> Option<Published> {
    let of = |option: &str| {
        let at = words.iter().position(|word| word.trim_start_matches('-') == option)?;
        Some(words.get(at + 1)?.as_str())
    };
    if of("proto").is_some_and(|proto| proto != "tcp") {
        return None;
    }
    let address: Option<IpAddr> = of("host-ip").and_then(|text| text.parse().ok());
    Some(Published {
        address: address.filter(|address| !address.is_unspecified()),
        port: of("host-port")?.parse().ok()?,
        inner: of("container-port")?.parse().ok()?,
        by,
    })
}

/// The port that a rule of destination NAT publishes, as nft or iptables-save lists it.
fn by_rule(rule: &str, program: &str) -> Option<Published> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let after = |names: &[&str]| {
        let at = words.iter().position(|word| names.contains(word))?;
        let word = words.get(at + 1).copied()?;
        match word {
            "to" => words.get(at + 2).copied(),
            "ip" | "ip6" => words.get(at + 3).copied(),
            _ => Some(word),
        }
    };
    if words.contains(&"udp") {
        return None;
    }
    let to = after(&["dnat", "--to-destination"])?;
    let port: u16 = after(&["dport", "--dport"])?.parse().ok()?;
    let inner = match to.rsplit_once(':') {
        Some((address, inner)) if address.parse::<IpAddr>().is_ok() || address.ends_with(']') => {
            inner.parse().ok()?
        }
        _ => port,
    };
    let address = after(&["daddr", "-d"]).map(|text| text.split('/').next().unwrap_or(text));
    Some(Published {
        address: address.and_then(|text| text.parse().ok()),
        port,
        inner,
        by: format!("a rule that {program} lists"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Option<Published>) -> String {
        found.map_or("-".to_owned(), |found| {
            let address = found.address.map_or("any".to_owned(), |address| address.to_string());
            format!("{address} {} {}", found.port, found.inner)
        })
    }

    #[test]
    fn proxies() {
        for (line, expected) in [
            (
                "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 5433 -container-ip \
                 172.17.0.2 -container-port 5432 -use-listen-fd",
                "any 5433 5432",
            ),
            (
                "docker-proxy --proto tcp --host-ip 127.0.0.1 --host-port 1 --container-port 2",
                "127.0.0.1 1 2",
            ),
            ("docker-proxy -proto udp -host-port 1 -container-port 2", "-"),
            ("docker-proxy -host-port x -container-port 2", "-"),
            ("docker-proxy -host-port", "-"),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(shown(of_arguments(&words, String::new())), expected, "{line}");
        }
    }

    #[test]
    fn rules() {
        for (rule, expected) in [
            (
                "iifname != \"docker0\" tcp dport 5433 counter packets 0 bytes 0 dnat to 172.17.0.2:5432",
                "any 5433 5432",
            ),
            ("ip daddr 192.0.2.1 tcp dport 5432 dnat ip to 10.0.0.2:5433", "192.0.2.1 5432 5433"),
            ("ip daddr 192.0.2.1 tcp dport 5432 dnat to 10.0.0.2", "192.0.2.1 5432 5432"),
            ("tcp dport 5433 dnat to [fd00::2]:5432", "any 5433 5432"),
            ("udp dport 5433 dnat to 172.17.0.2:5432", "-"),
            (
                "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 5433 -j DNAT --to-destination 172.17.0.2:5432",
                "any 5433 5432",
            ),
            (
                "-A DOCKER -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.2",
                "192.0.2.1 80 80",
            ),
            ("tcp dport { 1, 2 } dnat to 172.17.0.2:5432", "-"),
            ("tcp dport 22 accept", "-"),
            ("dnat to", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(by_rule(rule, "nft")), expected, "{rule}");
        }
    }
}
