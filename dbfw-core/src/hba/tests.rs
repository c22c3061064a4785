//! Files by hand; `properties` has random ones.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::*;

mod properties;

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Memory {
    fn with(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec())).collect())
    }
}

impl Files for Memory {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        self.0.get(path).cloned().ok_or(FileError::NotFound)
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
        let names: Vec<PathBuf> =
            inside.filter_map(|path| path.file_name()).map(PathBuf::from).collect();
        if names.is_empty() { Err(FileError::NotFound) } else { Ok(names) }
    }
}

fn read(text: &str, dialect: Dialect, files: &mut Memory) -> Result<Rules, Vec<String>> {
    Rules::parse("/etc/hba".as_ref(), text.as_bytes(), dialect, files)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn lines(text: &str) -> Vec<String> {
    let rules = read(text, Dialect::From16, &mut Memory::default()).unwrap();
    rules.lines().iter().map(|line| format!("{} {line}", line.place().line)).collect()
}

fn problem(text: &str) -> String {
    read(text, Dialect::From16, &mut Memory::default()).unwrap_err().join("\n")
}

#[test]
fn words_are_those_of_postgresql() {
    for (text, line) in [
        ("host all all all trust", "1 host all all all trust"),
        ("\n# a\n host\tall,all  all , all trust # b", "3 host all,all all all trust"),
        ("host a, b c 10.1.2.3/8 trust", "1 host a,b c 10.1.2.3/8 trust"),
        ("host \"a b\" \"a\"\"b\" ::/0 trust", "1 host a b a\"b ::/0 trust"),
        ("host all all 10.0.0.0 255.0.0.0 md5", "1 host all all 10.0.0.0/8 md5"),
        ("host all all 10.0.0.0 255.0.255.0 md5", "1 host all all 10.0.0.0 255.0.255.0 md5"),
        ("host all all 0x0a.8/+032 md5", "1 host all all 10.0.0.8/32 md5"),
        ("host all all 1.2.3.4.5 md5", "1 host all all 1.2.3.4.5 md5"),
        ("host all all \"all\" md5", "1 host all all all md5"),
        ("host all all fe80::1%eth0/64 md5", "1 host all all fe80::1%eth0/64 md5"),
        ("host \\\n all \\\n\\\nall all trust", "1 host all all all trust"),
        ("local all all ident", "1 local all all peer"),
        ("host all \"\u{1b}[2J\u{202e}\" all trust", "1 host all \\u{1b}[2J\\u{202e} all trust"),
    ] {
        assert_eq!(lines(text), [line], "{text:?}");
    }
    let text = "host \"all\" \"+a\" \"samehost\" trust";
    let quoted = read(text, Dialect::From16, &mut Memory::default()).unwrap();
    let quoted = &quoted.lines()[0];
    assert_eq!(quoted.databases(), [DatabaseItem::Name(b"all".to_vec())]);
    assert_eq!(quoted.roles(), [RoleItem::Name(b"+a".to_vec())]);
    assert_eq!(quoted.address(), Some(&Address::Name(b"samehost".to_vec())));
}

#[test]
fn refused_lines_say_why() {
    for (text, expected) in [
        ("", "/etc/hba:1: the file has no line"),
        ("hots all all all trust", "/etc/hba:1: begins with hots, which is no type of connection"),
        ("host", "/etc/hba:1: ends before the databases"),
        ("host all", "/etc/hba:1: ends before the roles"),
        ("host all all", "/etc/hba:1: ends before the address"),
        ("host all a#all all trust", "/etc/hba:1: ends before the address"),
        ("host all all 10.0.0.0", "/etc/hba:1: ends before the netmask"),
        ("host all all all", "/etc/hba:1: ends before the method"),
        (
            "host,local all all all trust",
            "/etc/hba:1: has several values for the type of connection",
        ),
        ("host all all a,b trust", "/etc/hba:1: has several values for the address"),
        (
            "host all all db/8 trust",
            "/etc/hba:1: has db/8 with a length, which only an address can have",
        ),
        (
            "host all all 10.0.0.0/33 trust",
            "/etc/hba:1: has the length 10.0.0.0/33, which the address cannot have",
        ),
        ("host all all 10.0.0.0 trust", "/etc/hba:1: has trust in place of a netmask"),
        (
            "host all all 10.0.0.0 ff:: trust",
            "/etc/hba:1: has a netmask of another family than its address",
        ),
        ("host all all all trst", "/etc/hba:1: has trst, which is no method"),
        (
            "host all all all peer",
            "/etc/hba:1: has the method peer, which a line of this type cannot have",
        ),
        (
            "host all all all cert",
            "/etc/hba:1: has the method cert, which a line of this type cannot have",
        ),
        (
            "local all all gss",
            "/etc/hba:1: has the method gss, which a line of this type cannot have",
        ),
        (
            "host all all all trust map",
            "/etc/hba:1: has the option map, which is not of the form name=value",
        ),
        (
            "host all all all trust map=a",
            "/etc/hba:1: has the option map=a, which its method or type does not take",
        ),
        (
            "hostssl all all all cert clientcert=verify-ca",
            "/etc/hba:1: has the option clientcert=verify-ca, which its method or type does not take",
        ),
        (
            "host all all all ldap ldapserver=a",
            "/etc/hba:1: lacks the option ldapbasedn, which its method needs",
        ),
        ("a\0b", "/etc/hba:1: has a NUL character"),
        (
            "include nothing",
            "/etc/hba:1: names /etc/nothing, which cannot be read: there is no such file",
        ),
        (
            "\nhost @u all all trust\nlocal",
            "/etc/hba:2: names /etc/u, which cannot be read: there is no such file\n/etc/hba:3: ends before the databases",
        ),
    ] {
        assert_eq!(problem(text), expected, "{text:?}");
    }
    let long = format!("host {} all all trust", "a".repeat(70_000));
    assert_eq!(problem(&long), "/etc/hba:1: is longer than 65536 bytes");
    let word = format!("host {} all all trust", "a".repeat(10_240));
    assert!(read(&word, Dialect::From16, &mut Memory::default()).is_ok());
    let before = read(&word, Dialect::Before16, &mut Memory::default()).unwrap_err();
    assert_eq!(before, ["/etc/hba:1: has a word longer than 10239 bytes"]);
}

#[test]
fn named_files_are_read_in_their_places() {
    let mut files = Memory::with(&[
        ("/etc/users", "app, \"+b\"\n@more # all of them\n"),
        ("/etc/more", "+c"),
        ("/etc/empty", "# none\n"),
        ("/etc/d/b.conf", "host b all all md5"),
        ("/etc/d/a.conf", "host a all all md5\nhost a2 all all md5"),
        ("/etc/d/.c.conf", "bad"),
        ("/etc/d/c.txt", "bad"),
    ]);
    let text =
        "host all @users all trust\ninclude_dir d\ninclude_if_exists none\nhost z all all md5\n";
    let rules = read(text, Dialect::From16, &mut files).unwrap();
    let shown: Vec<String> =
        rules.lines().iter().map(|line| format!("{} {line}", line.place())).collect();
    assert_eq!(
        shown,
        [
            "/etc/hba:1 host all app,+b,+c all trust",
            "/etc/d/a.conf:1 host a all all md5",
            "/etc/d/a.conf:2 host a2 all all md5",
            "/etc/d/b.conf:1 host b all all md5",
            "/etc/hba:4 host z all all md5",
        ]
    );
    assert_eq!(rules.lines()[0].roles()[1], RoleItem::Name(b"+b".to_vec()));
    assert_eq!(rules.lines()[0].roles()[2], RoleItem::MemberOf(b"c".to_vec()));
    assert_eq!(rules.roles(), [&b"+b"[..], b"app"].into());
    assert_eq!(rules.databases(), [&b"a"[..], b"a2", b"b", b"z"].into());
    // A file without words is no field at all.
    let shifted = read("host @empty all all all trust", Dialect::From16, &mut files).unwrap();
    assert_eq!(shifted.lines()[0].to_string(), "host all all all trust");
    let before = read(text, Dialect::Before16, &mut files).unwrap_err();
    assert_eq!(before.len(), 2, "{before:?}");
}

#[test]
fn files_that_name_each_other_end() {
    for text in ["include hba", "host @hba all all trust", "include_if_exists hba"] {
        let mut files = Memory::with(&[("/etc/hba", text)]);
        let problems = read(text, Dialect::From16, &mut files).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with("includes files more than 10 deep"), "{problems:?}");
    }
    // Ten files that each name the next a hundred times.
    let level = |next: usize| format!("@{next}\n").repeat(100);
    let files: Vec<(String, String)> = (0..10)
        .map(|at| (format!("/etc/{at}"), if at < 9 { level(at + 1) } else { "a".to_owned() }))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let problems =
        read("host @0 all all trust", Dialect::From16, &mut Memory::with(&files)).unwrap_err();
    assert!(problems[0].contains("larger than what is read"), "{problems:?}");
}

