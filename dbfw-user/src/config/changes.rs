//! Changes of the configuration that change who may connect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use dbfw_common::Mode;
use dbfw_core::{Destinations, Port, Ports, source::TrustedSource};

use super::{AgentConfig, Config, DatabaseConfig};

/// Sources that are named of those that come or go.
const MAX_NAMED: usize = 5;

/// A change of the configuration that opens or closes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Ports that another database, another mode, or nothing decides over.
    Ports {
        /// Those that change alike.
        ports: Ports,
        /// The database they were of.
        before: Option<Owner>,
        /// The database they are of.
        after: Option<Owner>,
    },
    /// Addresses that a database is bound to, and was not, or the other way round.
    Addresses {
        /// The database, as it is now.
        owner: Owner,
        /// Its ports that it had before as well.
        ports: Ports,
        /// The destinations that it judged.
        before: Destinations,
        /// The destinations that it judges.
        after: Destinations,
    },
    /// Interfaces by which packets come in unjudged, or do no more.
    WayIn {
        /// Their names.
        interfaces: Vec<String>,
        /// The enforced ports that this is about.
        ports: Ports,
        /// The effect there.
        effect: Effect,
    },
    /// Interfaces from where this host passes packets on to other machines unjudged, or does no more.
    PassedOn {
        /// Their names.
        interfaces: Vec<String>,
        /// The enforced ports that this is about.
        ports: Ports,
        /// The effect on the way to those machines.
        effect: Effect,
    },
    /// Programs that are attached again after `dbfw detach`.
    Attached {
        /// The enforced ports.
        ports: Ports,
    },
    /// Sources of a database that let in most of the world, or do no more.
    Sources {
        /// The database.
        database: String,
        /// The problem, in words.
        opening: String,
        /// Whether it began.
        began: bool,
    },
    /// Trusted sources that the configuration itself has of a database, or has no more.
    Trust {
        /// The database.
        database: String,
        /// The sources.
        sources: Vec<String>,
        /// Whether they come.
        come: bool,
    },
    /// A setting of `[agent]` about what is judged.
    Setting {
        /// Its key.
        key: &'static str,
        /// Its former value, as text.
        before: String,
        /// Its value, as text.
        after: String,
    },
}

/// The database that a port is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its name.
    pub database: String,
    /// Its mode.
    pub mode: Mode,
    /// The destinations whose packets it judges.
    pub destinations: Destinations,
}

/// The effect of a change on sources that are not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They can connect now, and could not before.
    Opens,
    /// They can connect no more.
    Closes,
    /// It is as it was, or the change alone does not tell.
    Other,
}

impl ConfigChange {
    /// The effect on sources that are not trusted.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Ports { before, after, .. } => match (is_closed(before), is_closed(after)) {
                (true, false) => Effect::Opens,
                (false, true) => Effect::Closes,
                _ => Effect::Other,
            },
            Self::Addresses { owner, before, after, .. } if owner.mode == Mode::Enforce => {
                match (after.are_within(before), before.are_within(after)) {
                    (true, false) => Effect::Opens,
                    (false, true) => Effect::Closes,
                    _ => Effect::Other,
                }
            }
            Self::Addresses { .. } => Effect::Other,
            Self::WayIn { effect, .. } | Self::PassedOn { effect, .. } => *effect,
            Self::Sources { began: true, .. } => Effect::Opens,
            Self::Attached { .. } | Self::Sources { began: false, .. } => Effect::Closes,
            Self::Trust { .. } | Self::Setting { .. } => Effect::Other,
        }
    }

    /// The database that it is about.
    pub fn database(&self) -> Option<&str> {
        match self {
            Self::Ports { before, after, .. } => {
                after.as_ref().or(before.as_ref()).map(|owner| &*owner.database)
            }
            Self::Addresses { owner, .. } => Some(&owner.database),
            Self::Sources { database, .. } | Self::Trust { database, .. } => Some(database),
            Self::Attached { .. }
            | Self::WayIn { .. }
            | Self::PassedOn { .. }
            | Self::Setting { .. } => None,
        }
    }
}

