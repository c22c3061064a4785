//! Lists of a control plane.

use dbfw_core::answers::{Edition, Resolved as AtServer, SourceState};
use dbfw_core::source::PrefixSet;

use super::*;

const CONFIG: &str = r#"
    [digitalocean]
    token_file = "/do"
    [server]
    urls = ["https://ctl.example.com:7443"]
    within = ["10.0.0.0/8"]

    [[database]]
    name = "orders"
    ports = [5432]
    provider = { kind = "server", database = "shop" }
    trusted_sources = ["tag:backend"]
"#;

fn shop() -> ListId {
    ListId::Server("shop".into())
}

fn prefixes(texts: &[&str]) -> PrefixSet {
    texts.iter().map(|text| text.parse::<Prefix>().unwrap()).collect()
}

/// A list of sources, of which the server resolved those with prefixes.
fn edition(revision: u64, sources: &[(&str, &[&str])]) -> ListOutcome {
    let mut list = SourceList::default();
    let mut edition =
        Edition { epoch: 1, revision, by: Some("ann".to_owned()), ..Edition::default() };
    for (text, set) in sources {
        let source: TrustedSource = text.parse().unwrap();
        if !set.is_empty() {
            let resolved = AtServer { prefixes: prefixes(set), state: SourceState::Ok, at: None };
            edition.resolved.insert(source.key().clone(), resolved);
        }
        list.sources.push(Arc::new(source));
    }
    list.edition = Some(Arc::new(edition));
    ListOutcome::from(list)
}

fn learn(trust: &mut Trust, config: &Config, outcome: ListOutcome) {
    let report = Report::List { list: shop(), outcome };
    trust.learn(config, Account::Server, vec![report]);
    reevaluate(trust, config, "orders");
}

fn answer(trust: &mut Trust, config: &Config, key: &str, set: &[&str]) {
    let source: TrustedSource = key.parse().unwrap();
    let parts = [("a droplet".to_owned(), Part::Prefixes(prefixes(set)))].into();
    let outcome = Resolved::from(Answer { parts, ..Answer::default() });
    let report = Report::Source { key: source.key().clone(), outcome };
    trust.learn(config, Account::DigitalOcean, vec![report]);
    reevaluate(trust, config, "orders");
}

#[test]
fn a_source_of_the_servers_is_not_the_hosts_own_of_that_name() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    answer(&mut trust, &config, "tag:backend", &["172.16.0.1"]);
    learn(&mut trust, &config, edition(1, &[("tag:backend", &["10.0.0.1"])]));
    // The host's own is not the server's to limit either.
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.1/32", "172.16.0.1/32"]);
    answer(&mut trust, &config, "tag:backend", &["172.16.0.2"]);
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.1/32", "172.16.0.2/32"]);

    // The host asks for its own, and not for what the server resolved.
    learn(&mut trust, &config, edition(2, &[("tag:web", &["10.0.0.2"]), ("tag:jobs", &[])]));
    let demand = trust.follow_demand(&config).remove(&Account::DigitalOcean).unwrap();
    let asked: Vec<String> = demand.sources.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["tag:backend", "tag:jobs"]);
    assert_eq!(trusted(&trust, "orders")[0], "10.0.0.1/32", "it waits for tag:jobs");
    answer(&mut trust, &config, "tag:jobs", &["10.0.0.3"]);
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.2/32", "10.0.0.3/32", "172.16.0.2/32"]);
}

#[test]
fn the_word_of_an_operator_counts_at_once() {
    let config = config(&CONFIG.replace("trusted_sources = [\"tag:backend\"]", ""));
    let mut trust = trust(&config);
    let many: Vec<String> = (1..=200).map(|host| format!("ip_addr:10.0.0.{host}")).collect();
    let many: Vec<(&str, &[&str])> = many.iter().map(|text| (text.as_str(), &[][..])).collect();
    learn(&mut trust, &config, edition(1, &many));
    assert_eq!(trusted(&trust, "orders").len(), 200);
    learn(&mut trust, &config, edition(2, &many[..1]));
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.1/32"]);
    learn(&mut trust, &config, ListOutcome::Failed(failed()));
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.1/32"], "a failure takes nothing away");
    learn(&mut trust, &config, edition(3, &[]));
    assert!(trusted(&trust, "orders").is_empty(), "empty is closed");
    assert_eq!(
        trust.author("orders", &Origin::Provider("server:shop".into())).as_deref(),
        Some("ann")
    );
    assert_eq!(trust.author("orders", &Origin::Config), None);
}

