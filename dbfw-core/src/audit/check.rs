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
    /// The server's own catalogue, read as its system user or as a user for it.
    Login,
    /// The first messages of connections that clients open meanwhile.
    Watch,
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
    #[strum(serialize = "T-2b")]
    T2b,
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
    #[strum(serialize = "A-3")]
    A3,
    #[strum(serialize = "A-4")]
    A4,
    #[strum(serialize = "A-5")]
    A5,
    #[strum(serialize = "R-1")]
    R1,
    #[strum(serialize = "R-2")]
    R2,
    #[strum(serialize = "R-3")]
    R3,
    #[strum(serialize = "R-4")]
    R4,
    #[strum(serialize = "R-5")]
    R5,
    #[strum(serialize = "R-6")]
    R6,
    #[strum(serialize = "L-1")]
    L1,
    #[strum(serialize = "L-2")]
    L2,
    #[strum(serialize = "X-1")]
    X1,
    #[strum(serialize = "X-2")]
    X2,
    #[strum(serialize = "X-3")]
    X3,
    #[strum(serialize = "X-4")]
    X4,
    #[strum(serialize = "X-5")]
    X5,
    #[strum(serialize = "X-6")]
    X6,
    #[strum(serialize = "X-7")]
    X7,
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
const MYSQL: &[Engine] = &[Engine::MySql];
const SQL: &[Engine] = &[Engine::Postgres, Engine::MySql];
/// The engines whose users can be listed.
const LISTED: &[Engine] = &[Engine::Postgres, Engine::MySql, Engine::Redis];
const REDIS: &[Engine] = &[Engine::Redis];
const MONGODB: &[Engine] = &[Engine::MongoDb];

const PG_HBA: &str = "https://www.postgresql.org/docs/current/auth-pg-hba-conf.html";
const LIBPQ_SSL: &str = "https://www.postgresql.org/docs/current/libpq-ssl.html";
const MYSQL_TLS: &str = "https://dev.mysql.com/doc/refman/8.4/en/using-encrypted-connections.html";
const REDIS_TLS: &str =
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/encryption/";
const REDIS_SECURITY: &str =
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/";
const PG_ROLES: &str = "https://www.postgresql.org/docs/current/sql-createrole.html";
const PG_PASSWORDS: &str = "https://www.postgresql.org/docs/current/auth-password.html";
const PG_LOGGING: &str = "https://www.postgresql.org/docs/current/runtime-config-logging.html";
const MYSQL_ACCOUNTS: &str = "https://dev.mysql.com/doc/refman/8.4/en/account-names.html";
const MYSQL_PLUGINS: &str = "https://dev.mysql.com/doc/refman/8.4/en/authentication-plugins.html";
const REDIS_ACL: &str =
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/";
const MONGODB_TLS: &str = "https://www.mongodb.com/docs/manual/tutorial/configure-ssl/";
const MONGODB_AUTH: &str = "https://www.mongodb.com/docs/manual/tutorial/enable-authentication/";