fn is_closed(owner: &Option<Owner>) -> bool {
    owner.as_ref().is_some_and(|owner| owner.mode == Mode::Enforce)
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ports, before, after) = match self {
            Self::Ports { ports, before, after } => (ports, before, after),
            Self::Addresses { owner, ports, before, after } => {
                let name = &owner.database;
                write!(f, "{name}: addresses {before} → {after}: {ports} {} ", verb(ports))?;
                return match owner.mode {
                    Mode::Enforce if after.is_every() => {
                        f.write_str("closed to sources that are not trusted")
                    }
                    Mode::Enforce => write!(
                        f,
                        "closed at {after} to sources that are not trusted; {name} judges no other \
                         address, where everyone may connect unless another database does"
                    ),
                    Mode::Observe | Mode::Off => f.write_str("open to everyone, as before"),
                };
            }
            Self::WayIn { interfaces, ports, effect } => {
                let (judged, state) = match effect {
                    Effect::Opens => ("no longer judged", "open to everyone there"),
                    Effect::Closes => {
                        ("judged from now on", "closed to sources that are not trusted")
                    }
                    Effect::Other => ("not judged", "open to everyone there, as before"),
                };
                let interfaces = interfaces.join(", ");
                return write!(f, "{interfaces}: {judged}: {ports} {} {state}", verb(ports));
            }
            Self::PassedOn { interfaces, ports, effect } => {
                let (judged, state) = match effect {
                    Effect::Closes => {
                        ("is judged from now on", "closed to sources that are not trusted")
                    }
                    Effect::Opens | Effect::Other => ("is no longer judged", "open to everyone"),
                };
                let interfaces = interfaces.join(", ");
                return write!(
                    f,
                    "{interfaces}: what this host passes on from there {judged}: {ports} {} {state} \
                     on the way to other machines",
                    verb(ports)
                );
            }
            Self::Attached { ports } => {
                return write!(
                    f,
                    "attached again: {ports} {} closed to sources that are not trusted",
                    verb(ports)
                );
            }
            Self::Sources { opening, began: true, .. } => return f.write_str(opening),
            Self::Sources { opening, began: false, .. } => {
                return write!(f, "no longer so: {opening}");
            }
            Self::Trust { database, sources, come } => {
                let what = if *come { "trusted" } else { "not trusted any more" };
                return write!(f, "{database}: {what}: {}", some(sources));
            }
            Self::Setting { key, before, after } => {
                return write!(f, "agent.{key}: {before} → {after}");
            }
        };
        let (verb, plural) = (verb(ports), if ports.is_one() { "" } else { "s" });
        match (before, after) {
            (Some(before), Some(after)) if before.database == after.database => {
                let (from, to) = (before.mode.as_str(), after.mode.as_str());
                write!(f, "{}: {from} → {to}: {ports} ", after.database)?;
            }
            (Some(before), Some(after)) => {
                write!(f, "{} → {}: {ports} ", Shown(before), Shown(after))?;
            }
            (Some(before), None) => {
                write!(f, "{}: port{plural} no longer protected: {ports} ", Shown(before))?;
            }
            (None, Some(after)) => write!(f, "{}: port{plural} added: {ports} ", Shown(after))?,
            (None, None) => {}
        }
        match self.effect() {
            Effect::Other if is_closed(after) && is_closed(before) => {
                let name = after.as_ref().map_or("", |owner| &owner.database);
                write!(f, "{verb} open to the sources of {name} alone")
            }
            Effect::Opens => write!(f, "{verb} open to everyone"),
            Effect::Closes => write!(f, "{verb} closed to sources that are not trusted"),
            Effect::Other => write!(f, "{verb} open to everyone, as before"),
        }
    }
}

/// Some of the sources, and how many more there are.
fn some(sources: &[String]) -> String {
    let named = sources[..sources.len().min(MAX_NAMED)].join(", ");
    match sources.len().saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn verb(ports: &Ports) -> &'static str {
    if ports.is_one() { "is" } else { "are" }
}

