//! [`CHECKS`]: the table of checks, from which help and documentation are made.

use std::fmt::Write as _;

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// The kind of a database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter)]
pub enum Engine {
    /// PostgreSQL, or a pooler that speaks like it.
    #[strum(serialize = "PostgreSQL")]
    Postgres,
    /// MySQL or MariaDB.
    #[strum(serialize = "MySQL or MariaDB")]
    MySql,
    /// Redis or Valkey.
    #[strum(serialize = "Redis or Valkey")]
    Redis,
    /// MongoDB.
    #[strum(serialize = "MongoDB")]
    MongoDb,
}

impl Engine {
    /// The engine that usually serves a port.
    pub const fn of_port(port: u16) -> Option<Self> {
        match port {
            5432..=5440 | 6432 => Some(Self::Postgres),
            3306..=3310 | 33060 => Some(Self::MySql),
            6379..=6390 | 26379 => Some(Self::Redis),
            27017..=27020 => Some(Self::MongoDb),
            _ => None,
        }
    }
}

/// The weight of a finding.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// To know.
    Info,
    /// To do some day.
    Low,
    /// To plan.
    Medium,
    /// To do now.
    High,
    /// The data are open to whoever may connect.
    Critical,
}

/// The sources of an audit. Each adds to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumIter)]
#[strum(serialize_all = "lowercase")]
pub enum Level {
    /// The configuration, listeners, files and counters of this host.
    Host,
    /// Connections without a credential, from an address of this host that is not a loopback one.
    Wire,
}

/// The name of a check, which never changes its meaning.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumIter, EnumString,
)]
#[strum(ascii_case_insensitive)]
#[expect(missing_docs, reason = "the table has a title for each")]
pub enum CheckId {
    #[strum(serialize = "E-1")]
    E1,
    #[strum(serialize = "E-2")]
    E2,
    #[strum(serialize = "E-3")]
    E3,
    #[strum(serialize = "E-4")]
    E4,
    #[strum(serialize = "E-5")]
    E5,
    #[strum(serialize = "E-6")]
    E6,
    #[strum(serialize = "T-1")]
    T1,
    #[strum(serialize = "T-2")]
    T2,
    #[strum(serialize = "T-3")]
    T3,
    #[strum(serialize = "T-4")]
    T4,
    #[strum(serialize = "T-5")]
    T5,
    #[strum(serialize = "T-6")]
    T6,
    #[strum(serialize = "T-7")]
    T7,
    #[strum(serialize = "T-8")]
    T8,
    #[strum(serialize = "A-1")]
    A1,
    #[strum(serialize = "A-2")]
    A2,
    #[strum(serialize = "A-4")]
    A4,
    #[strum(serialize = "A-5")]
    A5,
    #[strum(serialize = "X-1")]
    X1,
    #[strum(serialize = "X-2")]
    X2,
    #[strum(serialize = "X-3")]
    X3,
    #[strum(serialize = "X-5")]
    X5,
}

/// A check as it is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub id: CheckId,
    /// The weight of its findings, unless they say another.
    pub severity: Severity,
    /// The first level that makes it.
    pub level: Level,
    /// The engines that it is about.
    pub engines: &'static [Engine],
    /// The problem that it looks for.
    pub title: &'static str,
    /// The reason why that is a problem, and how it is looked for.
    pub why: &'static str,
    /// The remedy.
    pub fix: &'static str,
    /// Pages and benchmarks that say more.
    pub refs: &'static [&'static str],
}

impl CheckId {
    /// The check's entry in the table.
    pub fn check(self) -> &'static Check {
        &CHECKS[self as usize]
    }
}

const ALL: &[Engine] = &[Engine::Postgres, Engine::MySql, Engine::Redis, Engine::MongoDb];
const POSTGRES: &[Engine] = &[Engine::Postgres];
const REDIS: &[Engine] = &[Engine::Redis];
const MONGODB: &[Engine] = &[Engine::MongoDb];

const PG_HBA: &str = "https://www.postgresql.org/docs/current/auth-pg-hba-conf.html";
const LIBPQ_SSL: &str = "https://www.postgresql.org/docs/current/libpq-ssl.html";
const MYSQL_TLS: &str = "https://dev.mysql.com/doc/refman/8.4/en/using-encrypted-connections.html";
const REDIS_TLS: &str =
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/encryption/";
const REDIS_SECURITY: &str =
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/";
const MONGODB_TLS: &str = "https://www.mongodb.com/docs/manual/tutorial/configure-ssl/";
const MONGODB_AUTH: &str = "https://www.mongodb.com/docs/manual/tutorial/enable-authentication/";

