mod server;

use std::path::PathBuf;

use dbfw_core::{
    answers::{Answer, FetchError, Outcome as Resolved, Part, SourceList},
    policy::Guard,
};

use super::*;
use crate::config::{ConfigFile, parse};

const CONFIG: &str = r#"
    [agent]
    max_stale = "1h"

    [[database]]
    name = "orders"
    ports = [5432]
    provider = { kind = "file", path = "/orders.list" }
    trusted_sources = ["ip_addr:10.9.0.0/16"]
    max_shrink = "50%"

    [[database]]
    name = "users"
    ports = [5433]
    trusted_sources = ["dns:app.example.com"]
"#;

fn config(text: &str) -> Config {
    let path = PathBuf::from("/dbfw.toml");
    parse(vec![ConfigFile { path, text: text.to_owned() }]).unwrap()
}

fn reading(seconds: i64) -> Reading {
    Reading {
        wall: Timestamp::from_second(1_800_000_000 + seconds).unwrap(),
        boot: Duration::from_secs(1000 + seconds as u64),
    }
}

fn trust(config: &Config) -> Trust {
    Trust::new(config, LocalSources::default(), reading(0))
}

fn orders() -> ListId {
    ListId::File("/orders.list".into())
}

fn list(values: &[&str]) -> ListOutcome {
    let sources = values.iter().map(|value| {
        let source: TrustedSource = format!("ip_addr:{value}").parse().unwrap();
        Arc::new(source)
    });
    ListOutcome::Answer(SourceList { sources: sources.collect(), ..SourceList::default() }.into())
}

fn failed() -> FetchError {
    FetchError::new(Cause::Timeout, "no answer within 10 s")
}

fn learn_list(trust: &mut Trust, config: &Config, outcome: ListOutcome) -> Learned {
    let report = Report::List { list: orders(), outcome };
    trust.learn(config, Account::Files, vec![report])
}

fn reevaluate(trust: &mut Trust, config: &Config, name: &str) -> Decision {
    let database = config.databases.iter().find(|database| database.name == name).unwrap();
    trust.reevaluate(config, database, &BTreeSet::new())
}

/// The prefixes trusted for a database.
fn trusted(trust: &Trust, name: &str) -> Vec<String> {
    let rules = trust.rules(name);
    let mut prefixes: Vec<String> =
        rules.iter().flat_map(|rule| rule.prefixes.iter().map(ToString::to_string)).collect();
    prefixes.sort();
    prefixes
}