#[test]
fn what_is_beyond_the_hosts_limits_is_left_out_and_the_rest_counts() {
    let config = config(&CONFIG.replace("trusted_sources = [\"tag:backend\"]", ""));
    let mut trust = trust(&config);
    learn(&mut trust, &config, edition(1, &[("ip_addr:10.0.0.1", &[]), ("ip_addr:10.0.0.2", &[])]));
    let captured = edition(
        2,
        &[
            ("ip_addr:10.0.0.1", &[]),
            ("ip_addr:0.0.0.0/0", &[]),
            ("ip_addr:12.0.0.0/7", &[]),
            ("ip_addr:192.0.2.1", &[]),
            ("tag:web", &["10.1.0.0/16", "11.0.0.0/8"]),
        ],
    );
    learn(&mut trust, &config, captured);
    assert_eq!(trusted(&trust, "orders"), ["10.0.0.1/32", "10.1.0.0/16"], "and 10.0.0.2 went");
    let database = &config.databases[0];
    let judged = trust.judged(&config, database, 2).unwrap();
    assert_eq!((judged.revision, judged.total, judged.left_out.len()), (2, 4, 2));
    let rules = trust.rules("orders");
    let note = |source: &str| {
        let rule = rules.iter().find(|rule| rule.kind.to_string() == source).unwrap();
        trust.report_of(&config, "orders", rule).notes.join(" ")
    };
    assert!(note("ip_addr:192.0.2.1").contains("outside `within`"));
    assert!(note("tag:web").contains("11.0.0.0/8"));
    assert_eq!(note("ip_addr:10.0.0.1"), "");
    let problems = trust.problems(&config, database, &rules);
    assert!(
        problems.iter().any(|problem| problem.contains("4 sources of the list")),
        "{problems:?}"
    );
}

#[test]
fn a_restart_without_the_server_keeps_the_list() {
    let config = config(CONFIG);
    let mut before = trust(&config);
    answer(&mut before, &config, "tag:backend", &["172.16.0.1"]);
    let list = edition(1, &[("tag:web", &["10.0.0.1", "10.0.0.2"]), ("ip_addr:10.0.0.3", &[])]);
    learn(&mut before, &config, list);
    let policies = [DatabasePolicy { id: 1, name: "orders".into(), rules: before.rules("orders") }];
    let snapshot = before.snapshot(7, SlotTable::default(), &policies);
    let text = serde_json::to_string(&snapshot).unwrap();

    let mut after = trust(&config);
    after.restore(&config, serde_json::from_str(&text).unwrap());
    reevaluate(&mut after, &config, "orders");
    assert_eq!(trusted(&after, "orders"), trusted(&before, "orders"));
    learn(&mut after, &config, ListOutcome::Failed(failed()));
    for seconds in [1, 40, 4000] {
        after.follow_clock(reading(seconds));
        after.age(&config);
        reevaluate(&mut after, &config, "orders");
        assert_eq!(trusted(&after, "orders"), trusted(&before, "orders"), "after {seconds} s");
    }
    assert!(after.judged(&config, &config.databases[0], 1).is_none(), "nothing is reported of it");
    // A tighter ceiling counts without the server.
    let tighter = super::config(&CONFIG.replace("10.0.0.0/8", "10.0.0.2/31"));
    reevaluate(&mut after, &tighter, "orders");
    assert_eq!(trusted(&after, "orders"), ["10.0.0.2/32", "10.0.0.3/32", "172.16.0.1/32"]);
}