#[test]
fn a_hundred_thousand_lines_are_judged() {
    let text: String = (0..100_000u32)
        .map(|at| format!("host all all {}/32 md5\n", std::net::Ipv4Addr::from_bits(at << 12)))
        .collect();
    let rules = read(&text, Dialect::From16, &mut Memory::default()).unwrap();
    assert_eq!(rules.lines().len(), 100_000);
    let client =
        Client { database: Database::Other, role: Role::Other, encryption: Encryption::Plain };
    let judged = rules.judge(Prefix::ANY4, &client, &NoFacts);
    assert!(judged.iter().any(|judged| matches!(judged.verdict, Verdict::Unknown(_))));
    let one = rules.judge("24.105.240.0".parse().unwrap(), &client, &NoFacts);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].verdict.line().unwrap().place().line, 100_000);
}

use crate::source::Prefix;

/// The facts of a host.
struct Host;

const OWN: [(IpAddr, u8); 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)), 24),
    (IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
];

impl Facts for Host {
    fn is_member(&self, member: &[u8], group: &[u8]) -> Option<bool> {
        Some(member == group || (member, group) == (b"app", b"apps"))
    }

    fn finds(&self, regex: &[u8], name: &[u8]) -> Option<bool> {
        Some(name.starts_with(regex))
    }

