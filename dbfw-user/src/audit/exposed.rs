//! The checks of what stands around a database: E-1 to E-6.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use dbfw_common::Mode;
use dbfw_core::{
    Port,
    audit::{CheckId, Engine, Finding, Severity, Trusted},
};
use dbfw_datapath::{DatapathError, Interface, Reader, attached_programs, interfaces};
use nix::ifaddrs::getifaddrs;

use super::{
    processes::{Listener, Program},
    published::Published,
};
use crate::{
    config::{AgentConfig, DatabaseConfig},
    protection::{Attachments, Judge},
    readers::offline,
};

/// Prefixes whose routes are looked up.
const MAX_ROUTES: usize = 1_000;

/// The host around the databases.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) listeners: Result<Vec<Listener>, String>,
    pub(super) published: BTreeSet<Published>,
    /// The reason why some published ports may be missing.
    pub(super) missing: Option<String>,
    /// The addresses of this host, by the interface's name.
    pub(super) addresses: Vec<(String, IpAddr)>,
    /// The interfaces, and what is attached to them.
    attached: Result<(Vec<Interface>, Attachments), String>,
}

impl Around {
    /// Looks at this host.
    pub(super) fn look(
        agent: &AgentConfig,
        listeners: io::Result<Vec<Listener>>,
        (published, missing): (BTreeSet<Published>, Option<String>),
    ) -> Self {
        Self {
            listeners: listeners
                .map_err(|error| format!("the listening sockets cannot be read: {error}")),
            published,
            missing,
            addresses: addresses().unwrap_or_default(),
            attached: attached(agent),
        }
    }