/// Every check, in the order of [`CheckId`].
pub const CHECKS: [Check; 35] = [
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
        id: CheckId::T2b,
        severity: Severity::High,
        level: Level::Login,
        engines: MYSQL,
        title: "Users of MySQL may log in without TLS",
        why: "require_secure_transport is off, and users whom the network reaches have no REQUIRE \
              SSL: a client that forgets to ask for TLS, or that somebody on the way keeps from \
              it, sends its data in the clear.",
        fix: "SET PERSIST require_secure_transport = ON (MySQL), require_secure_transport = ON in \
              my.cnf (MariaDB), or ALTER USER … REQUIRE SSL for each.",
        refs: &[MYSQL_TLS],
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
        refs: &[PG_HBA, PG_PASSWORDS],
    },
    Check {
        id: CheckId::T4,
        severity: Severity::High,
        level: Level::Wire,
        engines: ALL,
        title: "The server accepts TLS 1.0 or 1.1",
        why: "Both have been broken for years (RFC 8996). A setting does not tell, since the \
              library may refuse what the setting allows: a hello of TLS 1.1 is sent. MySQL and \
              MariaDB count handshakes that break off against the host, so there it is unknown at level \
              wire, and at level login the setting has to do.",
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
        why: "No authority that this host knows, or that --ca-file names, signed it; the certificate \
              of the package ssl-cert is known to the host alone that made it. Clients without the \
              right file have to take any certificate, and do not notice somebody between them and \
              the server.",
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
        id: CheckId::A3,
        severity: Severity::Medium,
        level: Level::Login,
        engines: SQL,
        title: "Passwords are kept as hashes that are easy to try out",
        why: "Whoever gets a copy of the hashes, from a backup say, tries out passwords by the \
              billion: md5 and mysql_native_password cost next to nothing for each.",
        fix: "PostgreSQL: password_encryption = 'scram-sha-256', then set each password again. \
              MySQL: ALTER USER … IDENTIFIED WITH caching_sha2_password BY …. MariaDB: … \
              IDENTIFIED VIA ed25519 USING PASSWORD(…).",
        refs: &[PG_PASSWORDS, MYSQL_PLUGINS],
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
        id: CheckId::R1,
        severity: Severity::High,
        level: Level::Login,
        engines: SQL,
        title: "A superuser logs in over the network, or could",
        why: "Whoever has its password, or takes over one of its clients, has the whole server \
              and with COPY … PROGRAM or FILE the host as well. It is found if it is connected \
              from another host now, or if a rule of the database admits it from one.",
        fix: "Give clients a role of their own without SUPERUSER (ALL PRIVILEGES in MySQL), and \
              keep superusers to the Unix socket: local lines in pg_hba.conf, user@localhost.",
        refs: &[PG_ROLES, MYSQL_ACCOUNTS],
    },
    Check {
        id: CheckId::R2,
        severity: Severity::High,
        level: Level::Login,
        engines: LISTED,
        title: "The administrator's account can be used from a trusted source",
        why: "postgres, root, admin and Redis' default have names that everybody knows and rights \
              that no integration needs. An account counts if the rules of the database admit it \
              from a trusted source, and it has a password or needs none.",
        fix: "Give each integration a user of its own. PostgreSQL: a line `hostssl all postgres \
              all reject` before the others. MySQL, MariaDB: RENAME USER root@… TO \
              root@localhost. Redis, Valkey: `user default off`.",
        refs: &[PG_HBA, MYSQL_ACCOUNTS, REDIS_ACL],
    },
    Check {
        id: CheckId::R3,
        severity: Severity::Medium,
        level: Level::Login,
        engines: SQL,
        title: "A user who may log in has no password, or one that has expired",
        why: "Without a password nothing but the rules of the database stands before it; with an \
              expired one it is of no use and was forgotten. PostgreSQL's first superuser, who \
              comes by the Unix socket, users without a way in and those who prove themselves by \
              other means do not count.",
        fix: "Set a password, or ALTER ROLE … NOLOGIN (PostgreSQL), ALTER USER … ACCOUNT LOCK \
              (MySQL, MariaDB), or drop it.",
        refs: &[PG_ROLES],
    },
    Check {
        id: CheckId::R4,
        severity: Severity::Medium,
        level: Level::Login,
        engines: MYSQL,
        title: "A user of MySQL may come from every host",
        why: "user@'%' is admitted from everywhere, and only the filter keeps strangers from \
              trying its password.",
        fix: "Write the trusted source into the account's name with RENAME USER, as the finding \
              shows.",
        refs: &[MYSQL_ACCOUNTS],
    },
    Check {
        id: CheckId::R5,
        severity: Severity::Medium,
        level: Level::Login,
        engines: ALL,
        title: "One user is used by several trusted sources",
        why: "Integrations that share a user cannot be told apart or shut out one by one, and a \
              new password has to reach all of them at once. Sources are compared, and not \
              addresses: the nodes of one tag are one integration.",
        fix: "Give each integration a user of its own, and declare it with users = […] on the \
              trusted source.",
        refs: &[],
    },
    Check {
        id: CheckId::R6,
        severity: Severity::Info,
        level: Level::Login,
        engines: POSTGRES,
        title: "A role may log in only from trusted sources that are not used",
        why: "It is connected from nowhere, and every trusted source from which pg_hba.conf \
              admits it has sent no packet for 30 days.",
        fix: "ALTER ROLE … NOLOGIN, and drop it once nobody misses it.",
        refs: &[PG_ROLES],
    },
    Check {
        id: CheckId::L1,
        severity: Severity::Low,
        level: Level::Login,
        engines: POSTGRES,
        title: "PostgreSQL does not log connections",
        why: "Who logged in, from where and as whom is then known only while it lasts.",
        fix: "log_connections = on, and reload.",
        refs: &[PG_LOGGING, "CIS PostgreSQL 3.1.20"],
    },
    Check {
        id: CheckId::L2,
        severity: Severity::Low,
        level: Level::Login,
        engines: POSTGRES,
        title: "A replica connects as a superuser",
        why: "The password of a replica's user lies in a file of each replica. Replication needs \
              the attribute REPLICATION and nothing else.",
        fix: "CREATE ROLE replica LOGIN REPLICATION, and name it in primary_conninfo.",
        refs: &[PG_ROLES, "CIS PostgreSQL 7.1"],
    },
    Check {
        id: CheckId::X1,
        severity: Severity::Medium,
        level: Level::Host,
        engines: SQL,
        title: "The database's own rules admit more than the trusted sources",
        why: "Only the filter keeps the others out: on the day of `dbfw detach`, or on an interface \
              that is not covered, they are let in. Every line of pg_hba.conf that decides for an \
              address outside the trusted prefixes is found; loopback and this host's own addresses \
              do not count. At level \
              login each user of MySQL or MariaDB is held against them, by the host in its name; \
              R-4 has those of every host.",
        fix: "Write the trusted sources into pg_hba.conf: dbfw export pg_hba --database NAME. \
              MySQL, MariaDB: RENAME USER.",
        refs: &[PG_HBA, MYSQL_ACCOUNTS],
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
        engines: SQL,
        title: "The database's own rules admit nobody from a trusted source",
        why: "Its packets reach the server, which refuses them: the trust is dead, or one of the two \
              lists has a mistake. If users are declared for the source, a line has to admit one of \
              them. The rules are the lines of pg_hba.conf, and at level login the hosts of MySQL's \
              users.",
        fix: "Remove the source, or add a line; dbfw export pg_hba --database NAME prints it.",
        refs: &[PG_HBA, MYSQL_ACCOUNTS],
    },
    Check {
        id: CheckId::X4,
        severity: Severity::High,
        level: Level::Login,
        engines: ALL,
        title: "A trusted source is connected without TLS now",
        why: "Whoever sees the network between it and the server reads what it says. The \
              connections that the server lists, or that clients open during --watch, are held \
              against the trusted sources; those of this host do not count.",
        fix: "Set the client's sslmode (or its like) to require or better, and then refuse \
              clients without TLS: see T-2 and T-2b.",
        refs: &[LIBPQ_SSL, MYSQL_TLS, REDIS_TLS],
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
    Check {
        id: CheckId::X6,
        severity: Severity::Low,
        level: Level::Login,
        engines: ALL,
        title: "A trusted source is far wider than where its clients are",
        why: "Whoever else has an address in it may connect as well. A prefix counts if all \
              clients that are seen in it have addresses in a block that is at least 4096 times \
              smaller.",
        fix: "Trust the narrower block, or name the clients by a tag or by droplets.",
        refs: &[],
    },
    Check {
        id: CheckId::X7,
        severity: Severity::Medium,
        level: Level::Login,
        engines: ALL,
        title: "A trusted source uses other users than it declares",
        why: "users = […] on a trusted source says who comes from it. Another user from there, or \
              such a user from another source, is either a mistake in the list or somebody who \
              has a password that was not meant for them.",
        fix: "Correct users = […], or find out who it is, and give the user a new password.",
        refs: &[],
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
