use std::path::PathBuf;

use dbfw_provider::token::TokenSource;

use super::*;

/// The problems of a text, each without its file.
fn problems(text: &str) -> Vec<String> {
    match loaded(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(dbfw_core::toml::Problem::within_file).collect(),
    }
}

fn loaded(text: &str) -> Result<Config, dbfw_core::toml::Problems> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(file.path())
}

#[test]
fn nothing_said_is_the_usual() {
    assert_eq!(loaded("").unwrap(), Config::default());
    assert_eq!(loaded("[server]\n[feeds]\n").unwrap(), Config::default());
}

#[test]
fn every_key() {
    let config = loaded(
        r#"
        [server]
        name = "ctl"
        listen = ["127.0.0.1:7443", "[::1]:7443"]
        tls = { cert = "/c.pem", key = "/k.pem" }
        tls_names = ["ctl.example.com", "192.0.2.1"]
        state_dir = "/s"
        run_dir = "/r"
        store = { kind = "file", path = "/x/y.redb" }
        metrics_listen = "[::1]:9999"
        merge = false
        max_sources = 5000
        max_connections = 100
        requests_per_minute = 60
        [digitalocean]
        token_file = "/etc/dbfw-server/do-token"
        api_url = "https://do.example.com"
        poll = "30s"
        addresses = ["private"]
        requests_per_hour = 100
        [dns]
        servers = ["192.0.2.53"]
        grace = "1m"
        [feeds]
        allow = ["https://api.github.com/meta"]
        poll = "1h"
        [resolve]
        gone_after = "10m"
        max_stale = "7d"
        max_shrink = "25%"
        "#,
    )
    .unwrap();
    assert_eq!(config.tls, Tls::Files { cert: "/c.pem".into(), key: "/k.pem".into() });
    assert_eq!(config.store, StoreConfig::File(PathBuf::from("/x/y.redb")));
    assert_eq!((config.max_sources, config.merge), (5000, false));
    assert_eq!(config.metrics_listen, Some("[::1]:9999".parse().unwrap()));
    let off = loaded("[server]\nmetrics_listen = \"off\"\n").unwrap();
    assert_eq!(off.metrics_listen, None);
    let open = loaded("[server]\nmetrics_listen = \"0.0.0.0:9788\"\n").unwrap();
    assert!(open.warnings[0].to_string().contains("anyone who can reach 0.0.0.0:9788"));
    assert_eq!(config.allowed_feeds, ["https://api.github.com/meta"]);
    let resolve = config.resolve;
    let account = resolve.digitalocean.unwrap();
    assert_eq!(account.token, TokenSource::File("/etc/dbfw-server/do-token".into()));
    assert_eq!((account.poll.as_secs(), account.limits.per_hour), (30, 100));
    assert!(account.addresses.private && !account.addresses.public);
    assert_eq!((resolve.dns.servers.len(), resolve.dns.grace.as_secs()), (1, 60));
    assert_eq!(resolve.feeds.poll.as_secs(), 3600);
    assert_eq!(resolve.limits.gone_after.as_secs(), 600);
    assert_eq!(resolve.limits.max_stale.unwrap().as_secs(), 7 * 86_400);
    assert_eq!(resolve.max_shrink, 25);
    let moved = loaded("[server]\nstate_dir = \"/s\"\n").unwrap();
    assert_eq!(moved.store, StoreConfig::File(PathBuf::from("/s/store.redb")));
}

