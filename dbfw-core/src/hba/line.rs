//! [`Rules`]: the lines of a file that PostgreSQL would load.

use std::{collections::BTreeSet, fmt, path::Path};

use strum::{Display, EnumString, IntoStaticStr};

use super::{
    address::Address,
    lex::{Dialect, Files, Lexer},
    problem::{Fault, Place, Problem, shown},
    token::{Field, Token},
};
use crate::toml::shortened;

/// The type of connection that a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Connection {
    /// By a unix socket.
    Local,
    /// By TCP.
    Host,
    /// By TCP with TLS.
    HostSsl,
    /// By TCP without TLS.
    HostNoSsl,
    /// By TCP with GSSAPI encryption.
    #[strum(serialize = "hostgssenc")]
    HostGss,
    /// By TCP without GSSAPI encryption.
    #[strum(serialize = "hostnogssenc")]
    HostNoGss,
}

/// The method by which a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[expect(missing_docs, reason = "the words of the file")]
pub enum Method {
    Trust,
    Reject,
    Md5,
    Password,
    #[strum(serialize = "scram-sha-256")]
    ScramSha256,
    Gss,
    Ident,
    Peer,
    Pam,
    Ldap,
    Radius,
    Cert,
    OAuth,
}

/// A word in the field of databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseItem {
    /// Every database.
    All,
    /// The database with the name of the role.
    SameUser,
    /// The databases with the names of roles that the role is a member of.
    SameRole,
    /// Physical replication, which names no database.
    Replication,
    /// This database.
    Name(Vec<u8>),
    /// Those that a regular expression finds.
    Regex(Vec<u8>),
}

/// A word in the field of roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleItem {
    /// Every role.
    All,
    /// The members of a role.
    MemberOf(Vec<u8>),
    /// This role.
    Name(Vec<u8>),
    /// Those that a regular expression finds.
    Regex(Vec<u8>),
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    place: Place,
    connection: Connection,
    databases: Vec<DatabaseItem>,
    roles: Vec<RoleItem>,
    address: Option<Address>,
    method: Method,
    has_client_certificate: bool,
}

/// The lines of a file, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    lines: Vec<Line>,
}

impl Rules {
    /// Reads a file and those that it names. `path` is its own, which others are relative to.
    ///
    /// # Errors
    /// Every line that PostgreSQL would refuse: with one of them it would load nothing. What needs
    /// the server is not checked: whether a regular expression is one, and options' values.
    pub fn parse(
        path: &Path,
        content: &[u8],
        dialect: Dialect,
        files: &mut dyn Files,
    ) -> Result<Self, Vec<Problem>> {
        let mut split = Vec::new();
        Lexer::new(dialect, files).file(path, content, 0, &mut split);
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        for one in split {
            let place = one.place;
            let read = one.fields.and_then(|fields| Line::read(place.clone(), &fields, dialect));
            match read {
                Ok(line) => lines.push(line),
                Err(fault) => problems.push(Problem { place, fault }),
            }
        }
        if lines.is_empty() && problems.is_empty() {
            let place = Place { file: path.into(), line: 1 };
            problems.push(Problem { place, fault: Fault::Empty });
        }
        if problems.is_empty() { Ok(Self { lines }) } else { Err(problems) }
    }

    /// The lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The names of databases that the lines have.
    pub fn databases(&self) -> BTreeSet<&[u8]> {
        let items = self.lines.iter().flat_map(|line| &line.databases);
        items.filter_map(DatabaseItem::name).collect()
    }

    /// The names of roles that the lines have.
    pub fn roles(&self) -> BTreeSet<&[u8]> {
        let items = self.lines.iter().flat_map(|line| &line.roles);
        items.filter_map(RoleItem::name).collect()
    }