#[test]
fn a_list_is_in_force_once_it_was_read_and_evaluated() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    reevaluate(&mut trust, &config, "orders");
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16"], "what the operator wrote needs nobody");

    let learned = learn_list(&mut trust, &config, list(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(learned.databases, ["orders".to_owned()].into());
    assert_eq!(reevaluate(&mut trust, &config, "orders"), Decision::Accepted { confirmed: None });
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32", "192.0.2.2/32"]);

    let again = learn_list(&mut trust, &config, list(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(again, Learned::default(), "the same list changes nothing");
}

#[test]
fn a_failure_takes_nothing_away_and_is_the_outcome_of_the_round() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    learn_list(&mut trust, &config, list(&["192.0.2.1"]));
    reevaluate(&mut trust, &config, "orders");
    assert_eq!(trust.end_round(&config, Account::Files), ["orders"]);
    assert!(matches!(trust.outcome(&config, "orders"), Outcome::Success(_)));

    assert_eq!(learn_list(&mut trust, &config, ListOutcome::Failed(failed())), Learned::default());
    assert_eq!(trust.end_round(&config, Account::Files), ["orders"]);
    assert_eq!(trust.outcome(&config, "orders"), Outcome::Failure(Cause::Timeout));
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
    assert_eq!(trust.list_errors(), ["orders: no answer within 10 s"]);
    assert!(trust.end_round(&config, Account::Files).is_empty(), "no file was read since");
}

#[test]
fn a_refused_list_is_the_outcome_of_its_round_and_a_plan() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    let hosts: Vec<String> = (1..=20).map(|host| format!("192.0.2.{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    learn_list(&mut trust, &config, list(&hosts));
    reevaluate(&mut trust, &config, "orders");
    let learned = learn_list(&mut trust, &config, list(&["192.0.2.1"]));
    assert!(learned.databases.contains("orders"));
    let decision = reevaluate(&mut trust, &config, "orders");
    assert_eq!(decision, Decision::Refused { guard: Guard::MaxShrink, new: true });
    assert_eq!(trust.outcome(&config, "orders"), Outcome::Refused);
    let plan = trust.enforced("orders").and_then(Enforced::refused).unwrap().id().to_owned();
    assert!(trust.refusals()[0].contains(&plan), "{:?}", trust.refusals());
    assert_eq!(trusted(&trust, "orders").len(), 21, "the last good list stays in force");

    let database = &config.databases[0];
    let decision = trust.reevaluate(&config, database, &[plan.clone()].into());
    assert_eq!(decision, Decision::Accepted { confirmed: Some(plan) });
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
}

/// A plan of a list is not confirmed while it is not known what the list says now.
#[test]
fn a_plan_is_not_confirmed_while_its_list_cannot_be_read() {
    let providers = [
        ("kind = \"file\", path = \"/orders.list\"", Account::Files),
        ("kind = \"aptible\", vhost = 123", Account::Aptible),
        (
            "kind = \"digitalocean\", cluster = \"9cc10173-e9ea-4176-9dbc-a4cee4c4ff30\"",
            Account::DigitalOcean,
        ),
    ];
    let hosts: Vec<String> = (1..=20).map(|host| format!("192.0.2.{host}")).collect();
    let all: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for (keys, account) in providers {
        let config = config(
            &(CONFIG.replace("kind = \"file\", path = \"/orders.list\"", keys)
                + "[digitalocean]\ntoken_file = \"/do\"\n[aptible]\ntoken_file = \"/aptible\"\n"),
        );
        let id = config.databases[0].provider.clone().unwrap();
        for rest in [&[][..], &["192.0.2.1"], &["192.0.2.7", "192.0.2.8"]] {
            for way in 0..4 {
                let mut trust = trust(&config);
                let learn = |trust: &mut Trust, outcome: ListOutcome| {
                    let report = Report::List { list: id.clone(), outcome };
                    trust.learn(&config, account, vec![report]);
                };
                learn(&mut trust, list(&all));
                reevaluate(&mut trust, &config, "orders");
                learn(&mut trust, list(rest));
                reevaluate(&mut trust, &config, "orders");
                let plan = trust.enforced("orders").and_then(Enforced::refused).unwrap();
                let plans = BTreeSet::from([plan.id().to_owned()]);
                assert_eq!(BTreeSet::from_iter(trust.confirmable()), plans);
                let why = match way {
                    0 => {
                        learn(&mut trust, ListOutcome::Failed(failed()));
                        Some("no answer within 10 s")
                    }
                    1 => {
                        learn(&mut trust, ListOutcome::Gone("404".to_owned()));
                        Some("404")
                    }
                    2 if account == Account::Files => {
                        trust.begin_reading(&config);
                        Some("not read in time")
                    }
                    _ => {
                        learn(&mut trust, ListOutcome::Failed(failed()));
                        learn(&mut trust, list(rest));
                        None
                    }
                };
                let decision = trust.reevaluate(&config, &config.databases[0], &plans);
                let unconfirmed = trust.unconfirmed(&plans);
                let Some(why) = why else {
                    let confirmed = plans.first().cloned();
                    assert_eq!(decision, Decision::Accepted { confirmed }, "{account:?}");
                    assert_eq!(unconfirmed, []);
                    continue;
                };
                assert!(matches!(decision, Decision::Refused { new: false, .. }), "{decision:?}");
                assert_eq!(trusted(&trust, "orders").len(), 21, "{account:?}");
                let [plan] = &unconfirmed[..] else { panic!("{unconfirmed:?}") };
                assert_eq!((&*plan.database, Some(&plan.id)), ("orders", plans.first()));
                assert!(plan.message.contains(why), "{}", plan.message);
                assert_eq!(trust.unconfirmed(&BTreeSet::new()), [], "nobody named it");
                assert_eq!(trust.confirmable(), [""; 0]);
                assert!(trust.list_errors()[0].contains(why), "{:?}", trust.list_errors());
            }
        }
    }
}

#[test]
fn a_list_lapses_by_the_clock_while_it_cannot_be_read() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    learn_list(&mut trust, &config, list(&["192.0.2.1"]));
    reevaluate(&mut trust, &config, "orders");
    learn_list(&mut trust, &config, ListOutcome::Failed(failed()));
    assert_eq!(trust.follow_clock(reading(3599)), None, "time passed as it should");
    assert!(!trust.age(&config));
    trust.follow_clock(reading(3601));
    assert!(trust.age(&config));
    reevaluate(&mut trust, &config, "orders");
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16"]);
}

#[test]
fn a_failure_is_not_the_time_of_the_list_in_force() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    let good = || list(&["192.0.2.1"]);
    for (second, outcome, read_at) in [
        (0, good(), 0),
        (15, ListOutcome::Failed(failed()), 0),
        (30, ListOutcome::Failed(failed()), 0),
        (45, ListOutcome::Gone("404".to_owned()), 0),
        (60, good(), 60),
        (75, ListOutcome::Failed(failed()), 60),
        (90, list(&["192.0.2.1", "192.0.2.2"]), 90),
    ] {
        trust.follow_clock(reading(second));
        learn_list(&mut trust, &config, outcome);
        for _ in 0..2 {
            reevaluate(&mut trust, &config, "orders");
            trust.end_round(&config, Account::Files);
            let found = trust.enforced("orders").and_then(Enforced::accepted_at);
            assert_eq!(found, Some(reading(read_at).wall), "at {second}");
        }
    }
}

#[test]
fn a_step_of_the_clock_ages_nothing() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    learn_list(&mut trust, &config, list(&["192.0.2.1"]));
    reevaluate(&mut trust, &config, "orders");
    learn_list(&mut trust, &config, ListOutcome::Failed(failed()));
    let stepped = Reading { wall: reading(86_400).wall, ..reading(10) };
    assert!(trust.follow_clock(stepped).is_some());
    assert!(!trust.age(&config), "a day on the wall is ten seconds since the boot");
}