#[test]
fn every_problem_is_told_at_once_with_line_key_and_fix() {
    let found = problems(
        "[server]\nlisten = [\"7443\"]\ntls = \"none\"\nmerge = \"yes\"\nmax_sources = 9999\n\
         stat_dir = \"/x\"\nstore = { kind = \"sqlite\" }\nmetrics_listen = \"9788\"\n[feeds]\nallow = [\"http://x/\"]\n[etcd]\n",
    );
    for (at, wanted) in [
        "line 2: server.listen[0]: \"7443\" is not an address with a port: write",
        "line 3: server.tls: \"none\" is no certificate: write \"self\"",
        "line 4: server.merge: must be true or false",
        "line 5: server.max_sources: 9999 is not a possible number of sources: use 1 to 5000",
        "line 6: server.stat_dir: unknown key: did you mean \"state_dir\"?",
        "line 7: server.store.kind: \"sqlite\" is not a kind of store: use \"file\" or \"etcd\"",
        "line 8: server.metrics_listen: \"9788\" is not an address with a port: write",
        "line 10: feeds.allow[0]: \"http://x/\" is no https URL",
        "line 11: etcd: unknown key",
    ]
    .iter()
    .enumerate()
    {
        assert!(found.get(at).is_some_and(|line| line.starts_with(wanted)), "{wanted}\n{found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn the_tables_of_providers_are_as_strict_as_the_agents() {
    let found = problems(
        "[digitalocean]\ntoken = \"dop_v1_0123\"\ntoken_file = \"x\"\n\
         api_url = \"http://do.example.com\"\npoll = \"1ms\"\n\
         [dns]\nmin_ttl = \"2h\"\nmax_ttl = \"1h\"\n[resolve]\nmax_shrink = \"0%\"\n[aptible]\n",
    );
    for (at, wanted) in [
        "line 2: digitalocean.token: a token does not belong in the configuration",
        "line 3: digitalocean.token_file: is not an absolute path",
        "line 4: digitalocean.api_url: the token would be sent to do.example.com without TLS",
        "line 5: digitalocean.poll: \"1ms\" is not a possible interval",
        "line 8: dns.max_ttl: min_ttl 2h is longer than max_ttl 1h",
        "line 10: resolve.max_shrink: \"0%\" is not a percentage",
        "line 11: aptible: unknown key",
    ]
    .iter()
    .enumerate()
    {
        assert!(found.get(at).is_some_and(|found| found.contains(wanted)), "{wanted}: {found:#?}");
    }
    assert!(!found.concat().contains("0123"), "no problem shows what may be a token");
}

#[test]
fn plain_http_is_for_loopback_alone() {
    let off = "[server]\ntls = \"off\"\n";
    assert_eq!(problems(&format!("{off}listen = [\"127.0.0.1:1\", \"[::1]:1\"]\n")), [""; 0]);
    for listen in ["", "listen = [\"127.0.0.1:1\", \"192.0.2.1:1\"]\n", "listen = [\"[::]:1\"]\n"] {
        let found = problems(&format!("{off}{listen}"));
        assert!(found.concat().contains("tokens would be sent"), "{listen}: {found:?}");
    }
}

#[test]
fn what_is_no_file_or_no_toml_is_told() {
    let missing = load(std::path::Path::new("/nowhere/x.toml")).unwrap_err().to_string();
    assert!(missing.contains("dbfw-server init"), "{missing}");
    assert!(problems("[server\n")[0].contains("not valid TOML"));
    assert!(problems("\u{0}")[0].starts_with("line 1"));
}

#[test]
fn the_socket_is_found_with_a_bad_configuration() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[server]\nrun_dir = \"/r\"\nlisten = 7\n").unwrap();
    assert_eq!(run_dir(file.path()), PathBuf::from("/r"));
    assert_eq!(run_dir(std::path::Path::new("/nowhere")), Config::default().run_dir);
}

