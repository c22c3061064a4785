//! The NAT rules of this network namespace, as nft and iptables list them.

mod forward;

use std::{
    env, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

pub(crate) use forward::Forward;

/// Bytes of a listing that are read.
const MAX_LISTING: u64 = 16 << 20;
/// The time that a listing may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Families of addresses as nft calls them, with their iptables and what names the tables of the
/// iptables that keeps rules of its own: listing one that is not there would make it.
const FAMILIES: [(&str, &str, &str); 2] = [
    ("ip", "iptables", "/proc/net/ip_tables_names"),
    ("ip6", "ip6tables", "/proc/net/ip6_tables_names"),
];

/// Listings of the NAT rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct NatRules {
    /// The listing of nft, with handles.
    pub(crate) nft: Option<String>,
    /// Families whose table `nat` iptables lists better than nft.
    pub(crate) managed: Vec<&'static str>,
    /// The listing of each iptables.
    pub(crate) iptables: Vec<Iptables>,
}

/// A listing of iptables-save.
#[derive(Clone, Debug)]
pub(crate) struct Iptables {
    /// The program that changes these rules.
    pub(crate) command: String,
    /// The listing.
    pub(crate) rules: String,
}

impl NatRules {
    /// Lists the rules.
    ///
    /// # Errors
    /// The reason why they cannot be listed.
    pub(crate) fn read() -> Result<Self, &'static str> {
        let denied = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => "nft or iptables takes more than 5 seconds to list them",
            _ => "only root can list them",
        };
        let nft = output("nft", &["--handle", "--terse", "list", "ruleset"]);
        let mut found = Self { nft: nft.transpose().map_err(denied)?, ..Self::default() };
        let mut asked = found.nft.is_some();
        for (family, program, legacy_tables) in FAMILIES {
            let is_nft = found.nft.as_deref().is_none_or(|rules| is_of_iptables(rules, family));
            let tables = fs::read_to_string(legacy_tables).unwrap_or_default();
            let is_legacy = tables.lines().any(|table| table == "nat");
            let kinds = [("nft", is_nft), ("legacy", is_legacy)];
            for (kind, _) in kinds.into_iter().filter(|(_, is_used)| *is_used) {
                let command = format!("{program}-{kind}");
                if let Some(text) = output(&format!("{command}-save"), &["-t", "nat"]) {
                    asked = true;
                    found.managed.extend((kind == "nft").then_some(family));
                    found.iptables.push(Iptables { command, rules: text.map_err(denied)? });
                }
            }
        }
        if asked { Ok(found) } else { Err("nft is not installed") }
    }
}

/// Output of a program, as far as it is read: `None` if it is not installed, an error if it fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<io::Result<String>> {
    let directories = env::var_os("PATH").unwrap_or_default();
    // Not in the path of an ordinary user, nor always in root's.
    let beyond = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let program = env::split_paths(&directories)
        .chain(beyond)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())?;
    Some(run(&program, arguments, PATIENCE))
}

fn run(program: &Path, arguments: &[&str], patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let found = listing(&mut child, deadline);
    if found.is_err() {
        let _ = child.kill();
        // Even then it may not end, if it waits for the kernel.
        thread::spawn(move || child.wait());
    }
    found
}

/// The output of a program that ends well, and before the deadline.
fn listing(child: &mut Child, deadline: Instant) -> io::Result<String> {
    let too_late = || io::Error::from(io::ErrorKind::TimedOut);
    let (send, receive) = channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            let mut listing = Vec::new();
            let read = output.take(MAX_LISTING).read_to_end(&mut listing);
            // Nobody waits any more if it came too late.
            let _ = send.send(read.map(|_| listing));
        });
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let listing = receive.recv_timeout(left).map_err(|_| too_late())??;
    // One that has more to say cannot say it any more, and ends.
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= deadline => return Err(too_late()),
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    if status.success() {
        Ok(String::from_utf8_lossy(&listing).into_owned())
    } else {
        Err(io::Error::other(status.to_string()))
    }
}

/// Whether iptables manages the table `nat` of a family: by the name of its chains.
fn is_of_iptables(rules: &str, family: &str) -> bool {
    let table = format!("table {family} nat {{");
    let (_, rest) = rules.split_once(&table).unwrap_or_default();
    let table = rest.split_once("\n}").map_or(rest, |(table, _)| table);
    let is_chain = |line: &str| {
        ["chain POSTROUTING {", "chain PREROUTING {"].iter().any(|chain| line.starts_with(chain))
    };
    table.lines().map(str::trim_start).any(is_chain)
}

/// A range as nft and iptables write it.
pub(crate) fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?))
}

/// Words, of which one in quotes is one.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The address and the ports in what stands behind `to`.
pub(crate) fn split_ports(target: &str) -> (&str, Option<&str>) {
    match target.rsplit_once(':') {
        // An address of IPv6 alone has colons of its own.
        Some((address, ports)) if !address.contains(':') || address.ends_with(']') => {
            (address, Some(ports))
        }
        _ => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iptables_is_known_by_the_chains_of_its_table() {
        let text = "table ip nat { # handle 3\n chain POSTROUTING { # handle 1\n \
                    oifname \"eth0\" masquerade # handle 2\n }\n}\n";
        assert!(is_of_iptables(text, "ip") && !is_of_iptables(text, "ip6"));
        assert!(is_of_iptables(&text.replace("POSTROUTING", "PREROUTING"), "ip"));
        assert!(!is_of_iptables(&text.replace("POSTROUTING", "post"), "ip"));
        assert!(!is_of_iptables("", "ip") && !is_of_iptables("table ip nat {", "ip"));
        let both =
            format!("{}{text}", text.replace("POSTROUTING", "post").replace("ip nat", "ip6 nat"));
        assert!(is_of_iptables(&both, "ip") && !is_of_iptables(&both, "ip6"));
    }

    #[test]
    fn a_program_that_does_not_end_is_given_up() {
        let told = |script: &str, patience| {
            let arguments = ["-c", script];
            run(Path::new("/bin/sh"), &arguments, patience).map_err(|error| error.kind())
        };
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(600));
        assert_eq!(told("echo rules", long), Ok("rules\n".to_owned()));
        assert_eq!(told("exit 1", long), Err(io::ErrorKind::Other));
        for script in ["exec sleep 600", "echo rules; exec sleep 600 >&-", "exec yes >&2"] {
            assert_eq!(told(script, short), Err(io::ErrorKind::TimedOut), "{script}");
        }
        let cut = told("exec yes", long);
        assert_eq!(cut, Err(io::ErrorKind::Other), "it was ended by its output");
    }

    #[test]
    fn addresses_are_told_from_ports() {
        for (target, expected) in [
            ("192.0.2.1", ("192.0.2.1", None)),
            ("192.0.2.1:5432", ("192.0.2.1", Some("5432"))),
            ("[2001:db8::1]:5432", ("[2001:db8::1]", Some("5432"))),
            ("2001:db8::1", ("2001:db8::1", None)),
            (":1024-2000", ("", Some("1024-2000"))),
            ("", ("", None)),
        ] {
            assert_eq!(split_ports(target), expected, "{target}");
        }
    }
}
