//! `dbfw audit`: weaknesses of the databases behind the filter.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use dbfw_core::{
    audit::{Accepted, Check, Finding, Level, State, Trusted},
    source::Prefix,
};
use dbfw_wire::control::{
    Audit, AuditCheck, AuditFinding, AuditState, AuditedDatabase, AuditedEndpoint, AuditedTls,
    Request, SourceStatus, Sources,
};
use jiff::{SignedDuration, Timestamp};
use nix::unistd::geteuid;

use super::{
    args::AuditArguments,
    ca::{certificates, roots_of, system_roots},
    context::Context,
    exit::Exit,
};
use crate::{
    audit::{self, Audited, Known, Order},
    config::{self, Config, DatabaseConfig},
    readers::offline,
    state::audit::{SCHEMA, save},
};

/// Bytes of a baseline.
const MAX_BASELINE: u64 = 16 << 20;
/// The certificate that Debian's package ssl-cert makes.
const SNAKEOIL: &str = "/etc/ssl/certs/ssl-cert-snakeoil.pem";

pub(super) fn audit(context: &Context, arguments: &AuditArguments) -> anyhow::Result<Exit> {
    if let Some(id) = arguments.explain {
        context.show(&explained(id.check()))?;
        return Ok(Exit::Ok);
    }
    if !geteuid().is_root() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(denied).context("dbfw audit looks at what only root may: run it as root");
    }
    // Passwords and the first messages of clients must not end in a core dump.
    nix::sys::prctl::set_dumpable(false).context("core dumps cannot be switched off")?;
    let config = config::load(&context.config)?;
    for name in &arguments.databases {
        if !config.databases.iter().any(|database| database.name == *name) {
            let names: Vec<&str> = config.databases.iter().map(|one| &*one.name).collect();
            bail!("there is no database {name:?}; there are: {}", names.join(", "));
        }
    }
    let accepted = accepted(arguments)?;
    let known = known(arguments)?;
    let trusted = trusted(context, &config);
    let order = Order {
        agent: &config.agent,
        databases: &config.databases,
        wanted: &arguments.databases,
        trusted: &trusted,
        level: match (arguments.no_probe, arguments.login) {
            (true, _) => Level::Host,
            (false, true) => Level::Login,
            (false, false) => Level::Wire,
        },
        watch: arguments.watch.map(SignedDuration::unsigned_abs),
        known: &known,
        now: Timestamp::now(),
    };
    let mut audited = audit::run(&order).context("cannot wait for a server")?;
    accepted.apply(&mut audited.findings);
    Finding::sort(&mut audited.findings);
    let fails = |finding: &Finding| {
        finding.state() == State::Fail && finding.severity() >= arguments.fail_on
    };
    let fails = !arguments.save && audited.findings.iter().any(fails);
    let exit = if fails { Exit::Failure } else { Exit::Ok };
    if arguments.save {
        let state_dir = &config.agent.state_dir;
        save(state_dir, &document(&audited, &order)).with_context(|| {
            format!("cannot save the result in {}; the one before stays", state_dir.display())
        })?;
    }
    if let Some(min) = arguments.min {
        audited.findings.retain(|finding| finding.severity() >= min);
    }
    context.show(&document(&audited, &order))?;
    Ok(exit)
}

fn explained(check: &Check) -> AuditCheck {
    AuditCheck {
        id: check.id.to_string(),
        severity: check.severity.into(),
        level: check.level.into(),
        engines: check.engines.iter().map(ToString::to_string).collect(),
        title: check.title.to_owned(),
        why: check.why.to_owned(),
        fix: check.fix.to_owned(),
        refs: check.refs.iter().map(|text| (*text).to_owned()).collect(),
    }
}

/// The findings that the arguments accept.
fn accepted(arguments: &AuditArguments) -> anyhow::Result<Accepted> {
    let mut accepted = Accepted::new(arguments.accept.clone());
    let Some(file) = &arguments.baseline else { return Ok(accepted) };
    let baseline = read_baseline(file)
        .with_context(|| format!("{} cannot be used as a baseline", file.display()))?;
    let is_problem =
        |finding: &AuditFinding| matches!(finding.state, AuditState::Fail | AuditState::Accepted);
    for finding in baseline.findings.into_iter().filter(is_problem) {
        // Checks of a later version are not known here, and accept nothing.
        if let Ok(check) = finding.id.parse() {
            accepted.add_known(check, finding.database, finding.subject);
        }
    }
    Ok(accepted)
}

fn read_baseline(file: &Path) -> anyhow::Result<Audit> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_BASELINE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BASELINE {
        bail!("it is larger than 16 MiB");
    }
    let baseline: Audit =
        serde_json::from_slice(&text).context("it is not what dbfw audit --output json prints")?;
    if baseline.schema != SCHEMA {
        bail!("its schema is {}, and this version reads {SCHEMA}", baseline.schema);
    }
    Ok(baseline)
}