/// Every check, in the order of [`CheckId`].
pub const CHECKS: [Check; 22] = [
    Check {
        id: CheckId::E1,
        severity: Severity::High,
        level: Level::Host,
        engines: ALL,
        title: "A database server listens where no [[database]] protects it",
        why: "Whoever reaches the port may connect: dbfw judges only the ports that its \
              configuration names. The listening sockets of this network namespace are compared \
              with it, by the program that holds each.",
        fix: "Add the port to a [[database]] and run `dbfw reload`, or let the server listen on \
              127.0.0.1 alone.",
        refs: &["CIS PostgreSQL 5.2", "CIS MariaDB 2.9"],
    },
    Check {
        id: CheckId::E2,
        severity: Severity::High,
        level: Level::Host,
        engines: ALL,
        title: "A container's database port is published where no [[database]] protects it",
        why: "Published ports are passed on before a host firewall such as ufw sees them. The \
              processes docker-proxy and the destination NAT rules of this namespace are read; a \
              rule counts if the port in the container is one that databases use.",
        fix: "Add the published port, which is the one on the host, to a [[database]] and run \
              `dbfw reload`, or publish it on 127.0.0.1 alone.",
        refs: &["https://docs.docker.com/engine/network/packet-filtering-firewalls/"],
    },
    Check {
        id: CheckId::E3,
        severity: Severity::High,
        level: Level::Host,
        engines: ALL,
        title: "A database can be reached by an interface where nothing judges packets",
        why: "No program is attached to the interface, and the backstop is off, exempts it, or \
              cannot see the socket because it belongs to a container.",
        fix: "Add the interface to `interfaces` in [agent] and run `dbfw reload`; `dbfw doctor` \
              says what is attached.",
        refs: &[],
    },
    Check {
        id: CheckId::E4,
        severity: Severity::Medium,
        level: Level::Host,
        engines: POSTGRES,
        title: "A pooler listens where no [[database]] protects it",
        why: "Whoever reaches the pooler reaches the databases behind it, and these see the \
              pooler's address in place of the client's.",
        fix: "Add the pooler's port to the [[database]] that it leads to and run `dbfw reload`.",
        refs: &["https://www.pgbouncer.org/config.html"],
    },
    Check {
        id: CheckId::E5,
        severity: Severity::Medium,
        level: Level::Host,
        engines: ALL,
        title: "The database's mode drops nothing",
        why: "In mode observe packets of strangers are counted and let in; in mode off they are not \
              even judged.",
        fix: "Set `mode = \"enforce\"` and run `dbfw reload --trial 10m`; `dbfw drops` lists whom \
              that would keep out.",
        refs: &[],
    },
    Check {
        id: CheckId::E6,
        severity: Severity::Info,
        level: Level::Host,
        engines: ALL,
        title: "The server listens on every address, and its clients come by one interface",
        why: "A server that listens only where its clients come from cannot be reached elsewhere, \
              whatever else fails. The routes to the first and last address of each trusted prefix \
              say by which interface it comes.",
        fix: "Set listen_addresses (PostgreSQL), bind-address (MySQL, MariaDB), bind (Redis, \
              Valkey) or net.bindIp (MongoDB) to the address of that interface and 127.0.0.1.",
        refs: &["CIS PostgreSQL 5.2", "CIS MariaDB 2.9"],
    },
    Check {
        id: CheckId::T1,
        severity: Severity::High,
        level: Level::Wire,
        engines: ALL,
        title: "The server offers no TLS",
        why: "Whoever sees the network between client and server reads passwords and data, and can \
              change them.",
        fix: "PostgreSQL: ssl = on, ssl_cert_file, ssl_key_file. MySQL, MariaDB: ssl_cert, ssl_key. \
              Redis, Valkey: tls-port, tls-cert-file, tls-key-file. MongoDB: net.tls.mode and \
              net.tls.certificateKeyFile.",
        refs: &[LIBPQ_SSL, MYSQL_TLS, REDIS_TLS, MONGODB_TLS],
    },
    Check {
        id: CheckId::T2,
        severity: Severity::High,
        level: Level::Wire,
        engines: &[Engine::Postgres, Engine::Redis, Engine::MongoDb],
        title: "Clients can log in without TLS",
        why: "A client that forgets to ask for TLS, or that somebody on the way keeps from it, \
              sends its data in the clear. The server is asked in plaintext from an address of this \
              host; for PostgreSQL the lines of pg_hba.conf are judged for every trusted source \
              too.",
        fix: "PostgreSQL: hostssl in place of host in pg_hba.conf. Redis, Valkey: port 0 besides \
              tls-port. MongoDB: net.tls.mode: requireTLS.",
        refs: &[PG_HBA, REDIS_TLS, MONGODB_TLS],
    },
    Check {
        id: CheckId::T3,
        severity: Severity::Critical,
        level: Level::Wire,
        engines: POSTGRES,
        title: "The server asks for passwords in the clear, without TLS",
        why: "The password itself crosses the network, for everybody on the way to read and use.",
        fix: "Write scram-sha-256 in place of password, ldap, pam or radius in pg_hba.conf, or \
              hostssl in place of host.",
        refs: &[PG_HBA, "https://www.postgresql.org/docs/current/auth-password.html"],
    },
    Check {
        id: CheckId::T4,
        severity: Severity::High,
        level: Level::Wire,
        engines: ALL,
        title: "The server accepts TLS 1.0 or 1.1",
        why: "Both have been broken for years (RFC 8996). A setting does not tell, since the \
              library may refuse what the setting allows: a hello of TLS 1.1 is sent. MySQL and \
              MariaDB count handshakes that break off against the host, so there it is unknown.",
        fix: "PostgreSQL: ssl_min_protocol_version = 'TLSv1.2'. MySQL, MariaDB: tls_version = \
              TLSv1.2,TLSv1.3. Redis, Valkey: tls-protocols \"TLSv1.2 TLSv1.3\". MongoDB: \
              net.tls.disabledProtocols: TLS1_0,TLS1_1.",
        refs: &["RFC 8996", "CIS PostgreSQL 6.8"],
    },
    Check {
        id: CheckId::T5,
        severity: Severity::High,
        level: Level::Wire,
        engines: ALL,
        title: "The certificate is not valid, or not for long",
        why: "Clients that verify it cannot connect once it has expired, nor before it begins. High \
              if that is so within 7 days, medium within 30.",
        fix: "Renew the certificate, and let the server read it: pg_ctl reload (PostgreSQL), FLUSH \
              SSL or ALTER INSTANCE RELOAD TLS (MariaDB, MySQL), CONFIG SET tls-cert-file (Redis, \
              Valkey), rotateCertificates (MongoDB).",
        refs: &[],
    },
    Check {
        id: CheckId::T6,
        severity: Severity::Medium,
        level: Level::Wire,
        engines: ALL,
        title: "Clients cannot verify the certificate without a file",
        why: "No authority that this host knows, or that --ca-file names, signed it. Clients without \
              the right file have to take any certificate, and do not notice somebody between them \
              and the server.",
        fix: "Give clients the authority that `dbfw ca DATABASE` prints, with sslrootcert or its \
              like, and name it with --ca-file here; or have the certificate signed by a public one.",
        refs: &[LIBPQ_SSL],
    },
    Check {
        id: CheckId::T7,
        severity: Severity::Medium,
        level: Level::Wire,
        engines: ALL,
        title: "The certificate is not for the server's name",
        why: "verify-full, and every client that compares names, needs a subject alternative name. \
              Without --names any will do; with it each that is given has to be in the certificate.",
        fix: "Have the certificate issued again with the names by which clients know the server as \
              subject alternative names.",
        refs: &[LIBPQ_SSL, "RFC 9525"],
    },
    Check {
        id: CheckId::T8,
        severity: Severity::Low,
        level: Level::Wire,
        engines: ALL,
        title: "The certificate is weak, or one that every Debian makes for itself",
        why: "RSA keys below 2048 bits and signatures with SHA-1 or MD5 can be forged. The \
              certificate of the package ssl-cert is meant for trials.",
        fix: "Have a certificate issued with an ECDSA key, or RSA of 2048 bits, and SHA-256.",
        refs: &["CIS PostgreSQL 6.8"],
    },
    Check {
        id: CheckId::A1,
        severity: Severity::Critical,
        level: Level::Wire,
        engines: ALL,
        title: "The server lets clients in without a password",
        why: "A client without a credential, from an address of this host, got in as far as the \
              server's own checks go: PostgreSQL's trust, a Redis that answers PING, a MongoDB that \
              lists its databases, an anonymous user of MySQL.",
        fix: "PostgreSQL: scram-sha-256 in place of trust in pg_hba.conf. MySQL, MariaDB: DROP USER \
              ''@'…'. Redis, Valkey: requirepass or ACLs. MongoDB: security.authorization: enabled.",
        refs: &[PG_HBA, REDIS_SECURITY, MONGODB_AUTH],
    },
    Check {
        id: CheckId::A2,
        severity: Severity::High,
        level: Level::Host,
        engines: POSTGRES,
        title: "pg_hba.conf has trust, password or ident for clients of the network",
        why: "trust asks for nothing, ident believes what the client's host says, and password sends \
              the password itself. Lines for loopback addresses alone do not count.",
        fix: "Write scram-sha-256 in their place, or cert.",
        refs: &[PG_HBA, "CIS PostgreSQL 5.3"],
    },
    Check {
        id: CheckId::A4,
        severity: Severity::Medium,
        level: Level::Wire,
        engines: REDIS,
        title: "The default user of Redis needs no password",
        why: "A client without a credential is the default user. A server in protected mode refuses \
              such clients from other hosts, and only that stands between it and A-1.",
        fix: "Set requirepass, or `user default off` and users of your own in the ACL file.",
        refs: &[REDIS_SECURITY],
    },
    Check {
        id: CheckId::A5,
        severity: Severity::Medium,
        level: Level::Wire,
        engines: MONGODB,
        title: "MongoDB's authorization is off",
        why: "A client without a credential may list the databases, which takes a privilege where \
              authorization is on.",
        fix: "Make an administrator, set security.authorization: enabled, and restart.",
        refs: &[MONGODB_AUTH],
    },
    Check {
        id: CheckId::X1,
        severity: Severity::Medium,
        level: Level::Host,
        engines: POSTGRES,
        title: "The database's own rules admit more than the trusted sources",
        why: "Only the filter keeps the others out: on the day of `dbfw detach`, or on an interface \
              that is not covered, they are let in. Every line of pg_hba.conf that decides for an \
              address outside the trusted prefixes is found; loopback and this host's own addresses \
              do not count.",
        fix: "Write the trusted sources into pg_hba.conf: dbfw export pg_hba --database NAME.",
        refs: &[PG_HBA],
    },
    Check {
        id: CheckId::X2,
        severity: Severity::Info,
        level: Level::Host,
        engines: ALL,
        title: "A trusted source has sent no packet for 30 days",
        why: "Whoever has its addresses by now may connect. A source counts once it was watched for \
              as long.",
        fix: "Remove it from the configuration or its provider's list; dbfw sources --unused 30d \
              lists all of them.",
        refs: &[],
    },
    Check {
        id: CheckId::X3,
        severity: Severity::Medium,
        level: Level::Host,
        engines: POSTGRES,
        title: "No line of pg_hba.conf admits a trusted source",
        why: "Its packets reach the server, which refuses them: the trust is dead, or one of the two \
              lists has a mistake. If users are declared for the source, a line has to admit one of \
              them.",
        fix: "Remove the source, or add a line; dbfw export pg_hba --database NAME prints it.",
        refs: &[PG_HBA],
    },
    Check {
        id: CheckId::X5,
        severity: Severity::High,
        level: Level::Host,
        engines: POSTGRES,
        title: "A trusted source gets past hostssl without TLS",
        why: "A hostssl line does not match clients without TLS: these go on to the next lines, and a \
              later host line admits them. The hostssl line looks as if it required TLS, and does \
              not.",
        fix: "Write hostssl, or hostnossl … reject before it, in place of the later line.",
        refs: &[PG_HBA, LIBPQ_SSL],
    },
];