    /// The addresses of this host that others can reach.
    pub(super) fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses.iter().map(|(_, address)| *address);
        own.filter(|address| !address.is_loopback())
    }

    /// The checks of the host: E-1, E-2 and E-4.
    pub(super) fn judge_host(&self, databases: &[DatabaseConfig]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (check, is_meant) in [
            (CheckId::E1, is_database as fn(Program) -> bool),
            (CheckId::E4, |program| program == Program::Pooler),
        ] {
            match &self.listeners {
                Ok(listeners) => {
                    findings.extend(self.unprotected(check, listeners, is_meant, databases));
                }
                Err(why) => findings.push(Finding::unknown(check, why)),
            }
        }
        findings.extend(self.judge_published(databases));
        findings
    }

    fn unprotected(
        &self,
        check: CheckId,
        listeners: &[Listener],
        is_meant: fn(Program) -> bool,
        databases: &[DatabaseConfig],
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for listener in listeners {
            let Some(process) = &listener.process else { continue };
            if !is_meant(process.program) {
                continue;
            }
            let mut served = self.reachable().filter(|address| listener.serves(*address));
            let open = served.find(|address| !is_protected(databases, *address, listener.port));
            if let Some(open) = open {
                let at = SocketAddr::new(listener.address, listener.port);
                let text = format!(
                    "{} (pid {}) listens on {at}, and no [[database]] has {open} port {}",
                    process.name, process.pid, listener.port
                );
                let subject = format!("tcp/{} {}", listener.port, listener.address);
                findings.push(Finding::fail(check, text).about(subject));
            }
        }
        if findings.is_empty() {
            findings.push(Finding::ok(
                check,
                match check {
                    CheckId::E1 => "no database server listens where no [[database]] protects it",
                    _ => "no pooler listens where no [[database]] protects it",
                },
            ));
        }
        findings
    }

    fn judge_published(&self, databases: &[DatabaseConfig]) -> Vec<Finding> {
        let check = CheckId::E2;
        let is_open = |published: &&Published| {
            let addresses: Vec<IpAddr> = match published.address {
                Some(address) => vec![address],
                None => self.reachable().collect(),
            };
            published.engine().is_some()
                && addresses.iter().any(|address| {
                    !address.is_loopback() && !is_protected(databases, *address, published.port)
                })
        };
        let mut ports = BTreeSet::new();
        let mut findings = Vec::new();
        for published in self.published.iter().filter(is_open) {
            if !ports.insert((published.address, published.port)) {
                continue;
            }
            let at = published.address.map_or("every address".to_owned(), |own| own.to_string());
            let text = format!(
                "{} passes port {} of {at} on to port {} of a container, and no [[database]] has it",
                published.by, published.port, published.inner
            );
            findings.push(Finding::fail(check, text).about(format!("tcp/{}", published.port)));
        }
        match (&self.missing, &*findings) {
            (Some(why), []) => {
                findings.push(Finding::unknown(check, format!("some rules are not seen: {why}")));
            }
            (None, []) => {
                let text = "no container's database port is published without a [[database]]";
                findings.push(Finding::ok(check, text));
            }
            _ => {}
        }
        findings
    }

    /// The checks of a database: E-3, E-5 and E-6.
    pub(super) fn judge(
        &self,
        database: &DatabaseConfig,
        trusted: Result<&[Trusted], &str>,
    ) -> Vec<Finding> {
        let mut findings = vec![mode(database.mode)];
        match (&self.listeners, &self.attached) {
            (Ok(listeners), Ok((present, attached))) => {
                findings.extend(self.unjudged(database, listeners, present, attached));
            }
            (Err(why), _) | (_, Err(why)) => {
                findings.push(Finding::unknown(CheckId::E3, why));
            }
        }
        findings.push(match (&self.listeners, trusted) {
            (Ok(listeners), Ok(trusted)) => self.breadth(database, listeners, trusted),
            (Err(why), _) => Finding::unknown(CheckId::E6, why),
            (_, Err(why)) => Finding::unknown(CheckId::E6, why),
        });
        findings
    }

    /// Interfaces by which the database can be reached and where nothing judges packets (E-3).
    fn unjudged(
        &self,
        database: &DatabaseConfig,
        listeners: &[Listener],
        present: &[Interface],
        attached: &Attachments,
    ) -> Vec<Finding> {
        let check = CheckId::E3;
        let mut findings = Vec::new();
        let own: Vec<&Listener> =
            listeners.iter().filter(|listener| has(database, listener.port)).collect();
        let published = self.published.iter().any(|published| has(database, published.port));
        for (interface, judge) in attached.ways_in(present) {
            let here = self.addresses.iter().filter(|(name, _)| *name == interface.name);
            let mut here = here.map(|(_, address)| *address).filter(|own| !own.is_loopback());
            let is_open = here.any(|address| {
                let is_served = own.iter().any(|listener| listener.serves(address));
                (is_served || published) && database.destinations.include(address, true)
            });
            let name = &interface.name;
            let finding = match judge {
                _ if !is_open => continue,
                Judge::Hook => continue,
                Judge::Backstop if !published => continue,
                Judge::Backstop => Finding::fail(
                    check,
                    format!(
                        "{name}: no program is attached, and the backstop does not see what goes to \
                         a container"
                    ),
                ),
                Judge::Exempt => Finding::fail(
                    check,
                    format!("{name}: it is exempt, and everybody there may connect"),
                )
                .weighing(Severity::Low),
                Judge::Nobody => Finding::fail(
                    check,
                    format!("{name}: nothing is attached, and everybody there may connect"),
                ),
            };
            findings.push(finding.about(name));
        }
        if findings.is_empty() {
            let text = "it can be reached by no interface where nothing judges packets";
            findings.push(Finding::ok(check, text));
        }
        findings
    }

    /// Whether one interface would be enough (E-6).
    fn breadth(
        &self,
        database: &DatabaseConfig,
        listeners: &[Listener],
        trusted: &[Trusted],
    ) -> Finding {
        let check = CheckId::E6;
        let mut own = listeners.iter().filter(|listener| has(database, listener.port));
        let Some(listener) = own.find(|listener| listener.address.is_unspecified()) else {
            return Finding::ok(check, "no server of it listens on every address");
        };
        let ways: BTreeSet<&str> = self
            .addresses
            .iter()
            .filter(|(_, address)| !address.is_loopback() && !is_link_local(*address))
            .map(|(name, _)| name.as_str())
            .collect();
        let prefixes: Vec<_> = trusted.iter().flat_map(|source| source.prefixes.iter()).collect();
        if prefixes.len() > MAX_ROUTES {
            return Finding::unknown(check, "the trusted sources have too many prefixes");
        }
        let mut used = BTreeSet::new();
        for prefix in &prefixes {
            for address in [prefix.addr(), prefix.last_addr()] {
                match self.way_to(address) {
                    Some(interface) => used.insert(interface),
                    // Nobody comes from where no route leads.
                    None => continue,
                };
            }
        }
        let at = listener.address;
        match (used.first(), used.len()) {
            (Some(interface), 1) if ways.len() > 1 => Finding::fail(
                check,
                format!("it listens on {at}, and every trusted source comes by {interface}"),
            ),
            _ => {
                Finding::ok(check, format!("it listens on {at}, and needs more than one interface"))
            }
        }
    }

    /// The interface by which packets to an address leave. No packet is sent.
    fn way_to(&self, address: IpAddr) -> Option<&str> {
        let any: IpAddr = match address {
            IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((address, 9)).ok()?;
        let own = socket.local_addr().ok()?.ip();
        let (name, _) = self.addresses.iter().find(|(_, address)| *address == own)?;
        Some(name)
    }
}

