//! Lists that leave as rules of others and come back.

mod corpus;

use std::{collections::BTreeSet, fs, path::Path, process::Stdio};

use dbfw_core::hba::{Client, Database, Dialect, Encryption, NoFacts, NoFiles, Role, Rules};
use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish},
    site::{Answer, Line},
    traffic::Echo,
};
use nix::sys::signal::Signal;

const PORT: u16 = 5432;

fn text(host: &Host<'_>, arguments: &[&str]) -> String {
    let output = host.dbfw(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}\n{}", host.log());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The addresses of a list, without its comments.
fn addresses(list: &str) -> BTreeSet<String> {
    let entries = list.lines().filter_map(|line| line.split('#').next());
    entries.map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect()
}

#[test]
fn a_list_goes_out_and_comes_back() {
    let (db, app) = (Netns::new("db"), Netns::new("app"));
    let line = Line::new((&db, "to-app"), (&app, "link"), 1);
    let mut host = Host::new(&db);
    host.configure(
        "interfaces = [\"to-*\"]",
        &format!(
            "[[database]]\nname = \"orders\"\nports = [{PORT}]\ntrusted_sources = [\n\
             {{ type = \"ip_addr\", value = \"{}\", users = [\"app\", \"etl\"], \
             description = \"back\\\\\" }},\n\"ip_addr:{}\", \"ip_addr:192.0.2.0/24\",\n\
             \"ip_addr:192.0.2.7\" ]\n\
             [[database]]\nname = \"metering\"\nports = [\"udp/7000\"]\nmode = \"observe\"",
            line.v4.trusted, line.v6.trusted
        ),
    );
    host.start();
    let expected: BTreeSet<String> = [
        format!("{}/32", line.v4.trusted),
        format!("{}/128", line.v6.trusted),
        "192.0.2.0/24".to_owned(),
        "192.0.2.7/32".to_owned(),
    ]
    .into();

    let document = host.json(&["export", "json"]).expect("a document");
    assert_eq!(document["schema"], 1, "{document:#}");
    let orders = &document["databases"][0];
    assert_eq!(orders["name"], "orders", "{document:#}");
    assert_eq!(orders["sources"][0]["users"], serde_json::json!(["app", "etl"]), "{document:#}");
    assert_eq!(document["databases"][1]["mode"], "observe", "{document:#}");
    let sources = host.json(&["sources"]).expect("a document");
    assert_eq!(sources["sources"][0]["users"], serde_json::json!(["app", "etl"]), "{sources:#}");

    for form in ["pg_hba", "nft"] {
        let exported = text(&host, &["export", form, "--database", "orders"]);
        let file = host.path(&format!("exported.{form}"));
        fs::write(&file, &exported).expect("write it");
        let imported = text(&host, &["import", form, &file.display().to_string()]);
        assert_eq!(addresses(&imported), expected, "{exported}\n{imported}");
        let list = host.path("imported.list");
        fs::write(&list, &imported).expect("write the list");
        text(&host, &["check", "--list", &list.display().to_string()]);
    }

    let exported = text(&host, &["export", "pg_hba", "-d", "orders"]);
    let rules = Rules::parse(Path::new("hba"), exported.as_bytes(), Dialect::From16, &mut NoFiles);
    let rules = rules.unwrap_or_else(|problems| panic!("{problems:?}\n{exported}"));
    let trusted = line.v4.trusted.to_string().parse().expect("a prefix");
    for (role, encryption, admitted) in [
        ("app", Encryption::Tls, true),
        ("etl", Encryption::Tls, true),
        ("app", Encryption::Plain, false),
        ("postgres", Encryption::Tls, false),
    ] {
        let role = Role::Named(role.as_bytes());
        let client = Client { database: Database::Other, role, encryption };
        let judged = rules.judge(trusted, &client, &NoFacts);
        assert_eq!(
            judged[0].verdict.line().is_some(),
            admitted,
            "{role:?} {encryption} {exported}"
        );
    }

    let unknown = host.dbfw(&["export", "nft", "-d", "nothing"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("there are: orders, metering"), "{said}");

    let online: Vec<String> =
        ["pg_hba", "nft", "json"].map(|form| text(&host, &["export", form])).into();
    host.stop(Signal::SIGKILL);
    for (form, online) in ["pg_hba", "nft", "json"].into_iter().zip(online) {
        let offline = host.dbfw(&["export", form]);
        assert_eq!(String::from_utf8_lossy(&offline.stdout), online, "{offline:?}");
        let said = String::from_utf8_lossy(&offline.stderr);
        assert!(said.contains("the list that was last in force"), "{said}");
    }
}

/// The table judges packets as dbfw did before it, for every kind of destination.
#[test]
fn nftables_keeps_out_whom_dbfw_does() {
    for addresses in ["", "addresses = [\"local\"]", "addresses = [\"10.90.1.1\", \"fd90:1::1\"]"] {
        let (db, app) = (Netns::new("db"), Netns::new("app"));
        let line = Line::new((&db, "to-app"), (&app, "link"), 1);
        let _echo = Echo::start(&db, PORT);
        let _other = Echo::start(&db, PORT + 1);
        let mut host = Host::new(&db);
        host.configure(
            "interfaces = [\"to-*\"]",
            &format!(
                "[[database]]\nname = \"orders\"\nports = [{PORT}]\n{addresses}\n\
                 trusted_sources = [{}]",
                line.trusted_sources()
            ),
        );
        host.start();
        line.assert_answers(PORT, Answer::Served, Answer::Silent);
        let exported = text(&host, &["export", "nft"]);
        assert!(host.dbfw(&["detach", "--yes"]).status.success(), "{}", host.log());
        line.assert_answers(PORT, Answer::Served, Answer::Served);
        let file = host.path("exported.nft");
        fs::write(&file, &exported).expect("write the table");
        // A second time it replaces itself.
        for check in [&["-c"][..], &[], &[]] {
            finish(db.command("nft").args(check).arg("-f").arg(&file));
        }
        line.assert_answers(PORT, Answer::Served, Answer::Silent);
        line.assert_answers(PORT + 1, Answer::Served, Answer::Served);
        let ruleset = db.command("nft").args(["list", "ruleset"]).output().expect("run nft");
        fs::write(host.path("listed.nft"), &ruleset.stdout).expect("write what it lists");
        let listed = host.path("listed.nft").display().to_string();
        let imported = text(&host, &["import", "nft", &listed, "--port", "tcp/5432"]);
        let trusted = [format!("{}/32", line.v4.trusted), format!("{}/128", line.v6.trusted)];
        assert_eq!(self::addresses(&imported), trusted.into(), "{imported}");
    }
}

#[test]
fn bad_files_are_refused_with_the_reason() {
    let db = Netns::new("db");
    let host = Host::new(&db);
    let bad = host.path("bad.conf");
    fs::write(&bad, "host all all all trust\nhost all all\n").expect("write it");
    let bad = bad.display().to_string();
    for (arguments, code, said) in [
        (&["import", "pg_hba", &*bad][..], 1, "bad.conf:2: ends before the address"),
        (&["import", "pg_hba", "/nothing"], 1, "/nothing cannot be read"),
        (&["import", "nft", "/dev/zero"], 1, "it is not a regular file"),
        (&["import", "pg_hba", &*bad, "--port", "5432"], 2, "pg_hba.conf has no ports"),
        (&["import", "ipfw", &*bad], 2, "invalid value"),
        (&["export", "nft"], 69, "no agent answers"),
    ] {
        let output = host.dbfw(arguments);
        let found = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {found}");
        assert!(found.contains(said), "{arguments:?}: {found}");
    }
    let mut command = host.command(&["import", "ufw", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run dbfw import");
    let tuple = "### tuple ### allow tcp 5432 0.0.0.0/0 any 192.0.2.0/24 in\n";
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), tuple.as_bytes())
        .expect("write to it");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "192.0.2.0/24 # 5432/tcp (line 1)\n");
}
