//! Random files: nothing panics, and the verdicts are those of a model that looks at one address
//! at a time.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::testing::cases;

/// A word, a separator, or what a lexer may stumble over.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 46] = [
        "host",
        "hostssl",
        "local",
        "hostnossl",
        "hostgssenc",
        "all",
        "samehost",
        "samenet",
        "sameuser",
        "samerole",
        "replication",
        "trust",
        "md5",
        "reject",
        "cert",
        "ldap",
        "10.0.0.0/8",
        "10.1.2.3",
        "255.0.255.0",
        "::/0",
        "::1",
        "fe80::1%lo/64",
        "0x7f.1",
        "99999999999/32",
        "@a",
        "@b",
        "@",
        "+",
        "/x",
        "include",
        "include_dir",
        "d",
        "include_if_exists",
        "a",
        "\"",
        "\"\"",
        ",",
        " ",
        "\t",
        "#",
        "\\\n",
        "\n",
        "\r\n",
        "=",
        "map=a",
        "clientcert=verify-full",
    ];
    prop_oneof![
        12 => select(&PIECES[..]).prop_map(|text| text.as_bytes().to_vec()),
        8 => Just(b" ".to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

/// A line that is good, or almost.
fn line() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&str; 10] = [
        "host all all all trust",
        "hostssl \"a b\",c +d,@a 10.0.0.0/8 cert map=x clientcert=verify-full",
        "hostnossl sameuser all 10.1.2.3 255.255.0.255 md5",
        "local all all peer map=y",
        "host samerole /^x samenet reject # all",
        "host replication \\\n @b fe80::1%lo/64 scram-sha-256",
        "hostgssenc all all samehost gss include_realm=0",
        "host all all .example.com ldap ldapserver=a ldapprefix=b",
        "include a",
        "include_dir d",
    ];
    let good = select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec());
    let almost =
        (good.clone(), any::<prop::sample::Index>(), piece()).prop_map(|(mut line, at, piece)| {
            let at = at.index(line.len());
            line.splice(at..=at, piece);
            line
        });
    prop_oneof![4 => good, 2 => almost, 1 => vec(piece(), 0..24).prop_map(|pieces| pieces.concat())]
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    vec(line(), 0..5).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn no_file_panics(main in file(), a in file(), b in file(), dialect in dialect()) {
        let mut files = Memory::default();
        files.0.insert("/etc/a".into(), a.clone());
        files.0.insert("/etc/b".into(), b.clone());
        files.0.insert("/etc/d/a.conf".into(), b);
        match Rules::parse("/etc/hba".as_ref(), &main, dialect, &mut files) {
            Ok(rules) => {
                for line in rules.lines() {
                    let shown = format!("{} {line}", line.place());
                    prop_assert!(!shown.chars().any(|c| c.is_control() || crate::misleads(c)));
                }
                let client = Client {
                    database: Database::Named(&a),
                    role: Role::Other,
                    encryption: Encryption::Tls,
                };
                for prefix in [Prefix::ANY4, Prefix::ANY6] {
                    let judged = rules.judge(prefix, &client, &Host);
                    check_parts(prefix, &judged)?;
                }
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let shown = problem.to_string();
                    prop_assert!(!shown.chars().any(|c| c.is_control() || crate::misleads(c)));
                    prop_assert!(shown.len() < 2000);
                }
            }
        }
    }
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(&[Dialect::Before16, Dialect::From16][..])
}

/// Parts follow each other without a gap from the first address to the last.
fn check_parts(prefix: Prefix, judged: &[Judged<'_>]) -> Result<(), TestCaseError> {
    let (first, last) = prefix.bounds();
    let mut next = Some(first);
    for judged in judged {
        let (start, end) = judged.part.bounds();
        prop_assert_eq!(Some(start), next);
        next = end.checked_add(1);
    }
    prop_assert_eq!(next, last.checked_add(1));
    Ok(())
}

/// A line as the model has it.
#[derive(Clone, Debug)]
struct ModelLine {
    kind: &'static str,
    database: &'static str,
    role: &'static str,
    net: Option<IpNet>,
}

fn model_line() -> impl Strategy<Value = ModelLine> {
    const KINDS: [&str; 6] = ["host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
    let v4 = (0u32..=64, 24u8..=32).prop_map(|(host, length)| {
        IpNet::new(IpAddr::from((0x0a00_0000 + host).to_be_bytes()), length)
    });
    let v6 = (0u128..=64, 120u8..=128).prop_map(|(host, length)| {
        IpNet::new(IpAddr::from(((0xfd << 120) + host).to_be_bytes()), length)
    });
    let net =
        prop_oneof![8 => v4.prop_map(Result::ok), 4 => v6.prop_map(Result::ok), 1 => Just(None)];
    (
        select(&KINDS[..]),
        select(&["all", "orders", "sameuser", "replication", "\"all\"", "app"][..]),
        select(&["all", "app", "ops", "\"all\"", "orders"][..]),
        net,
    )
        .prop_map(|(kind, database, role, net)| ModelLine { kind, database, role, net })
}

impl ModelLine {
    fn matches(
        &self,
        address: IpAddr,
        database: Option<&str>,
        role: &str,
        encryption: Encryption,
    ) -> bool {
        let is_tls = encryption == Encryption::Tls;
        let is_gss = encryption == Encryption::Gss;
        let kind = match self.kind {
            "hostssl" => is_tls,
            "hostnossl" => !is_tls,
            "hostgssenc" => is_gss,
            "hostnogssenc" => !is_gss,
            _ => true,
        };
        let database = match (self.database, database) {
            ("replication", database) => database.is_none(),
            (_, None) => false,
            ("all", _) => true,
            ("sameuser", Some(database)) => database == role,
            (name, Some(database)) => name.trim_matches('"') == database,
        };
        let role = self.role == "all" || self.role.trim_matches('"') == role;
        kind && database && role && self.net.is_none_or(|net| net.contains(&address))
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn verdicts_are_those_of_each_address(
        model in vec(model_line(), 1..12),
        database in select(&[Some("orders"), Some("app"), Some("all"), None][..]),
        role in select(&["app", "ops", "all", "orders", "who"][..]),
        encryption in select(&[Encryption::Tls, Encryption::Plain, Encryption::Gss][..]),
    ) {
        let text: String = model
            .iter()
            .map(|line| {
                let net = line.net.map_or("all".to_owned(), |net| net.to_string());
                format!("{} {} {} {net} md5\n", line.kind, line.database, line.role)
            })
            .collect();
        let rules = read(&text, Dialect::From16, &mut Memory::default()).unwrap();
        let client = Client {
            database: database.map_or(Database::Replication, |name| Database::Named(name.as_bytes())),
            role: Role::Named(role.as_bytes()),
            encryption,
        };
        for prefix in ["10.0.0.0/25", "fd00::/121", "10.0.0.8/30"] {
            let prefix: Prefix = prefix.parse().unwrap();
            let judged = rules.judge(prefix, &client, &NoFacts);
            check_parts(prefix, &judged)?;
            for judged in judged {
                let verdict = judged.verdict.line().map(|line| line.place().line);
                prop_assert!(!matches!(judged.verdict, Verdict::Unknown(_)));
                let (first, last) = judged.part.bounds();
                for bits in first..=last {
                    let address: IpAddr = if prefix.is_v4() {
                        (bits as u32).to_be_bytes().into()
                    } else {
                        bits.to_be_bytes().into()
                    };
                    let found = model.iter().position(|line| line.matches(address, database, role, encryption));
                    prop_assert_eq!(verdict, found.map(|at| at + 1), "{} in\n{}", address, text);
                }
            }
        }
    }
}