    fn has_name(&self, prefix: &Prefix, name: &[u8]) -> Option<bool> {
        (name == b"app.example").then(|| prefix.to_string() == "10.9.9.9/32")
    }

    fn own_addresses(&self) -> Option<&[(IpAddr, u8)]> {
        Some(&OWN)
    }
}

/// The verdicts over a prefix for app@orders: `part=line`, `-` for none and `?` for unknown.
fn verdicts(text: &str, prefix: &str, encryption: Encryption, facts: &dyn Facts) -> String {
    let rules = read(text, Dialect::From16, &mut Memory::default()).unwrap();
    let client =
        Client { database: Database::Named(b"orders"), role: Role::Named(b"app"), encryption };
    let judged = rules.judge(prefix.parse().unwrap(), &client, facts);
    let shown = judged.iter().map(|judged| {
        let verdict = match judged.verdict {
            Verdict::Line(line) => line.place().line.to_string(),
            Verdict::NoLine => "-".to_owned(),
            Verdict::Unknown(line) => format!("?{}", line.place().line),
        };
        format!("{}={verdict}", judged.part)
    });
    Vec::from_iter(shown).join(" ")
}

#[test]
fn the_first_line_decides() {
    use Encryption::{Gss, Plain, Tls};
    let shadowed = "hostssl all all 10.99.0.1/32 scram-sha-256\nhost all all 0.0.0.0/0 password";
    let types = "hostgssenc all all all gss\nhostnogssenc x all all md5\nhostnossl all all all md5";
    let facts: &dyn Facts = &Host;
    for (text, prefix, encryption, facts, expected) in [
        (shadowed, "10.99.0.1", Tls, facts, "10.99.0.1/32=1"),
        (shadowed, "10.99.0.1", Plain, facts, "10.99.0.1/32=2"),
        (shadowed, "10.99.0.0/31", Tls, facts, "10.99.0.0/32=2 10.99.0.1/32=1"),
        (shadowed, "2001:db8::1", Tls, facts, "2001:db8::1/128=-"),
        (types, "10.0.0.1", Gss, facts, "10.0.0.1/32=1"),
        (types, "10.0.0.1", Plain, facts, "10.0.0.1/32=3"),
        (types, "10.0.0.1", Tls, facts, "10.0.0.1/32=-"),
        ("host all all samehost md5", "10.1.2.3", Plain, facts, "10.1.2.3/32=1"),
        ("host all all samehost md5", "10.1.2.4", Plain, facts, "10.1.2.4/32=-"),
        ("host all all samenet md5", "10.1.2.0/23", Plain, facts, "10.1.2.0/24=1 10.1.3.0/24=-"),
        ("host all all samenet md5", "10.1.2.4", Plain, &NoFacts, "10.1.2.4/32=?1"),
        ("host all +apps all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=1"),
        ("host all +apps all md5", "10.0.0.1", Plain, &NoFacts, "10.0.0.1/32=?1"),
        ("host all +ops all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=-"),
        ("host x +ops all md5\nhost all all all md5", "10.0.0.1", Plain, &NoFacts, "10.0.0.1/32=2"),
        ("host all /^ap all md5", "10.0.0.1", Plain, &NoFacts, "10.0.0.1/32=?1"),
        ("host /ord app all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=1"),
        ("host sameuser all all md5", "10.0.0.1", Plain, &NoFacts, "10.0.0.1/32=-"),
        ("host samerole all all md5", "10.0.0.1", Plain, &NoFacts, "10.0.0.1/32=?1"),
        ("host samerole all all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=-"),
        ("host replication app all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=-"),
        ("host all all app.example md5", "10.9.9.9", Plain, facts, "10.9.9.9/32=1"),
        ("host all all b.example md5", "10.9.9.9", Plain, facts, "10.9.9.9/32=?1"),
        ("host all all 10.0.0.1 255.0.0.255 md5", "10.7.7.1", Plain, facts, "10.7.7.1/32=1"),
        ("host all all 10.0.0.1 255.0.0.255 md5", "10.7.7.2", Plain, facts, "10.7.7.2/32=-"),
        ("host all all 10.0.0.1 255.0.0.255 md5", "10.7.7.0/24", Plain, facts, "10.7.7.0/24=?1"),
        ("host all all fe80::1%eth0/64 md5", "10.7.7.1", Plain, facts, "10.7.7.1/32=-"),
        ("host all all fe80::1%eth0/64 md5", "fe80::1", Plain, facts, "fe80::1/128=?1"),
        // IPv4-mapped: no IPv4 client is in it.
        ("host all all ::ffff:10.0.0.0/104 md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=-"),
        ("host all all ::/0 md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=-"),
        ("local all all trust\nhost all all all md5", "10.0.0.1", Plain, facts, "10.0.0.1/32=2"),
    ] {
        assert_eq!(verdicts(text, prefix, encryption, facts), expected, "{text}, {encryption}");
    }
}

