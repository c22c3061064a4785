//! [`run`]: an audit of this host's databases.

use std::{cell::RefCell, collections::BTreeMap, io, net::IpAddr, time::Duration};

use dbfw_core::audit::{
    CHECKS, CheckId, Engine, Finding, Level, RolesAudit, RulesAudit, SeenConnection, Trusted,
    judge_roles, judge_rules, judge_uses,
};
use dbfw_core::hba::{Facts, NoFacts, Rules};
use futures_util::future::{OptionFuture, join, join_all};
use jiff::Timestamp;

use super::{
    certificate::Known,
    cluster::{Cluster, HostFacts},
    endpoint::Endpoint,
    exposed::{Around, engine_of, has},
    login::{self, Catalog, LoggedIn, Target},
    processes::{self, Listener},
    published::published,
    seen::{judge_watched, watch_all},
    wire::{Looked, Pace, look},
};
use crate::config::{AgentConfig, DatabaseConfig};

/// Endpoints of a database that are connected to.
const MAX_ENDPOINTS: usize = 8;

/// The order for an audit.
#[derive(Debug)]
pub struct Order<'a> {
    /// The agent's settings.
    pub agent: &'a AgentConfig,
    /// All databases of the configuration.
    pub databases: &'a [DatabaseConfig],
    /// The names of those that are looked at; none: all, and the host.
    pub wanted: &'a [String],
    /// The trusted sources by the database's name, or the reason why they are not known.
    pub trusted: &'a BTreeMap<String, Result<Vec<Trusted>, String>>,
    /// The level, without the watch.
    pub level: Level,
    /// The time for which connections are watched.
    pub watch: Option<Duration>,
    /// Certificates that clients know.
    pub known: &'a Known,
    /// The time.
    pub now: Timestamp,
}

/// The result of an audit.
#[derive(Debug)]
pub struct Audited {
    /// The databases.
    pub databases: Vec<AuditedDatabase>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// The time for which connections were watched.
    pub watched: Option<Duration>,
}

/// A database as an audit saw it.
#[derive(Debug)]
pub struct AuditedDatabase {
    /// Its name.
    pub name: String,
    /// `None`: nobody knows.
    pub engine: Option<Engine>,
    /// The version, as far as it is known.
    pub version: Option<String>,
    /// The way in to its catalogue, "peer as postgres"; `None`: nobody logged in.
    pub login: Option<String>,
    /// The endpoints that answered.
    pub endpoints: Vec<AuditedEndpoint>,
}

/// An endpoint as an audit saw it.
#[derive(Debug)]
pub struct AuditedEndpoint {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// Its TLS, if it has it.
    pub tls: Option<AuditedTls>,
}

/// The TLS of an endpoint.
#[derive(Debug)]
pub struct AuditedTls {
    /// "TLSv1.3"; `None`: the server broke off.
    pub version: Option<String>,
    /// Its certificates.
    pub chain: super::chain::Chain,
    /// Whether a known authority signed them.
    pub is_verified: bool,
}

/// Makes an audit. Changes nothing.
///
/// # Errors
///
/// Nothing can be waited for.
pub fn run(order: &Order<'_>) -> io::Result<Audited> {
    let around = Around::look(order.agent, processes::listeners(), published());
    let mut findings = Vec::new();
    if order.wanted.is_empty() {
        findings.extend(around.judge_host(order.databases));
    }
    let paces = Paces::default();
    let is_wanted = |database: &&DatabaseConfig| {
        order.wanted.is_empty() || order.wanted.contains(&database.name)
    };
    let wanted: Vec<&DatabaseConfig> = order.databases.iter().filter(is_wanted).collect();
    let subjects =
        wanted.iter().map(|database| Subject::of(database, order, &around, &paces).audit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch =
        OptionFuture::from(order.watch.map(|duration| watch_all(&wanted, &around, duration)));
    // The watch first: it is to see those who connect meanwhile.
    let (watched, audits) = runtime.block_on(join(watch, join_all(subjects)));
    let mut databases = Vec::new();
    for (number, (database, mut found, listed)) in audits.into_iter().enumerate() {
        if let Some(watched) = &watched {
            let trusted = trusted_of(order, &database.name);
            judge_watched(&mut found, (watched, number), listed, trusted, &around);
        }
        findings.extend(found.into_iter().map(|finding| finding.of(&database.name)));
        databases.push(database);
    }
    Finding::sort(&mut findings);
    let watched = watched.and_then(|watched| Some(watched.ok()?.took));
    Ok(Audited { databases, findings, watched })
}

/// The trusted sources of a database, or the reason why they are not known.
fn trusted_of<'a>(order: &'a Order<'_>, database: &str) -> Result<&'a [Trusted], &'a str> {
    match order.trusted.get(database) {
        Some(Ok(trusted)) => Ok(trusted),
        Some(Err(why)) => Err(why),
        None => Err("the database is not in force, and neither are its trusted sources"),
    }
}