#[test]
fn demands_name_what_is_written_and_answers_nobody_asks_for_are_forgotten() {
    let both = config(CONFIG);
    let mut trust = trust(&both);
    let demands = trust.follow_demand(&both);
    assert_eq!(demands.keys().copied().collect::<Vec<_>>(), [Account::Files, Account::Dns]);
    assert_eq!(demands[&Account::Files].lists, [orders()].into());
    let key = demands[&Account::Dns].sources.first().unwrap().clone();

    let part = Part::prefixes(vec![Prefix::host("192.0.2.7".parse().unwrap())]);
    let answer = Answer { parts: [("A".to_owned(), part)].into(), ..Answer::default() };
    let report = Report::Source { key: key.clone(), outcome: Resolved::Answer(answer.into()) };
    let learned = trust.learn(&both, Account::Dns, vec![report]);
    assert_eq!(learned.databases, ["users".to_owned()].into());
    reevaluate(&mut trust, &both, "users");
    assert_eq!(trusted(&trust, "users"), ["192.0.2.7/32"]);
    assert!(trust.unanswered(&both).is_empty());

    let without = config("[[database]]\nname = \"users\"\nports = [5433]\ntrusted_sources = []\n");
    trust.follow_config(&without);
    assert!(trust.follow_demand(&without).is_empty());
    assert_eq!(trust.unanswered(&both), ["dns:app.example.com"]);
    assert!(trust.enforced("orders").is_none(), "the database is not configured any more");
}