    /// The names that the lines compare with the groups of a role.
    pub fn groups(&self) -> BTreeSet<&[u8]> {
        let items = self.lines.iter().flat_map(|line| &line.roles);
        let groups = items.filter_map(|item| match item {
            RoleItem::MemberOf(group) => Some(group.as_slice()),
            RoleItem::All | RoleItem::Name(_) | RoleItem::Regex(_) => None,
        });
        let mut items = self.lines.iter().flat_map(|line| &line.databases);
        // The database that is asked for is the group.
        let databases = match items.any(|item| *item == DatabaseItem::SameRole) {
            true => self.databases(),
            false => BTreeSet::new(),
        };
        groups.chain(databases).collect()
    }
}

impl Line {
    fn read(place: Place, fields: &[Field], dialect: Dialect) -> Result<Self, Fault> {
        let mut fields = fields.iter();
        let connection = only(fields.next(), "type of connection")?;
        let connection: Connection =
            parsed(connection).ok_or_else(|| Fault::Connection { text: connection.shown() })?;
        let databases = fields.next().ok_or(Fault::Missing { field: "databases" })?;
        let databases = databases.iter().map(|token| DatabaseItem::of(token, dialect)).collect();
        let roles = fields.next().ok_or(Fault::Missing { field: "roles" })?;
        let roles = roles.iter().map(|token| RoleItem::of(token, dialect)).collect();
        let address = match connection {
            Connection::Local => None,
            _ => {
                let token = only(fields.next(), "address")?;
                Some(Address::read(token, || fields.next())?)
            }
        };
        let token = only(fields.next(), "method")?;
        let method = parsed(token).ok_or_else(|| Fault::Method { text: token.shown() })?;
        let method = match (method, connection) {
            (Method::Ident, Connection::Local) => Method::Peer,
            (method, _) => method,
        };
        let mut line = Self {
            place,
            connection,
            databases,
            roles,
            address,
            method,
            has_client_certificate: method == Method::Cert,
        };
        if !line.can_have_method() {
            return Err(Fault::MethodOfType { method: method.into() });
        }
        line.read_options(fields)?;
        Ok(line)
    }

    fn can_have_method(&self) -> bool {
        match self.method {
            Method::Gss => self.connection != Connection::Local,
            Method::Peer => self.connection == Connection::Local,
            Method::Cert => self.connection == Connection::HostSsl,
            _ => true,
        }
    }

    fn read_options<'f>(&mut self, fields: impl Iterator<Item = &'f Field>) -> Result<(), Fault> {
        let mut names = BTreeSet::new();
        for token in fields.flatten() {
            let at = token.text.iter().position(|byte| *byte == b'=');
            let at = at.ok_or_else(|| Fault::NoValue { text: token.shown() })?;
            let (name, value) = (&token.text[..at], &token.text[at + 1..]);
            let option = || Fault::Option { text: token.shown() };
            let name = str::from_utf8(name).map_err(|_| option())?;
            if !self.takes(name, value) {
                return Err(option());
            }
            self.has_client_certificate |= name == "clientcert";
            names.insert(name);
        }
        let needs = |option| Err(Fault::NeedsOption { option });
        match self.method {
            Method::Radius if !names.contains("radiusservers") => needs("radiusservers"),
            Method::Radius if !names.contains("radiussecrets") => needs("radiussecrets"),
            Method::Ldap if !names.iter().any(|name| LDAP_NAMES.contains(name)) => {
                needs("ldapbasedn")
            }
            Method::OAuth if !names.contains("issuer") => needs("issuer"),
            Method::OAuth if !names.contains("scope") => needs("scope"),
            _ => Ok(()),
        }
    }

    fn takes(&self, name: &str, value: &[u8]) -> bool {
        let is_tls = self.connection == Connection::HostSsl;
        match name {
            "map" => matches!(
                self.method,
                Method::Ident | Method::Peer | Method::Gss | Method::Cert | Method::OAuth
            ),
            "clientcert" => {
                let weak = value == b"verify-ca" && self.method != Method::Cert;
                is_tls && (weak || value == b"verify-full")
            }
            "clientname" => is_tls && matches!(value, b"CN" | b"DN"),
            "pamservice" | "pam_use_hostname" => self.method == Method::Pam,
            "krb_realm" | "include_realm" => self.method == Method::Gss,
            "issuer" | "scope" | "validator" | "delegate_ident_mapping" => {
                self.method == Method::OAuth
            }
            name if name.starts_with("radius") => {
                self.method == Method::Radius
                    && matches!(&name[6..], "servers" | "ports" | "secrets" | "identifiers")
            }
            name if name.starts_with("ldap") => {
                self.method == Method::Ldap
                    && (LDAP_NAMES.contains(&name) || LDAP_OTHERS.contains(&&name[4..]))
            }
            _ => false,
        }
    }

    /// Its file and number.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The type of connection.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// The databases; any of them will do.
    pub fn databases(&self) -> &[DatabaseItem] {
        &self.databases
    }

    /// The roles; any of them will do.
    pub fn roles(&self) -> &[RoleItem] {
        &self.roles
    }

    /// The addresses; a `local` line has none.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether a client needs a certificate besides what its method asks for.
    pub fn has_client_certificate(&self) -> bool {
        self.has_client_certificate
    }
}