/// A database with its mode.
struct Shown<'a>(&'a Owner);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.database)?;
        if !self.0.destinations.is_every() {
            write!(f, " at {}", self.0.destinations)?;
        }
        write!(f, " ({})", self.0.mode.as_str())
    }
}

/// Names of interfaces by which packets come in unjudged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnjudgedWays {
    /// Those for sockets of this host.
    pub to_this_host: BTreeSet<String>,
    /// Those that this host passes on to other machines.
    pub passed_on: BTreeSet<String>,
}

/// The changes from one configuration to another, by database, then by port. `unjudged` are the ways
/// with the one and with the other.
pub fn changes(before: &Config, after: &Config, unjudged: [&UnjudgedWays; 2]) -> Vec<ConfigChange> {
    let (former, now) = (owners(before), owners(after));
    let mut ports: BTreeMap<(Option<Owner>, Option<Owner>), Vec<Port>> = BTreeMap::new();
    let nobody = Vec::new();
    let keys: BTreeSet<&Port> = former.keys().chain(now.keys()).collect();
    for port in keys {
        let of =
            |owners: &'_ BTreeMap<Port, Vec<Owner>>| owners.get(port).unwrap_or(&nobody).clone();
        for owners in pairs(of(&former), of(&now)) {
            ports.entry(owners).or_default().push(*port);
        }
    }
    let ports = ports.into_iter().map(|((before, after), ports)| ConfigChange::Ports {
        ports: ports.into_iter().collect(),
        before,
        after,
    });
    let enforced = |owners: &BTreeMap<Port, Vec<Owner>>, port: &Port| {
        owners.get(port).is_some_and(|all| all.iter().any(|owner| owner.mode == Mode::Enforce))
    };
    let closed = now.keys().filter(|port| enforced(&now, port)).copied();
    let (kept, fresh): (Vec<Port>, Vec<Port>) = closed.partition(|port| enforced(&former, port));
    let [kept, fresh] = [kept, fresh].map(|ports| ports.into_iter().collect());
    ports
        .chain(rebound(before, after))
        .chain(settings(&before.agent, &after.agent))
        .chain(ways_in(unjudged.map(|ways| &ways.to_this_host), &kept, &fresh))
        .chain(passed_on(unjudged, &kept, after))
        .collect()
}

/// The databases of a port before and after, each with its successor, where that is another one or
/// its mode changes.
fn pairs(before: Vec<Owner>, mut after: Vec<Owner>) -> Vec<(Option<Owner>, Option<Owner>)> {
    let mut pairs = Vec::new();
    let mut gone = Vec::new();
    let all = after.clone();
    for owner in before {
        match after.iter().position(|now| now.database == owner.database) {
            Some(at) => {
                let now = after.remove(at);
                if now.mode != owner.mode {
                    pairs.push((Some(owner), Some(now)));
                }
            }
            None => gone.push(owner),
        }
    }
    for owner in gone {
        let next = |now: &Owner| now.destinations.overlap(&owner.destinations);
        let fresh = after.iter().position(next).map(|at| after.remove(at));
        // One that was there before may take it over.
        let now = fresh.or_else(|| all.iter().find(|now| next(now)).cloned());
        pairs.push((Some(owner), now));
    }
    pairs.extend(after.into_iter().map(|now| (None, Some(now))));
    pairs
}

/// The databases that are bound to other addresses.
fn rebound(before: &Config, after: &Config) -> Vec<ConfigChange> {
    let change = |now: &DatabaseConfig| {
        let former = before.databases.iter().find(|former| former.name == now.name)?;
        let ports: Ports = now.ports.iter().filter(|port| former.ports.contains(*port)).collect();
        (former.destinations != now.destinations && !ports.is_empty()).then(|| {
            ConfigChange::Addresses {
                owner: Owner::of(now),
                ports,
                before: former.destinations.clone(),
                after: now.destinations.clone(),
            }
        })
    };
    after.databases.iter().filter_map(change).collect()
}