/// The paces of servers, by process: several databases may be one server's.
#[derive(Default)]
struct Paces(RefCell<BTreeMap<u32, Pace>>);

impl Paces {
    fn of(&self, listeners: &[&Listener]) -> Pace {
        match listeners.iter().find_map(|listener| listener.process.as_ref()) {
            Some(process) => self.0.borrow_mut().entry(process.pid).or_default().clone(),
            None => Pace::default(),
        }
    }
}

/// A database under audit.
struct Subject<'a> {
    database: &'a DatabaseConfig,
    order: &'a Order<'a>,
    around: &'a Around,
    listeners: Vec<&'a Listener>,
    trusted: Result<&'a [Trusted], &'a str>,
    pace: Pace,
}

impl<'a> Subject<'a> {
    fn of(
        database: &'a DatabaseConfig,
        order: &'a Order<'a>,
        around: &'a Around,
        paces: &Paces,
    ) -> Self {
        let listeners = around.listeners.as_deref().unwrap_or_default().iter();
        let listeners: Vec<&Listener> =
            listeners.filter(|listener| has(database, listener.port)).collect();
        let trusted = trusted_of(order, &database.name);
        let pace = paces.of(&listeners);
        Self { database, order, around, listeners, trusted, pace }
    }

    /// Audits it: the findings, and the connections that the server lists.
    async fn audit(self) -> (AuditedDatabase, Vec<Finding>, Vec<SeenConnection>) {
        let mut findings = self.around.judge(self.database, self.trusted);
        findings.extend(match self.trusted {
            Ok(trusted) => judge_uses(trusted, self.order.now),
            Err(why) => vec![Finding::unknown(CheckId::X2, why)],
        });
        let mut engine = engine_of(&self.listeners);
        let mut version = None;
        let mut endpoints = Vec::new();
        if self.order.level >= Level::Wire {
            for looked in self.wire().await {
                engine = engine.or(looked.engine);
                version = version.or(looked.version.clone());
                endpoints.push(looked);
            }
            findings.extend(of_wire(&mut endpoints, self.unreachable(), engine));
        }
        let mut way_in = None;
        let mut logged_in = None;
        if self.order.level >= Level::Login {
            let begun = self.log_in(engine).await;
            let mut found = Vec::new();
            if let Ok(begun) = &begun {
                way_in = Some(begun.by.clone());
                version = begun.version.clone().or(version);
                let own: Vec<IpAddr> = self.around.reachable().collect();
                found = begun.judge(self.trusted, &own);
                login::drop_answered(&mut findings, &found);
            }
            findings.extend(found);
            logged_in = Some(begun);
        }
        if engine == Some(Engine::Postgres) {
            let (known, found) =
                self.rules(logged_in.as_ref().and_then(|begun| begun.as_ref().ok()));
            version = version.or(known);
            findings.extend(found);
        }
        if let Some(logged_in) = &logged_in {
            let why = logged_in.as_ref().err().map_or("it was not asked", String::as_str);
            login::leave_nothing_out(&mut findings, engine, why);
        }
        let endpoints = endpoints.into_iter().map(|looked| AuditedEndpoint {
            endpoint: looked.endpoint,
            tls: looked.tls.map(|tls| AuditedTls {
                version: tls.version,
                chain: tls.chain,
                is_verified: tls.is_verified,
            }),
        });
        let name = self.database.name.clone();
        let endpoints = endpoints.collect();
        let listed =
            logged_in.iter().flatten().filter_map(|logged_in| logged_in.connections().ok());
        let listed = listed.flatten().cloned().collect();
        (AuditedDatabase { name, engine, version, login: way_in, endpoints }, findings, listed)
    }

    /// Logs in to the server.
    async fn log_in(&self, engine: Option<Engine>) -> Result<LoggedIn, String> {
        let engine = engine.ok_or("which database it is nobody knows")?;
        let (listeners, login) = (&*self.listeners, &self.database.audit);
        login::log_in(&Target { engine, listeners, login, pace: &self.pace }).await
    }

