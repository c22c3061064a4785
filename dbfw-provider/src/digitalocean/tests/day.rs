//! A thousand rules, a day long: what the task asks in a round, repeated as its schedule has
//! it and whoever else wants something, within the budget.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::Outcome;
use dbfw_wire::digitalocean::{
    App, AppPage, Cluster, ClusterPage, DropletPage, Firewall, Meta, OneApp, OneCluster,
    OneDroplet, OneVpc, Vpc, VpcPage,
};
use tokio::time::Instant;

use super::{
    fleet::{self, TOKEN, config, demand, droplet, node, write_token},
    server::{Asked, Reply, Server},
};
use crate::{
    budget::{Budget, RequestLimits},
    digitalocean::DigitalOcean,
    poller::bench::Bench,
    stats::Stats,
};

const LIMITS: RequestLimits = RequestLimits { per_hour: 5000, per_minute: 250 };
const PLENTY: RequestLimits = RequestLimits { per_hour: 1_000_000, per_minute: 1_000_000 };
const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;

/// Rules about droplets, tags, clusters, apps and networks, and how many of each there are.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rules: [u64; 5],
    has: [u64; 5],
}

/// Many rules about little, some about much, and so much of everything that each is asked for
/// alone; with the most requests that a round may take.
const SHAPES: [(Shape, u32); 3] = [
    (Shape { rules: [300, 400, 100, 100, 100], has: [5_000, 0, 100, 100, 100] }, 40),
    (Shape { rules: [200, 200, 2, 500, 98], has: [10_000, 0, 300, 600, 600] }, 70),
    (Shape { rules: [100, 250, 50, 300, 300], has: [99_000, 0, 99_000, 99_000, 99_000] }, 1150),
];

/// The page that is asked for of so many things, and the count of all.
fn page<T>(asked: &Asked, total: u64, item: impl Fn(u64) -> T) -> (Option<Vec<T>>, Option<Meta>) {
    let page: u64 = asked.query("page").unwrap().parse().unwrap();
    let last = total.min(page * 200);
    let items = ((page - 1) * 200 + 1..=last).map(item).collect();
    (Some(items), Some(Meta { total: Some(total) }))
}

fn cluster(number: u64) -> Cluster {
    let nodes = (0..2).map(|at| node("", Some(100_000 + number * 2 + at))).collect();
    fleet::cluster(&format!("c-{number}"), nodes)
}

fn app(number: u64) -> App {
    App { id: format!("a-{number}"), ..App::default() }
}

fn vpc(number: u64) -> Vpc {
    fleet::vpc(&format!("v-{number}"), "10.0.0.0/24")
}

/// The API's answer to a request; every tag is on one droplet.
fn answer(asked: &Asked, shape: Shape) -> Reply {
    let [droplets, _, clusters, apps, vpcs] = shape.has;
    let (path, id) = asked.path().rsplit_once('/').unwrap();
    let number = || id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
    match (path, id) {
        ("/v2", "droplets") => {
            let (droplets, meta) = match (asked.query("type"), asked.query("tag_name")) {
                (Some(_), _) => page(asked, 0, |id| droplet(id, &[])),
                (None, Some(tag)) => page(asked, 1, |id| droplet(id, &[&tag])),
                (None, None) => page(asked, droplets, |id| droplet(id, &[])),
            };
            Reply::json(&DropletPage { droplets, links: None, meta })
        }
        ("/v2/kubernetes", "clusters") => {
            let (kubernetes_clusters, meta) = page(asked, clusters, cluster);
            Reply::json(&ClusterPage { kubernetes_clusters, links: None, meta })
        }
        ("/v2", "apps") => {
            let (apps, meta) = page(asked, apps, app);
            Reply::json(&AppPage { apps, links: None, meta })
        }
        ("/v2", "vpcs") => {
            let (vpcs, meta) = page(asked, vpcs, vpc);
            Reply::json(&VpcPage { vpcs, links: None, meta })
        }
        ("/v2/droplets", _) => Reply::json(&OneDroplet { droplet: droplet(number(), &[]) }),
        ("/v2/kubernetes/clusters", _) => {
            Reply::json(&OneCluster { kubernetes_cluster: cluster(number()) })
        }
        ("/v2/apps", _) => Reply::json(&OneApp { app: app(number()) }),
        ("/v2/vpcs", _) => Reply::json(&OneVpc { vpc: vpc(number()) }),
        _ => Reply::json(&Firewall::default()),
    }
}