/// The part of docs/audit.md that the table makes.
pub fn document() -> String {
    let mut text =
        String::from("| id | severity | level | engines | finding |\n|---|---|---|---|---|\n");
    for check in &CHECKS {
        let Check { id, severity, level, title, .. } = check;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| [{id}](#{}) | {severity} | {level} | {} | {title} |",
            id.to_string().to_lowercase(),
            check.engine_names()
        );
    }
    for check in &CHECKS {
        let Check { id, severity, level, title, why, fix, refs, .. } = check;
        let _ = write!(
            text,
            "\n### {id}\n\n**{title}.** {severity}, level {level}, {}.\n\n{why}\n\nFix: {fix}\n",
            check.engine_names()
        );
        if !refs.is_empty() {
            let links: Vec<String> = refs.iter().map(|text| link(text)).collect();
            let _ = writeln!(text, "\nSee: {}", links.join(", "));
        }
    }
    text
}

/// A reference as Markdown.
fn link(text: &str) -> String {
    match text.starts_with("https://") {
        true => format!("<{text}>"),
        false => text.to_owned(),
    }
}

impl Check {
    /// The engines in words.
    pub fn engine_names(&self) -> String {
        match self.engines.len() {
            4 => "all engines".to_owned(),
            _ => {
                let names: Vec<String> = self.engines.iter().map(Engine::to_string).collect();
                names.join(", ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    const DOCS: &str = include_str!("../../../docs/audit.md");

    #[test]
    fn every_id_has_its_entry() {
        assert_eq!(CheckId::iter().count(), CHECKS.len());
        for id in CheckId::iter() {
            assert_eq!(id.check().id, id);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn texts_are_sentences_that_fit_a_table() {
        for check in &CHECKS {
            assert!(!check.title.ends_with('.'), "{}", check.id);
            assert!(!check.title.contains('|'), "{}", check.id);
            for text in [check.why, check.fix] {
                assert!(text.ends_with('.'), "{}: {text}", check.id);
                assert!(!text.contains("  "), "{}: {text}", check.id);
            }
        }
    }

    #[test]
    fn the_documentation_is_the_table() {
        assert!(DOCS.contains(&document()), "docs/audit.md must contain this:\n{}", document());
    }
}