fn is_database(program: Program) -> bool {
    matches!(program, Program::Database(_))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a database has the port.
pub(super) fn has(database: &DatabaseConfig, port: u16) -> bool {
    database.ports.contains(Port { udp: false, port })
}

fn is_protected(databases: &[DatabaseConfig], address: IpAddr, port: u16) -> bool {
    databases
        .iter()
        .any(|database| has(database, port) && database.destinations.include(address, true))
}

fn mode(mode: Mode) -> Finding {
    let check = CheckId::E5;
    match mode {
        Mode::Enforce => Finding::ok(check, "the mode is enforce"),
        Mode::Observe => Finding::fail(check, "the mode is observe: strangers are let in"),
        Mode::Off => Finding::fail(check, "the mode is off: nothing is judged"),
    }
}

fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let listed = getifaddrs()?.filter_map(|listed| {
        let address = listed.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
        Some((listed.interface_name, v4.or(v6)?))
    });
    Ok(listed.collect())
}

/// The attached programs, as the pins say.
fn attached(agent: &AgentConfig) -> Result<(Vec<Interface>, Attachments), String> {
    let present = interfaces::list_now()
        .map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let read = || {
        let reader = Reader::open(&agent.pin_dir)?;
        let links = reader.links()?;
        offline::attachments(&reader, &links, &present)
    };
    let attached = match read() {
        Ok(attached) => attached,
        Err(DatapathError::Pin { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            match attached_programs(&present) {
                Ok(programs) if programs.is_empty() => Attachments::default(),
                Ok(_) => return Err("what is attached is pinned elsewhere".to_owned()),
                Err(error) => return Err(format!("what is attached cannot be seen: {error}")),
            }
        }
        Err(error) => return Err(format!("what is attached cannot be seen: {error}")),
    };
    Ok((present, attached))
}

/// The engine that a database's listeners are of.
pub(super) fn engine_of(listeners: &[&Listener]) -> Option<Engine> {
    listeners.iter().find_map(|listener| listener.engine())
}

#[cfg(test)]
mod tests {
    use dbfw_core::{Destinations, audit::State};
    use dbfw_datapath::Layer;

    use super::{super::processes::Process, *};

    fn listener(address: &str, port: u16, program: Program) -> Listener {
        let process = Some(Process { pid: 7, name: "server".to_owned(), program });
        Listener { address: address.parse().unwrap(), port, process }
    }

    fn around(listeners: Vec<Listener>) -> Around {
        let at = |name: &str, address: &str| (name.to_owned(), address.parse().unwrap());
        let link = |name: &str, index| Interface {
            layer: Some(Layer::Ethernet),
            hardware: true,
            ..Interface::ethernet(name, index)
        };
        let attached = Attachments::new([2], false, []);
        Around {
            listeners: Ok(listeners),
            published: BTreeSet::new(),
            missing: None,
            addresses: vec![
                at("lo", "127.0.0.1"),
                at("eth0", "192.0.2.1"),
                at("eth1", "198.51.100.1"),
            ],
            attached: Ok((vec![link("eth0", 2), link("eth1", 3)], attached)),
        }
    }

    fn database(port: u16, destinations: Destinations) -> DatabaseConfig {
        DatabaseConfig {
            name: "orders".to_owned(),
            ports: [Port { udp: false, port }].into_iter().collect(),
            destinations,
            mode: Mode::Enforce,
            trusted_sources: Vec::new(),
            provider: None,
            on_empty: dbfw_core::trust::OnEmpty::Keep,
            max_shrink: 50,
            allow_any: false,
            min_prefix: [8, 32],
            audit: Default::default(),
        }
    }

    fn states(findings: &[Finding], check: CheckId) -> Vec<(State, &str)> {
        let of = findings.iter().filter(|finding| finding.check() == check);
        of.map(|finding| (finding.state(), finding.subject().unwrap_or("-"))).collect()
    }

    #[test]
    fn listeners_outside_every_database() {
        let postgres = Program::Database(Engine::Postgres);
        let orders = [database(5432, Destinations::default())];
        for (listener, check, expected) in [
            (listener("0.0.0.0", 5432, postgres), CheckId::E1, (State::Ok, "-")),
            (listener("0.0.0.0", 5433, postgres), CheckId::E1, (State::Fail, "tcp/5433 0.0.0.0")),
            (listener("127.0.0.1", 5433, postgres), CheckId::E1, (State::Ok, "-")),
            (listener("0.0.0.0", 6432, Program::Pooler), CheckId::E1, (State::Ok, "-")),
            (
                listener("0.0.0.0", 6432, Program::Pooler),
                CheckId::E4,
                (State::Fail, "tcp/6432 0.0.0.0"),
            ),
            (listener("0.0.0.0", 5433, postgres), CheckId::E4, (State::Ok, "-")),
        ] {
            let around = around(vec![listener.clone()]);
            let findings = around.judge_host(&orders);
            assert_eq!(states(&findings, check), [expected], "{listener:?}");
        }
        // Bound to one address, and the server listens on two.
        let bound = Destinations::new(false, vec!["192.0.2.1".parse().unwrap()]);
        let around = around(vec![listener("0.0.0.0", 5432, postgres)]);
        let findings = around.judge_host(&[database(5432, bound)]);
        assert!(findings[0].text().contains("198.51.100.1 port 5432"), "{findings:?}");
    }

    #[test]
    fn published_ports_outside_every_database() {
        let orders = [database(5433, Destinations::default())];
        let published = |address: Option<&str>, port, inner| Published {
            address: address.map(|address| address.parse().unwrap()),
            port,
            inner,
            by: "docker-proxy 7".to_owned(),
        };
        for (published, missing, expected) in [
            (published(None, 5433, 5432), false, (State::Ok, "-")),
            (published(None, 5434, 5432), false, (State::Fail, "tcp/5434")),
            (published(None, 5434, 5432), true, (State::Fail, "tcp/5434")),
            (published(None, 8080, 80), false, (State::Ok, "-")),
            (published(None, 8080, 80), true, (State::Unknown, "-")),
            (published(Some("127.0.0.1"), 5434, 5432), false, (State::Ok, "-")),
            (published(Some("192.0.2.1"), 5434, 5432), false, (State::Fail, "tcp/5434")),
        ] {
            let mut around = around(Vec::new());
            around.published = [published.clone()].into();
            around.missing = missing.then(|| "nft is not installed".to_owned());
            let findings = around.judge_host(&orders);
            assert_eq!(states(&findings, CheckId::E2), [expected], "{published:?}");
        }
    }

    #[test]
    fn interfaces_where_nothing_judges() {
        let postgres = Program::Database(Engine::Postgres);
        let orders = database(5432, Destinations::default());
        let attachments =
            |backstop, exempt: &[u32]| Attachments::new([2], backstop, exempt.iter().copied());
        for (address, attached, published, expected) in [
            ("0.0.0.0", attachments(false, &[]), false, (State::Fail, "eth1")),
            ("192.0.2.1", attachments(false, &[]), false, (State::Ok, "-")),
            ("0.0.0.0", attachments(true, &[]), false, (State::Ok, "-")),
            ("0.0.0.0", attachments(true, &[3]), false, (State::Fail, "eth1")),
            ("0.0.0.0", attachments(true, &[]), true, (State::Fail, "eth1")),
        ] {
            let mut around = around(vec![listener(address, 5432, postgres)]);
            let (present, _) = around.attached.clone().unwrap();
            around.attached = Ok((present, attached.clone()));
            if published {
                let by = String::new();
                around.published =
                    [Published { address: None, port: 5432, inner: 5432, by }].into();
            }
            let findings = around.judge(&orders, Ok(&[]));
            assert_eq!(states(&findings, CheckId::E3), [expected], "{address} {attached:?}");
            assert_eq!(states(&findings, CheckId::E5), [(State::Ok, "-")]);
        }
        let observed = DatabaseConfig { mode: Mode::Observe, ..orders };
        let findings = around(Vec::new()).judge(&observed, Err("no agent answers"));
        assert_eq!(states(&findings, CheckId::E5), [(State::Fail, "-")]);
        assert_eq!(states(&findings, CheckId::E6), [(State::Unknown, "-")]);
    }
}