/// The trusted sources that the configuration itself has no more of databases in enforce mode, and
/// those that come, by database.
pub fn source_changes(before: &Config, after: &Config) -> Vec<ConfigChange> {
    let minus = |from: &DatabaseConfig, what: &DatabaseConfig| -> Vec<String> {
        let is_gone = |source: &&TrustedSource| {
            !what.trusted_sources.iter().any(|other| other.key().names_the_same(source.key()))
        };
        from.trusted_sources.iter().filter(is_gone).map(ToString::to_string).collect()
    };
    let mut changes = Vec::new();
    for database in after.databases.iter().filter(|database| database.mode == Mode::Enforce) {
        let mut former = before.databases.iter().filter(|former| former.mode == Mode::Enforce);
        let Some(former) = former.find(|former| former.name == database.name) else { continue };
        let sides = [(minus(former, database), false), (minus(database, former), true)];
        for (sources, come) in sides.into_iter().filter(|(sources, _)| !sources.is_empty()) {
            changes.push(ConfigChange::Trust { database: database.name.clone(), sources, come });
        }
    }
    changes
}

/// The change that programs are attached again; `None`: they enforce nothing.
pub fn attached_again(config: &Config) -> Option<ConfigChange> {
    let enforced = config.databases.iter().filter(|database| database.mode == Mode::Enforce);
    let ports: Ports = enforced.flat_map(|database| database.ports.iter()).collect();
    (!ports.is_empty()).then_some(ConfigChange::Attached { ports })
}

/// The changes of the ways in, for ports that were enforced before and for those that were not.
fn ways_in(
    [before, after]: [&BTreeSet<String>; 2],
    kept: &Ports,
    fresh: &Ports,
) -> Vec<ConfigChange> {
    [
        (Effect::Opens, after - before, kept),
        (Effect::Closes, before - after, kept),
        (Effect::Other, after.clone(), fresh),
    ]
    .into_iter()
    .filter(|(_, interfaces, ports)| !interfaces.is_empty() && !ports.is_empty())
    .map(|(effect, interfaces, ports)| ConfigChange::WayIn {
        interfaces: interfaces.into_iter().collect(),
        ports: ports.clone(),
        effect,
    })
    .collect()
}

/// The changes of what this host passes on, for ports that were enforced before. Those that are told
/// of the ways in are not repeated.
fn passed_on(
    [before, after]: [&UnjudgedWays; 2],
    kept: &Ports,
    config: &Config,
) -> Vec<ConfigChange> {
    let judges_others = |database: &&DatabaseConfig| {
        let destinations = &database.destinations;
        database.mode == Mode::Enforce
            && (destinations.is_every() || !destinations.prefixes().is_empty())
    };
    let ports = config.databases.iter().filter(judges_others);
    let ports = ports.flat_map(|database| database.ports.iter());
    let ports: Ports = ports.filter(|port| kept.contains(*port)).collect();
    let minus = |more: &UnjudgedWays, less: &UnjudgedWays| -> Vec<String> {
        let told = &more.to_this_host - &less.to_this_host;
        (&more.passed_on - &less.passed_on).difference(&told).cloned().collect()
    };
    [(Effect::Opens, minus(after, before)), (Effect::Closes, minus(before, after))]
        .into_iter()
        .filter(|(_, interfaces)| !interfaces.is_empty() && !ports.is_empty())
        .map(|(effect, interfaces)| ConfigChange::PassedOn {
            interfaces,
            ports: ports.clone(),
            effect,
        })
        .collect()
}

fn owners(config: &Config) -> BTreeMap<Port, Vec<Owner>> {
    let mut owners = BTreeMap::<Port, Vec<Owner>>::new();
    for database in &config.databases {
        for port in database.ports.iter() {
            owners.entry(port).or_default().push(Owner::of(database));
        }
    }
    owners
}

impl Owner {
    fn of(database: &DatabaseConfig) -> Self {
        Self {
            database: database.name.clone(),
            mode: database.mode,
            destinations: database.destinations.clone(),
        }
    }
}