/// A task that asks the account for its rules.
struct Site {
    server: Server,
    bench: Bench,
    budget: Arc<Mutex<Budget>>,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn start(shape: Shape, limits: RequestLimits) -> Self {
        let server = Server::start(move |asked| answer(asked, shape)).await;
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        write_token(&token, TOKEN);
        let mut config = config(&server, &token);
        config.limits = limits;
        let budget = Arc::new(Mutex::new(Budget::new(limits)));
        let task = DigitalOcean::new(config, Arc::clone(&budget), Arc::new(Stats::default()));
        let kinds = ["droplet:", "tag:t", "k8s:c-", "app:a-", "vpc:v-"];
        let of = |(kind, count): (&'static str, u64)| {
            (1..=count).map(move |number| format!("{kind}{number}"))
        };
        let rules: Vec<String> = kinds.into_iter().zip(shape.rules).flat_map(of).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let bench = Bench::new(demand(&rules), |mailbox| task.run(mailbox));
        Self { server, bench, budget, _dir: dir }
    }
}

/// The requests of the first round and of those after it, where everything is answered.
async fn costs(shape: Shape) -> [u32; 2] {
    let mut site = Site::start(shape, PLENTY).await;
    let mut costs = [0; 2];
    for (round, cost) in costs.iter_mut().enumerate() {
        let heard = match round {
            0 => site.bench.round().await,
            _ => site.bench.polled().await,
        };
        let rules = usize::try_from(shape.rules.iter().sum::<u64>()).unwrap();
        assert_eq!((heard.sources.len(), heard.lists.len()), (rules, 1));
        let failed = |outcomes: &&Vec<Outcome>| matches!(outcomes[0], Outcome::Failed(_));
        assert_eq!(heard.sources.values().filter(failed).count(), 0, "{shape:?}");
        *cost = u32::try_from(site.server.take().len()).unwrap();
    }
    costs
}

/// Requests made over a day.
struct Day {
    budget: Budget,
    made: Vec<u64>,
    start: Instant,
    /// Milliseconds since the start.
    now: u64,
}

impl Day {
    /// As much as is let through; a wait of more than two seconds ends it, and is returned.
    fn ask(&mut self, cost: u32) -> Option<Duration> {
        for _ in 0..cost {
            while let Err(wait) = self.budget.take(self.start + Duration::from_millis(self.now)) {
                if wait > Duration::from_secs(2) {
                    return Some(wait);
                }
                self.now += milliseconds(wait).max(1);
            }
            self.made.push(self.now);
            self.now += 2;
        }
        None
    }

