//! Accounts, rules and faults at random, against a reading that takes no short cut: whatever
//! requests were made, what is trusted is what the account has.

mod account;
mod bounds;
mod faults;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use dbfw_core::{
    answers::{Cache, Limits, ListOutcome},
    source::{SourceKey, SourceType},
    testing::cases,
};
use dbfw_wire::digitalocean::FirewallRule;
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use self::{
    account::{Account, Counts, account, counts, keys, uuid},
    bounds::{Bounds, Trusted},
    faults::Fault,
};
use super::{
    fleet::{LIST, TOKEN, config, rule as firewall_rule, write_token},
    server::{Reply, Server},
};
use crate::{
    budget::{Budget, RequestLimits},
    digitalocean::DigitalOcean,
    poller::bench::{Bench, list_id},
    stats::Stats,
    worker::{Demand, Report},
};

/// More than any test needs: the budget has tests of its own.
const PLENTY: RequestLimits = RequestLimits { per_hour: 1_000_000, per_minute: 1_000_000 };

const GONE_AFTER: i64 = 60;

/// A task, its server, and the agent's cache.
struct Site {
    server: Server,
    bench: Bench,
    budget: Arc<Mutex<Budget>>,
    cache: Cache,
    lists: Vec<ListOutcome>,
    _dir: TempDir,
}

impl Site {
    async fn start(demand: Demand, counts: Counts) -> Self {
        let server = Server::start(|_| Reply::not_found()).await;
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        write_token(&token, TOKEN);
        let mut config = config(&server, &token);
        (config.addresses, config.pod_subnets) = (counts.kinds, counts.pods);
        config.limits = PLENTY;
        let budget = Arc::new(Mutex::new(Budget::new(PLENTY)));
        let task = DigitalOcean::new(config, Arc::clone(&budget), Arc::new(Stats::default()));
        let bench = Bench::new(demand, |mailbox| task.run(mailbox));
        let gone_after = Duration::from_secs(GONE_AFTER.cast_unsigned());
        let cache = Cache::new(Limits { gone_after, max_stale: None });
        let mut site = Self { server, bench, budget, cache, lists: Vec::new(), _dir: dir };
        // The first round begins by itself, and there is nothing yet. What is wanted only
        // later is asked for beside the round that is ordered, and told of at any time.
        site.hear(0).await;
        site.lists.clear();
        site
    }

    /// A round, all of whose reports are taken in at this moment. What an earlier refusal
    /// has left of the budget does not matter.
    async fn round(&mut self, now: i64) {
        *self.budget.lock().unwrap() = Budget::new(PLENTY);
        self.bench.poll().await;
        self.hear(now).await;
    }

    async fn hear(&mut self, now: i64) {
        let now = at(now);
        self.cache.drop_expired(now);
        loop {
            for report in self.bench.reports().await {
                match report {
                    Report::Source { key, outcome } => {
                        self.cache.accept(&key, outcome, now);
                    }
                    Report::List { outcome, .. } => self.lists.push(outcome),
                    Report::Round { .. } => return,
                }
            }
        }
    }