#[test]
fn others_are_those_that_no_line_names() {
    let text = "host orders app all md5\nhost sameuser all all scram-sha-256\n\
                host replication all all reject\nhost x all all trust";
    let rules = read(text, Dialect::From16, &mut Memory::default()).unwrap();
    let of = |database, role| {
        let client = Client { database, role, encryption: Encryption::Plain };
        let judged = rules.judge("10.0.0.1".parse().unwrap(), &client, &NoFacts);
        match judged[0].verdict {
            Verdict::Line(line) => line.place().line,
            Verdict::NoLine => 0,
            Verdict::Unknown(line) => 10 + line.place().line,
        }
    };
    use Database as D;
    assert_eq!(of(D::Named(b"orders"), Role::Other), 0);
    assert_eq!(of(D::Named(b"orders"), Role::Named(b"orders")), 2);
    assert_eq!(of(D::Other, Role::Other), 12);
    assert_eq!(of(D::Other, Role::Named(b"app")), 0);
    assert_eq!(of(D::Replication, Role::Other), 3);
}

#[test]
fn a_role_of_no_group_is_none_of_its_members() {
    let text = "host orders +apps all md5\nhost samerole all all trust\nhost orders +apps,/^x all reject\n\
                host all all all scram-sha-256";
    let rules = read(text, Dialect::From16, &mut Memory::default()).unwrap();
    let of = |database, role| {
        let client = Client { database, role, encryption: Encryption::Plain };
        match rules.judge("10.0.0.1".parse().unwrap(), &client, &NoFacts)[0].verdict {
            Verdict::Line(line) => line.place().line,
            Verdict::NoLine => 0,
            Verdict::Unknown(line) => 10 + line.place().line,
        }
    };
    assert_eq!(of(Database::Named(b"orders"), Role::Other), 11);
    assert_eq!(of(Database::Named(b"orders"), Role::Unrelated), 13, "a regular expression");
    assert_eq!(of(Database::Named(b"shop"), Role::Other), 12);
    assert_eq!(of(Database::Named(b"shop"), Role::Unrelated), 4);
    assert_eq!(rules.groups(), [&b"apps"[..], b"orders"].into());
}