#[test]
fn a_roll_back_undoes_what_a_reload_did() {
    let before = config(CONFIG);
    let mut trust = trust(&before);
    learn_list(&mut trust, &before, list(&["192.0.2.1"]));
    reevaluate(&mut trust, &before, "orders");
    let checkpoint = trust.checkpoint();
    let after = config(&CONFIG.replace("/orders.list", "/other.list"));
    trust.follow_config(&after);
    assert_eq!(learn_list(&mut trust, &after, list(&["192.0.2.9"])), Learned::default());
    trust.roll_back(checkpoint);
    reevaluate(&mut trust, &before, "orders");
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
}

#[test]
fn a_restart_enforces_the_snapshot_until_something_is_read() {
    let config = config(CONFIG);
    let mut earlier = trust(&config);
    learn_list(&mut earlier, &config, list(&["192.0.2.1"]));
    reevaluate(&mut earlier, &config, "orders");
    let policies =
        [DatabasePolicy { id: 1, name: "orders".into(), rules: earlier.rules("orders") }];
    let snapshot = earlier.snapshot(7, SlotTable::default(), &policies);

    let mut later = trust(&config);
    later.restore(&config, snapshot);
    reevaluate(&mut later, &config, "orders");
    assert_eq!(trusted(&later, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
    learn_list(&mut later, &config, ListOutcome::Failed(failed()));
    reevaluate(&mut later, &config, "orders");
    assert_eq!(trusted(&later, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
}

#[test]
fn without_a_snapshot_the_maps_are_kept_until_the_list_is_read() {
    let config = config(CONFIG);
    let mut trust = trust(&config);
    let held = ["10.9.0.0/16", "192.0.2.1/32"].map(|text| text.parse().unwrap());
    trust.adopt(&config.databases[0], held.into());
    reevaluate(&mut trust, &config, "orders");
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32"]);
    learn_list(&mut trust, &config, list(&["192.0.2.1", "192.0.2.2"]));
    reevaluate(&mut trust, &config, "orders");
    assert_eq!(trusted(&trust, "orders"), ["10.9.0.0/16", "192.0.2.1/32", "192.0.2.2/32"]);
}

#[tokio::test]
async fn what_was_added_by_hand_for_a_database_that_is_away_is_named_and_keeps_its_end() {
    let both = config(CONFIG);
    let users = config(&CONFIG.replace("name = \"orders\"", "name = \"shop\""));
    let directory = tempfile::tempdir().unwrap();
    let (mut local, _) = LocalSources::load(directory.path(), directory.path(), false);
    let ends = [Some(60), None, Some(7200)];
    for (n, end) in ends.iter().enumerate() {
        let mut source: TrustedSource = format!("ip_addr:192.0.2.{n}").parse().unwrap();
        source.expires_at = end.map(|seconds| reading(seconds).wall);
        local.begin_add(crate::state::local::LocalSource {
            database: "orders".to_owned(),
            source,
            added_at: reading(0).wall,
        });
        local.saved().await.1.unwrap();
    }
    let mut trust = Trust::new(&both, local, reading(0));
    for seconds in [1, 90] {
        trust.follow_clock(reading(seconds));
        assert_eq!(trust.without_database(&both).len(), 0);
        let told = trust.without_database(&users);
        let [(name, text)] = &Vec::from_iter(told)[..] else { panic!("one database is away") };
        assert_eq!(*name, "orders");
        assert!(text.contains("192.0.2.1 (no end), ip_addr:192.0.2.2 (until 20"), "{text}");
        assert_eq!(text.contains("192.0.2.0"), seconds < 60, "{text}");
        // Away for one reload: what is left comes back, each with its end.
        trust.follow_config(&users);
        trust.follow_config(&both);
        learn_list(&mut trust, &both, list(&["192.0.2.77"]));
        reevaluate(&mut trust, &both, "orders");
        let by_hand = trust.rules("orders").into_iter().filter(|rule| rule.origin == Origin::Local);
        let kept: Vec<_> = by_hand.map(|rule| rule.kind.expires_at()).collect();
        let expected = ends.map(|end| end.map(|seconds| reading(seconds).wall));
        assert_eq!(kept, if seconds < 60 { &expected[..] } else { &expected[1..] });
    }
}