/// Options of which LDAP needs one: it searches a name, or makes it from one of the others.
const LDAP_NAMES: [&str; 4] = ["ldapbasedn", "ldapprefix", "ldapsuffix", "ldapurl"];
/// The rest of LDAP's, without "ldap".
const LDAP_OTHERS: [&str; 8] =
    ["server", "port", "scheme", "tls", "binddn", "bindpasswd", "searchattribute", "searchfilter"];

impl DatabaseItem {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    fn of(token: &Token, dialect: Dialect) -> Self {
        if token.is("all") {
            Self::All
        } else if token.is("sameuser") {
            Self::SameUser
        } else if token.is("samerole") || token.is("samegroup") {
            Self::SameRole
        } else if token.is("replication") {
            Self::Replication
        } else {
            match regex(token, dialect) {
                Some(regex) => Self::Regex(regex),
                None => Self::Name(token.text.clone()),
            }
        }
    }
}

impl RoleItem {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    fn of(token: &Token, dialect: Dialect) -> Self {
        if token.is("all") {
            return Self::All;
        }
        match token.text.strip_prefix(b"+") {
            Some(group) if !token.quoted => Self::MemberOf(group.to_vec()),
            _ => match regex(token, dialect) {
                Some(regex) => Self::Regex(regex),
                None => Self::Name(token.text.clone()),
            },
        }
    }
}

/// The regular expression that a word is, quoted or not.
fn regex(token: &Token, dialect: Dialect) -> Option<Vec<u8>> {
    let regex = token.text.strip_prefix(b"/")?;
    (dialect == Dialect::From16).then(|| regex.to_vec())
}

fn only<'f>(field: Option<&'f Field>, name: &'static str) -> Result<&'f Token, Fault> {
    match field.map(Vec::as_slice) {
        None => Err(Fault::Missing { field: name }),
        Some([token]) => Ok(token),
        Some(_) => Err(Fault::Several { field: name }),
    }
}

fn parsed<T: std::str::FromStr>(token: &Token) -> Option<T> {
    str::from_utf8(&token.text).ok()?.parse().ok()
}

impl fmt::Display for Line {
    /// Its words with single spaces, without options, escaped and shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases: Vec<String> = self.databases.iter().map(DatabaseItem::shown).collect();
        let roles: Vec<String> = self.roles.iter().map(RoleItem::shown).collect();
        let (databases, roles) = (databases.join(","), roles.join(","));
        write!(f, "{} {} {} ", self.connection, shortened(&databases), shortened(&roles))?;
        if let Some(address) = &self.address {
            write!(f, "{} ", address.shown())?;
        }
        write!(f, "{}", self.method)
    }
}

impl DatabaseItem {
    fn shown(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::SameUser => "sameuser".to_owned(),
            Self::SameRole => "samerole".to_owned(),
            Self::Replication => "replication".to_owned(),
            Self::Name(name) => shown(name),
            Self::Regex(regex) => format!("/{}", shown(regex)),
        }
    }
}

impl RoleItem {
    fn shown(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::MemberOf(group) => format!("+{}", shown(group)),
            Self::Name(name) => shown(name),
            Self::Regex(regex) => format!("/{}", shown(regex)),
        }
    }
}