    fn assert_within(&self, limit: u32, window: u64) {
        for crowd in self.made.windows(limit as usize + 1) {
            let span = crowd[limit as usize] - crowd[0];
            assert!(span > window, "{} requests within {span} ms", limit + 1);
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// A day of rounds as close together as they may be, and of what people want beside them:
/// new rules every seven minutes, `dbfw suggest` every half hour, a reload every ten minutes.
/// How many rounds were whole.
fn day([first, later]: [u32; 2]) -> usize {
    let mut day =
        Day { budget: Budget::new(LIMITS), made: Vec::new(), start: Instant::now(), now: 0 };
    let (mut round, mut rules, mut suggest, mut reload) = (0, 1, 2, 10 * MINUTE);
    let (mut cost, mut whole) = (first, 0);
    while day.now < 24 * HOUR {
        day.now = day.now.max(round.min(rules).min(suggest).min(reload));
        if rules <= day.now {
            rules = day.now + 7 * MINUTE;
            day.ask(40);
        } else if suggest <= day.now {
            suggest = day.now + 30 * MINUTE;
            day.ask(60);
        } else {
            if reload <= day.now {
                reload = day.now + 10 * MINUTE;
            }
            let begun = day.now;
            let refused = day.ask(cost);
            cost = later;
            let interval = day.budget.interval(Duration::from_secs(15), cost);
            round = match refused {
                Some(wait) => day.now + milliseconds(wait.max(interval)),
                None => begun + milliseconds(interval.mul_f64(0.9)),
            };
            whole += usize::from(refused.is_none());
        }
    }
    day.assert_within(LIMITS.per_hour, HOUR);
    day.assert_within(LIMITS.per_minute, MINUTE);
    whole
}

#[tokio::test]
async fn a_thousand_rules_stay_within_the_budget_all_day() {
    for (shape, most) in SHAPES {
        let costs = costs(shape).await;
        assert!(costs[1] <= most, "{costs:?} requests for {shape:?}");
        let whole = day(costs);
        if costs[1] < 100 {
            assert!(whole >= 24 * 45, "{whole} rounds of {costs:?} requests");
        }
    }
}

#[tokio::test]
async fn where_a_round_is_too_dear_everything_still_gets_its_turn() {
    let shape = Shape { rules: [0, 30, 0, 0, 0], has: [99_000, 0, 0, 0, 0] };
    let limits = RequestLimits { per_hour: 1000, per_minute: 10 };
    let mut site = Site::start(shape, limits).await;
    let mut answered = BTreeSet::new();
    // Seven tags a round: the rest are the list, the first page of all and the GPU droplets.
    for _ in 0..5 {
        let heard = site.bench.round().await;
        assert!(site.server.take().len() <= 10);
        let known = |outcomes: &Vec<Outcome>| matches!(outcomes[0], Outcome::Answer(_));
        answered.extend(heard.sources.into_iter().filter(|(_, o)| known(o)).map(|(tag, _)| tag));
        // A minute later.
        *site.budget.lock().unwrap() = Budget::new(limits);
        site.bench.poll().await;
    }
    assert_eq!(answered.len(), 30, "{answered:?}");
}

/// The table in docs/decisions/digitalocean-requests.md: requests in a round by the number of
/// rules and of droplets, with what a round of lists alone and one without lists would take.
#[tokio::test]
async fn a_round_takes_the_fewest_requests_or_hardly_more() {
    for (rules, droplets, expected, lists, each) in [
        (10, 100, 5, 5, 13),
        (10, 5_000, 14, 29, 13),
        (10, 20_000, 14, 104, 13),
        (100, 100, 5, 5, 112),
        (100, 5_000, 29, 29, 112),
        (100, 20_000, 95, 104, 112),
        (1000, 100, 5, 5, 1102),
        (1000, 5_000, 29, 29, 1102),
        (1000, 20_000, 104, 104, 1102),
    ] {
        // The other tenth are addresses, which take no request.
        let [tenth, of_droplets, of_tags] = [rules / 10, rules * 4 / 10, rules * 3 / 10];
        let shape = Shape {
            rules: [of_droplets, of_tags, tenth, tenth, 0],
            has: [droplets, 0, tenth, tenth, 0],
        };
        // The list of rules, the GPU droplets, and two nodes in each cluster.
        let best = u64::min(lists, each);
        assert_eq!(lists, 4 + droplets.div_ceil(200), "{shape:?}");
        assert_eq!(each, 2 + of_droplets + of_tags + tenth * 4, "{shape:?}");
        assert_eq!(costs(shape).await, [expected; 2], "{shape:?}");
        assert!(u64::from(expected) <= best + 1);
    }
}