/// The certificates and names that clients know.
fn known(arguments: &AuditArguments) -> anyhow::Result<Known> {
    let (roots, own) = match &arguments.ca_file {
        Some(file) => {
            let own = certificates(file)?;
            (roots_of(file, &own)?, own)
        }
        None => (system_roots(), Vec::new()),
    };
    let snakeoil = certificates(Path::new(SNAKEOIL)).ok();
    Ok(Known {
        roots,
        certificates: own,
        names: arguments.names.clone(),
        snakeoil: snakeoil.and_then(|certificates| certificates.into_iter().next()),
    })
}

/// The trusted sources of each database: the agent's, or as they were last in force, or as far as the
/// configuration alone says them.
fn trusted(context: &Context, config: &Config) -> BTreeMap<String, Result<Vec<Trusted>, String>> {
    let sources = context.ask_or_look(
        |agent| Ok(agent.call::<Sources>(&Request::Sources {})?),
        |agent, unanswered| Ok(offline::trusted(agent, unanswered)?.1),
    );
    let mut found = BTreeMap::new();
    for database in &config.databases {
        let trusted = match &sources {
            Ok(sources) => sources
                .sources
                .iter()
                .filter(|source| source.database == database.name)
                .map(of_status)
                .collect(),
            Err(error) => of_config(config, database).ok_or_else(|| {
                format!("the trusted sources are not known: {}", crate::causes::causes(error))
            }),
        };
        found.insert(database.name.clone(), trusted);
    }
    found
}

fn of_status(source: &SourceStatus) -> Result<Trusted, String> {
    let prefixes: Result<Vec<Prefix>, _> =
        source.prefixes.iter().map(|text| text.parse()).collect();
    let prefixes = prefixes.map_err(|_| "the agent names a prefix that is none".to_owned())?;
    Ok(Trusted {
        source: source.source.clone(),
        description: source.description.clone(),
        users: source.users.clone(),
        prefixes: prefixes.into(),
        since: source.since,
        last_hit: source.last_hit,
    })
}

/// The trusted sources of a database that was never in force, if the configuration has them all.
fn of_config(config: &Config, database: &DatabaseConfig) -> Option<Vec<Trusted>> {
    let by_hand = config.agent.state_dir.join("trust.json");
    if database.provider.is_some() || by_hand.exists() {
        return None;
    }
    let of = |source: &dbfw_core::source::TrustedSource| {
        Some(Trusted {
            source: source.to_string(),
            description: source.description.clone(),
            users: source.users.clone(),
            prefixes: source.key().prefixes()?.clone(),
            since: None,
            last_hit: None,
        })
    };
    database.trusted_sources.iter().map(of).collect()
}

fn document(audited: &Audited, order: &Order<'_>) -> Audit {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Audit {
        schema: SCHEMA,
        host: host.trim().to_owned(),
        at: order.now,
        level: if order.watch.is_some() { Level::Watch } else { order.level }.into(),
        watched_seconds: audited.watched.map(|watched| watched.as_secs()),
        databases: audited.databases.iter().map(|one| database(one, order)).collect(),
        findings: audited.findings.iter().map(finding).collect(),
    }
}

fn database(audited: &audit::AuditedDatabase, order: &Order<'_>) -> AuditedDatabase {
    let config = order.databases.iter().find(|config| config.name == audited.name);
    let trusted = order.trusted.get(&audited.name);
    AuditedDatabase {
        name: audited.name.clone(),
        engine: audited.engine.map(|engine| engine.to_string()),
        version: audited.version.as_deref().map(dbfw_core::escaped),
        mode: config.map_or(dbfw_common::Mode::Off, |config| config.mode).into(),
        ports: config.map(|config| config.ports.texts()).unwrap_or_default(),
        sources: trusted.and_then(|trusted| Some(trusted.as_ref().ok()?.len())),
        login: audited.login.as_deref().map(dbfw_core::escaped),
        endpoints: audited.endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(audited: &audit::AuditedEndpoint) -> AuditedEndpoint {
    let tls = audited.tls.as_ref().map(|tls| {
        let names = tls.chain.names();
        let addresses = names.addresses.iter().map(ToString::to_string);
        let (not_before, not_after) = tls.chain.validity();
        AuditedTls {
            version: tls.version.clone(),
            subject: tls.chain.subject().to_owned(),
            names: names.hosts.iter().cloned().chain(addresses).collect(),
            not_before,
            not_after,
            sha256: tls.chain.fingerprint(),
            verified: tls.is_verified,
        }
    });
    AuditedEndpoint {
        address: audited.endpoint.address.to_string(),
        port: audited.endpoint.port,
        tls,
    }
}

fn finding(finding: &Finding) -> AuditFinding {
    let check = finding.check().check();
    let own = |text: Option<&str>| text.map(str::to_owned);
    let is_problem = matches!(finding.state(), State::Fail | State::Accepted);
    AuditFinding {
        id: check.id.to_string(),
        severity: finding.severity().into(),
        state: finding.state().into(),
        database: own(finding.database()),
        subject: own(finding.subject()),
        title: check.title.to_owned(),
        text: finding.text().to_owned(),
        reason: own(finding.reason()),
        fix: is_problem.then(|| check.fix.to_owned()),
    }
}