    fn trusted(&self, keys: &[SourceKey]) -> Trusted {
        let trusted = |key| self.cache.resolution(key).prefixes.iter().copied().collect();
        keys.iter().map(|key| (key.clone(), trusted(key))).collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// What everything stands for, by the account itself.
fn truth(account: &Account, keys: &[SourceKey], counts: Counts) -> Trusted {
    keys.iter().map(|key| (key.clone(), account.prefixes(key, counts))).collect()
}

/// Something a list may say, and the source it is, if it is one.
fn rule() -> impl Strategy<Value = (FirewallRule, Option<SourceKey>)> {
    let good = |kind: SourceType, value: String| {
        let rule = firewall_rule(kind.as_str(), &value);
        (rule, Some(SourceKey::new(kind, &value).unwrap()))
    };
    let tags = vec!["web", "db", "k8s:worker", "nobody"];
    let addresses = vec!["198.51.100.7", "198.51.100.0/24", "2001:db8:99::/48", "10.116.1.0"];
    let bad = vec![
        ("gopher", "x"),
        ("ip_addr", "198.51.100.7/24"),
        ("ip_addr", "everybody"),
        ("droplet", "web-1"),
        ("feed", "https://example.com/list"),
        ("vpc", "x"),
        ("", ""),
    ];
    prop_oneof![
        4 => (1_u64..12).prop_map(move |id| good(SourceType::Droplet, id.to_string())),
        4 => select(tags).prop_map(move |tag| good(SourceType::Tag, tag.to_owned())),
        2 => (1_u64..6).prop_map(move |number| good(SourceType::K8s, uuid("k8s", number))),
        2 => (1_u64..6).prop_map(move |number| good(SourceType::App, uuid("app", number))),
        3 => select(addresses).prop_map(move |value| good(SourceType::IpAddr, value.to_owned())),
        2 => select(bad).prop_map(|(kind, value)| {
            (firewall_rule(kind, value), None)
        }),
    ]
}

/// An account's list and sources, at first and after everything has changed.
async fn resolves(
    accounts: &[Account],
    rules: &[(FirewallRule, Option<SourceKey>)],
    some: &[SourceKey],
    counts: Counts,
) -> Result<(), TestCaseError> {
    let listed: Vec<SourceKey> = rules.iter().filter_map(|(_, key)| key.clone()).collect();
    // Of addresses, those are asked for that look like a network's.
    let is_asked =
        |key: &&SourceKey| key.kind() != SourceType::IpAddr || key.value() == "10.116.1.0";
    let keys: Vec<SourceKey> = some.iter().chain(&listed).filter(is_asked).cloned().collect();
    let demand = Demand { lists: [list_id(LIST)].into(), sources: keys.iter().cloned().collect() };
    let mut site = Site::start(demand, counts).await;
    let mut now = 0;
    for account in accounts {
        account.fleet(rules.iter().map(|(rule, _)| rule.clone()).collect()).shown_by(&site.server);
        // Then what is gone is believed, what is held is let go, and it is known how large
        // the account is.
        for step in [10, GONE_AFTER, 600, 1] {
            now += step;
            site.round(now).await;
        }
        prop_assert_eq!(site.trusted(&keys), truth(account, &keys, counts));
    }
    let mut expected: Vec<SourceKey> = Vec::new();
    for key in listed {
        if !expected.contains(&key) {
            expected.push(key);
        }
    }
    let (sources, problems) = match site.lists.first() {
        Some(ListOutcome::Answer(list)) => (&list.sources, &list.problems),
        // A list of which nothing can be used is no list.
        Some(ListOutcome::Failed(_)) if !rules.is_empty() && expected.is_empty() => return Ok(()),
        _ => return Err(TestCaseError::fail(format!("{:?}", site.lists))),
    };
    let read: Vec<SourceKey> = sources.iter().map(|source| source.key().clone()).collect();
    prop_assert_eq!(read, expected);
    prop_assert_eq!(problems.len(), rules.iter().filter(|(_, key)| key.is_none()).count());
    Ok(())
}

/// Rounds of an account each, of whose answers a share goes wrong; then one without faults.
async fn survives(
    accounts: &[Account],
    rounds: &[(usize, u64, u64)],
    step: i64,
    counts: Counts,
) -> Result<(), TestCaseError> {
    let keys = keys();
    let demand = Demand { sources: keys.iter().cloned().collect(), ..Demand::default() };
    let mut site = Site::start(demand, counts).await;
    let mut bounds = Bounds::new(GONE_AFTER, counts);
    let (mut now, mut before) = (0, site.trusted(&keys));
    let mut account = &accounts[0];
    for (which, seed, share) in [(0, 0, 0)].iter().chain(rounds).copied() {
        account = accounts.get(which).unwrap_or(account);
        let fleet = account.fleet(vec![]);
        let lied = Arc::new(AtomicBool::new(false));
        let lies = Arc::clone(&lied);
        site.server.set(move |asked| {
            let reply = fleet.answer(asked);
            let Some(fault) = Fault::of(asked, seed, share) else { return reply };
            lies.fetch_or(fault == Fault::Denied, Relaxed);
            fault.spoil(reply)
        });
        now += step;
        site.round(now).await;
        let after = site.trusted(&keys);
        bounds.round(account, lied.load(Relaxed), now, &before, &after).map_err(|error| {
            TestCaseError::fail(format!("at {now}, seed {seed}, {share} %: {error}"))
        })?;
        before = after;
    }
    account.fleet(vec![]).shown_by(&site.server);
    for step in [10, GONE_AFTER, 600] {
        now += step;
        site.round(now).await;
    }
    prop_assert_eq!(site.trusted(&keys), truth(account, &keys, counts));
    Ok(())
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn an_account_resolves_to_what_it_has(
        accounts in vec(account(), 2),
        rules in vec(rule(), 0..12),
        some in prop::sample::subsequence(keys(), 0..=keys().len()),
        counts in counts(),
    ) {
        run(resolves(&accounts, &rules, &some, counts))?;
    }

    #[test]
    fn faults_take_nothing_and_give_nothing(
        accounts in vec(account(), 1..4),
        rounds in vec((0_usize..3, any::<u64>(), select(vec![5_u64, 30, 100])), 1..7),
        step in select(vec![10_i64, 35]),
        counts in counts(),
    ) {
        run(survives(&accounts, &rounds, step, counts))?;
    }
}