    /// The checks of pg_hba.conf, and of roles if somebody logged in; and the server's version.
    fn rules(&self, logged_in: Option<&LoggedIn>) -> (Option<String>, Vec<Finding>) {
        const CHECKED: [CheckId; 4] = [CheckId::A2, CheckId::X1, CheckId::X3, CheckId::X5];
        let own: Vec<IpAddr> = self.around.reachable().collect();
        let unknown = |why: &str| -> Vec<Finding> {
            let findings = CHECKED.iter().map(|check| Finding::unknown(*check, why));
            findings.chain(self.roles(logged_in, Err(why), &NoFacts)).collect()
        };
        let postgres = self.listeners.iter().find_map(|listener| {
            let process = listener.process.as_ref()?;
            (process.program == processes::Program::Database(Engine::Postgres))
                .then_some(process.pid)
        });
        let Some(pid) = postgres else {
            return (None, unknown("the server behind the pooler is not looked at"));
        };
        let cluster = match Cluster::of(pid) {
            Ok(cluster) => cluster,
            Err(why) => return (None, unknown(&why)),
        };
        let catalog = match logged_in.map(|logged_in| &logged_in.catalog) {
            Some(Catalog::Postgres(catalog)) => Some(catalog),
            _ => None,
        };
        let facts = match HostFacts::read(catalog) {
            Ok(facts) => facts,
            Err(error) => return (Some(cluster.version), unknown(&error.to_string())),
        };
        let findings = match (&cluster.rules, self.trusted) {
            (Err(why), _) => unknown(why),
            (Ok(rules), trusted) => {
                let known = trusted.unwrap_or_default();
                let audit = RulesAudit { rules, trusted: known, own: &own, facts: &facts };
                let findings = judge_rules(&audit).into_iter();
                let of_roles = self.roles(logged_in, Ok(rules), &facts);
                let findings: Vec<Finding> = match trusted {
                    Ok(_) => findings.collect(),
                    // A-2 alone needs no list.
                    Err(why) => findings
                        .filter(|finding| finding.check() == CheckId::A2)
                        .chain(CHECKED[1..].iter().map(|check| Finding::unknown(*check, why)))
                        .collect(),
                };
                findings.into_iter().chain(of_roles).collect()
            }
        };
        (Some(cluster.version), findings)
    }

    /// The checks of roles.
    fn roles(
        &self,
        logged_in: Option<&LoggedIn>,
        rules: Result<&Rules, &str>,
        facts: &dyn Facts,
    ) -> Vec<Finding> {
        let Some(Catalog::Postgres(catalog)) = logged_in.map(|logged_in| &logged_in.catalog) else {
            return Vec::new();
        };
        let own: Vec<IpAddr> = self.around.reachable().collect();
        let (trusted, now) = (self.trusted, self.order.now);
        judge_roles(&RolesAudit { catalog, rules, facts, trusted, own: &own, now })
    }

    /// The ports that are connected to: those where something listens, or else all, since those of a
    /// container have no socket here.
    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.listeners.iter().map(|listener| listener.port).collect();
        if ports.is_empty() {
            ports = self.database.ports.tcp().take(MAX_ENDPOINTS).collect();
        }
        ports.sort_unstable();
        ports.dedup();
        ports.truncate(MAX_ENDPOINTS);
        ports
    }

    /// The endpoint of a port from which and to which a probe goes.
    fn endpoint(&self, port: u16) -> Option<(Endpoint, Option<Engine>)> {
        let here: Vec<&&Listener> =
            self.listeners.iter().filter(|listener| listener.port == port).collect();
        let endpoints = Endpoint::all(port, &self.database.destinations).ok()?;
        let mut endpoints = endpoints.into_iter().filter(|one| !one.address.is_loopback());
        let is_served = |endpoint: &Endpoint| {
            here.is_empty() || here.iter().any(|listener| listener.serves(endpoint.address))
        };
        let endpoint = endpoints.find(is_served)?;
        let engine = here.iter().find_map(|listener| listener.engine());
        Some((endpoint, engine.or_else(|| Engine::of_port(port))))
    }

    /// Looks at the endpoints, one after the other.
    async fn wire(&self) -> Vec<Looked> {
        let mut looked = Vec::new();
        for port in self.ports() {
            if let Some((endpoint, engine)) = self.endpoint(port) {
                looked.push(look(endpoint, engine, &self.pace, self.order.known).await);
            }
        }
        looked
    }

    /// The reason why no endpoint can be looked at.
    fn unreachable(&self) -> &'static str {
        match (self.around.reachable().next(), &*self.listeners) {
            (None, _) => {
                "this host has no address besides loopback ones, and to those servers say other \
                 things than to clients"
            }
            (_, []) => "it has no port of TCP that could be connected to",
            _ => {
                "it listens on loopback addresses alone, to which servers say other things than to \
                 clients"
            }
        }
    }
}

/// The findings of all endpoints of a database.
fn of_wire(endpoints: &mut [Looked], unreachable: &str, engine: Option<Engine>) -> Vec<Finding> {
    if endpoints.is_empty() {
        let meant = CHECKS.iter().filter(|check| {
            check.level == Level::Wire
                && engine.is_none_or(|engine| check.engines.contains(&engine))
        });
        return meant.map(|check| Finding::unknown(check.id, unreachable)).collect();
    }
    // A server may have TLS on a port of its own.
    let has_tls_port =
        engine == Some(Engine::Redis) && endpoints.iter().any(|one| one.tls.is_some());
    let mut findings = Vec::new();
    for looked in endpoints {
        let endpoint = looked.endpoint.to_string();
        for finding in std::mem::take(&mut looked.findings) {
            let is_elsewhere = has_tls_port && finding.check() == CheckId::T1 && looked.has_no_tls;
            findings.push(match is_elsewhere {
                true => Finding::ok(CheckId::T1, "another port offers TLS").at(&endpoint),
                false => finding,
            });
        }
    }
    findings
}