/// The keys that a table has, by what is said about one that it has not.
fn known(table: &str) -> Vec<String> {
    let found = problems(&format!("[{table}]\nquite_another = 1\n")).concat();
    let (_, rest) = found.split_once("known here: ").unwrap();
    let (keys, _) = rest.split_once(')').unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_in_the_file_that_is_shipped() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let docs = std::fs::read_to_string(format!("{root}/docs/server.md")).unwrap();
    let shipped = std::fs::read_to_string(format!("{root}/packaging/dbfw-server.toml")).unwrap();
    for table in ["server", "digitalocean", "dns", "feeds", "resolve"] {
        let (_, rows) = docs.split_once(&format!("| key of `[{table}]` |")).unwrap();
        let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
        let documented: Vec<&str> =
            rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(documented, known(table), "[{table}] in docs/server.md");
        // A table that is there, empty or not, may mean something.
        let (_, text) = shipped.split_once(&format!("[{table}]\n")).unwrap();
        let text = text.split("\n[").next().unwrap().split("\n#[").next().unwrap();
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix('#')?.split_once(" = ")?.0))
            .filter(|key| !key.contains(' '))
            .collect();
        assert_eq!(keys, known(table), "[{table}] in packaging/dbfw-server.toml");
    }
}

#[cfg(feature = "etcd")]
#[test]
fn a_store_in_etcd() {
    use crate::store::{EtcdSettings, Identity, Login};

    let store =
        |inner: &str| loaded(&format!("[server]\nstore = {{ kind = \"etcd\", {inner} }}\n"));
    let whole = store(
        r#"endpoints = ["https://a:2379", "https://[::1]:2379"], ca_file = "/ca", cert_file = "/c",
           key_file = "/k", user = "dbfw", password_file = "/p", prefix = "/x/y""#,
    );
    let expected = EtcdSettings {
        endpoints: vec!["https://a:2379".to_owned(), "https://[::1]:2379".to_owned()],
        ca_file: Some("/ca".into()),
        identity: Some(Identity { cert_file: "/c".into(), key_file: "/k".into() }),
        login: Some(Login { user: "dbfw".to_owned(), password_file: "/p".into() }),
        prefix: "/x/y".to_owned(),
    };
    assert_eq!(whole.unwrap().store, StoreConfig::Etcd(expected));
    let local = store(r#"endpoints = ["http://127.0.0.1:2379"]"#).unwrap();
    assert_eq!(local.warnings, []);
    let StoreConfig::Etcd(local) = local.store else { panic!("{local:?}") };
    assert_eq!((local.prefix.as_str(), local.login), ("/dbfw/v1", None));
    let open = store(r#"endpoints = ["http://192.0.2.1:2379"]"#).unwrap();
    assert!(open.warnings[0].to_string().contains("without TLS"), "{:?}", open.warnings);

    for (inner, wanted) in [
        ("", "server.store.endpoints: is missing"),
        ("endpoints = []", "lists no member of etcd"),
        (r#"endpoints = ["a:2379"]"#, "is not the address of a member"),
        (r#"endpoints = ["http://a"]"#, "is not the address of a member"),
        (r#"endpoints = ["http://u:p@a:1"]"#, "is not the address of a member"),
        (r#"endpoints = ["https://a:2379"]"#, "has no ca_file"),
        (r#"endpoints = ["http://[::1]:1"], cert_file = "/c""#, "needs key_file besides"),
        (r#"endpoints = ["http://[::1]:1"], key_file = "/c""#, "needs cert_file besides"),
        (r#"endpoints = ["http://[::1]:1"], user = "x""#, "needs password_file besides"),
        (r#"endpoints = ["http://[::1]:1"], password_file = "/p""#, "needs user besides"),
        (r#"endpoints = ["http://[::1]:1"], password = "p""#, "unknown key"),
        (r#"endpoints = ["http://[::1]:1"], path = "/p""#, "unknown key"),
        (r#"endpoints = ["http://[::1]:1"], prefix = "x""#, "is no prefix"),
        (r#"endpoints = ["http://[::1]:1"], prefix = "/x/""#, "is no prefix"),
    ] {
        let found = problems(&format!("[server]\nstore = {{ kind = \"etcd\", {inner} }}\n"));
        assert!(found.concat().contains(wanted), "{inner}: {found:?}");
    }
}