fn settings(before: &AgentConfig, after: &AgentConfig) -> Vec<ConfigChange> {
    let interfaces = |agent: &AgentConfig| match agent.interfaces.patterns() {
        [] => "auto".to_owned(),
        patterns => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let exempt = |agent: &AgentConfig| {
        let names: Vec<String> = agent.exempt_interfaces.iter().map(ToString::to_string).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let backstop = |agent: &AgentConfig| if agent.backstop { "on" } else { "off" }.to_owned();
    let values = |value: &dyn Fn(&AgentConfig) -> String| (value(before), value(after));
    [
        ("interfaces", values(&interfaces)),
        ("backstop", values(&backstop)),
        ("exempt_interfaces", values(&exempt)),
    ]
    .into_iter()
    .filter(|(_, (before, after))| before != after)
    .map(|(key, (before, after))| ConfigChange::Setting { key, before, after })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFile, parse};

    fn config(text: &str) -> Config {
        parse(vec![ConfigFile { path: "dbfw.toml".into(), text: text.to_owned() }]).unwrap()
    }

    fn database(name: &str, ports: &str, mode: &str) -> String {
        format!("[[database]]\nname = \"{name}\"\nports = [{ports}]\nmode = \"{mode}\"\n")
    }

    fn told(before: &str, after: &str) -> Vec<(Effect, String)> {
        let none = UnjudgedWays::default();
        let changes = changes(&config(before), &config(after), [&none, &none]);
        changes.iter().map(|change| (change.effect(), change.to_string())).collect()
    }

    #[test]
    fn each_change_says_what_it_opens_and_closes() {
        let shop = database("shop", "5432", "enforce");
        for (before, after, effect, text) in [
            (
                &shop,
                database("shop", "5432", "observe"),
                Effect::Opens,
                "shop: enforce → observe: tcp/5432 is open to everyone",
            ),
            (
                &shop,
                database("shop", "5432", "off"),
                Effect::Opens,
                "shop: enforce → off: tcp/5432 is open to everyone",
            ),
            (
                &database("shop", "5432, 5433", "observe"),
                database("shop", "5432, 5433", "enforce"),
                Effect::Closes,
                "shop: observe → enforce: tcp/5432, tcp/5433 are closed to sources that are not \
                 trusted",
            ),
            (
                &database("shop", "5432", "observe"),
                database("shop", "5432", "off"),
                Effect::Other,
                "shop: observe → off: tcp/5432 is open to everyone, as before",
            ),
            (
                &shop,
                database("store", "5432", "enforce"),
                Effect::Other,
                "shop (enforce) → store (enforce): tcp/5432 is open to the sources of store alone",
            ),
            (
                &shop,
                database("store", "5432", "off"),
                Effect::Opens,
                "shop (enforce) → store (off): tcp/5432 is open to everyone",
            ),
            (
                &shop,
                database("shop", "5432, \"udp/99\"", "enforce"),
                Effect::Closes,
                "shop (enforce): port added: udp/99 is closed to sources that are not trusted",
            ),
            (
                &database("shop", "5432, 6000, 6001", "enforce"),
                shop.clone(),
                Effect::Opens,
                "shop (enforce): ports no longer protected: tcp/6000, tcp/6001 are open to everyone",
            ),
        ] {
            assert_eq!(told(before, &after), [(effect, text.to_owned())]);
        }
    }

    #[test]
    fn changes_of_addresses_are_told() {
        let shop = |addresses: &str, mode: &str| {
            let to = (!addresses.is_empty()).then(|| format!("addresses = {addresses}\n"));
            database("shop", "5432", mode) + &to.unwrap_or_default()
        };
        let one = "[\"192.0.2.1\"]";
        for (before, after, effect, text) in [
            (
                shop("", "enforce"),
                shop("\"local\"", "enforce"),
                Effect::Opens,
                "shop: addresses every address → local: tcp/5432 is closed at local to sources that \
                 are not trusted; shop judges no other address, where everyone may connect unless \
                 another database does",
            ),
            (
                shop(one, "enforce"),
                shop("", "enforce"),
                Effect::Closes,
                "shop: addresses 192.0.2.1 → every address: tcp/5432 is closed to sources that \
                 are not trusted",
            ),
            (
                shop(one, "enforce"),
                shop("[\"192.0.2.2\"]", "enforce"),
                Effect::Other,
                "shop: addresses 192.0.2.1 → 192.0.2.2: tcp/5432 is closed at 192.0.2.2 to sources \
                 that are not trusted; shop judges no other address, where everyone may connect unless \
                 another database does",
            ),
            (
                shop(one, "observe"),
                shop("", "observe"),
                Effect::Other,
                "shop: addresses 192.0.2.1 → every address: tcp/5432 is open to everyone, as before",
            ),
            (
                shop(one, "enforce"),
                shop(one, "enforce").replace("shop", "store"),
                Effect::Other,
                "shop at 192.0.2.1 (enforce) → store at 192.0.2.1 (enforce): tcp/5432 is open to \
                 the sources of store alone",
            ),
            (
                shop(one, "enforce") + &shop("[\"192.0.2.2\"]", "enforce").replace("shop", "store"),
                shop("[\"192.0.2.0/30\"]", "enforce"),
                Effect::Other,
                "store at 192.0.2.2 (enforce) → shop at 192.0.2.0/30 (enforce): tcp/5432 is open \
                 to the sources of shop alone",
            ),
            (
                shop(one, "enforce"),
                shop(one, "enforce") + &shop("[\"192.0.2.2\"]", "enforce").replace("shop", "store"),
                Effect::Closes,
                "store at 192.0.2.2 (enforce): port added: tcp/5432 is closed to sources that are \
                 not trusted",
            ),
        ] {
            assert_eq!(told(&before, &after)[0], (effect, text.to_owned()));
        }
    }

    #[test]
    fn sources_that_come_and_go_are_told() {
        let of = |mode: &str, sources: &[&str]| {
            let sources: Vec<String> =
                sources.iter().map(|source| format!("\"ip_addr:{source}\"")).collect();
            let keys = format!("trusted_sources = [{}]", sources.join(", "));
            format!("{}\n{keys}\n", database("shop", "5432", mode))
        };
        let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        for (before, after, told) in [
            (of("enforce", &["10.0.0.1"]), of("enforce", &["10.0.0.1/32"]), &[][..]),
            (
                of("enforce", &["10.0.0.1", "10.0.0.2"]),
                of("enforce", &["10.0.0.2", "10.0.0.3"]),
                &[
                    "shop: not trusted any more: ip_addr:10.0.0.1",
                    "shop: trusted: ip_addr:10.0.0.3",
                ],
            ),
            (
                of("enforce", &all),
                of("enforce", &[]),
                &["shop: not trusted any more: ip_addr:10.0.0.1, ip_addr:10.0.0.2, \
                   ip_addr:10.0.0.3, ip_addr:10.0.0.4, ip_addr:10.0.0.5 and 1 more"],
            ),
            // Its mode says more.
            (of("observe", &["10.0.0.1"]), of("enforce", &[]), &[]),
            (of("enforce", &["10.0.0.1"]), of("observe", &[]), &[]),
        ] {
            let found = source_changes(&config(&before), &config(&after));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, told, "{before} {after}");
        }
    }

    #[test]
    fn another_port_is_one_that_comes_and_one_that_goes() {
        let told = told(&database("a", "1", "enforce"), &database("a", "2", "enforce"));
        let effects: Vec<Effect> = told.iter().map(|(effect, _)| *effect).collect();
        assert_eq!(effects, [Effect::Closes, Effect::Opens]);
    }

    #[test]
    fn settings_of_the_agent_are_told() {
        let shop = database("shop", "5432", "enforce");
        let agent = |keys: &str| format!("[agent]\n{keys}\n{shop}");
        for (before, after, text) in [
            ("", "interfaces = [\"eth0\", \"eth1\"]", "agent.interfaces: auto → eth0, eth1"),
            ("", "backstop = false", "agent.backstop: on → off"),
            ("", "exempt_interfaces = [\"docker0\"]", "agent.exempt_interfaces: none → docker0"),
        ] {
            let told = told(&agent(before), &agent(after));
            assert_eq!(told, [(Effect::Other, text.to_owned())]);
        }
    }

    #[test]
    fn ways_in_are_told_for_what_is_enforced() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let both = database("shop", "5432, 5433", "enforce");
        for (before, after, unjudged, told) in [
            (&both, &both, [&["eth1"][..], &["eth1"]], &[][..]),
            (
                &both,
                &both,
                [&["eth1"], &["docker0", "eth1", "eth2"]],
                &["docker0, eth2: no longer judged: tcp/5432, tcp/5433 are open to everyone there"],
            ),
            (
                &both,
                &both,
                [&["eth1", "eth2"], &["eth2"]],
                &["eth1: judged from now on: tcp/5432, tcp/5433 are closed to sources that are \
                   not trusted"],
            ),
            (
                &database("shop", "5432", "observe"),
                &database("shop", "5432", "enforce"),
                [&["eth1"], &["eth1"]],
                &[
                    "shop: observe → enforce: tcp/5432 is closed to sources that are not trusted",
                    "eth1: not judged: tcp/5432 is open to everyone there, as before",
                ],
            ),
            (
                &database("shop", "5432", "observe"),
                &database("shop", "5432", "observe"),
                [&[], &["eth1"]],
                &[],
            ),
        ] {
            let unjudged = unjudged
                .map(|ways| UnjudgedWays { to_this_host: names(ways), ..UnjudgedWays::default() });
            let found = changes(&config(before), &config(after), [&unjudged[0], &unjudged[1]]);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, told, "{unjudged:?}");
        }
    }

    #[test]
    fn what_is_passed_on_is_told_for_databases_of_other_machines() {
        let bound = |to: &str| {
            let shop = database("shop", "5432", "enforce");
            format!("{shop}addresses = [{to}]\n{}", database("shop2", "5433", "observe"))
        };
        let every = database("shop", "5432", "enforce");
        let opens = "eth1: what this host passes on from there is no longer judged: tcp/5432 is \
                     open to everyone on the way to other machines";
        let closes = "eth1: what this host passes on from there is judged from now on: tcp/5432 is \
                      closed to sources that are not trusted on the way to other machines";
        for (config_text, before, after, told) in [
            (&every, &[][..], &["eth1"][..], &[opens][..]),
            (&every, &["eth1", "eth2"], &["eth2"], &[closes]),
            (&bound("\"local\", \"10.0.0.0/24\""), &[], &["eth1"], &[opens]),
            (&bound("\"local\""), &[], &["eth1"], &[]),
            (&database("shop", "5432", "observe"), &[], &["eth1"], &[]),
            (&every, &["eth1"], &["eth1"], &[]),
        ] {
            let of = |passed_on: &[&str]| UnjudgedWays {
                passed_on: passed_on.iter().map(|&name| name.to_owned()).collect(),
                ..UnjudgedWays::default()
            };
            let config = config(config_text);
            let found = changes(&config, &config, [&of(before), &of(after)]);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, told, "{config_text}");
        }
        // Once for each interface: the way in is told already.
        let config = config(&every);
        let ways = UnjudgedWays {
            to_this_host: ["eth1".to_owned()].into(),
            passed_on: ["eth1".to_owned()].into(),
        };
        assert_eq!(changes(&config, &config, [&UnjudgedWays::default(), &ways]).len(), 1);
    }

    #[test]
    fn what_changes_nothing_is_not_told() {
        let shop = database("shop", "5432", "enforce");
        let listed = format!("{shop}trusted_sources = [\"ip_addr:10.0.0.1\"]\n");
        assert_eq!(told(&shop, &listed), []);
        let (a, b) = (database("a", "1", "off"), database("b", "2", "observe"));
        assert_eq!(told(&format!("{a}{b}"), &format!("{b}{a}")), []);
    }
}
