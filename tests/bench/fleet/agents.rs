//! Simulated agents: the real client of a control plane, as many as wanted on one thread. Some
//! judge and compute as the agent does, without maps; the others stop at the checked list.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use dbfw_core::{
    answers::{ListId, ListOutcome},
    policy::{Changed, DatabasePolicy, Entries, Policy, SlotTable},
    source::Rule,
    trust::{Candidate, Enforced, Guards, List, ListPart, OnEmpty},
};
use dbfw_provider::{
    http::HttpConfig,
    server::{Facts, Kept, Lasting, ListFacts, Server, ServerConfig, join},
    stats::Stats,
    token::TokenSource,
    worker::{Account, Demand, Mailbox, Report, ReportSender},
};
use dbfw_tests::{control_plane::write_token, netns::Netns};
use dbfw_wire::agent::{AppliedState, HostDatabase, HostGuards, JoinToken};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::JoinSet,
};
use url::Url;
use uuid::Uuid;

/// The database that all of them follow.
pub(super) const DATABASE: &str = "orders";

/// Hosts that join at once.
const JOINING: usize = 8;

/// Agents, until they are dropped.
pub(super) struct Agents {
    count: watch::Sender<usize>,
    thread: Option<JoinHandle<()>>,
}

/// How they reach the server.
pub(super) struct Way<'n> {
    pub(super) netns: &'n Netns,
    pub(super) url: Url,
    pub(super) ca: PathBuf,
    /// The directory of their tokens.
    pub(super) tokens: PathBuf,
}

impl Agents {
    /// Lets hosts join, and starts their agents; `full` of them judge and compute.
    pub(super) fn start(way: &Way<'_>, join_token: &str, agents: usize, full: usize) -> Self {
        let (count, wanted) = watch::channel(agents);
        let token: JoinToken = join_token.parse().expect("a join token");
        let (joined, is_joined) = std::sync::mpsc::channel();
        let (netns, url, ca, tokens) =
            (way.netns.open(), way.url.clone(), way.ca.clone(), way.tokens.clone());
        let thread = thread::spawn(move || {
            nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).expect("enter it");
            // One thread for all of them: the server is to have the other core.
            let runtime =
                Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
            runtime.expect("a runtime").block_on(async {
                let all = stream::iter(0..agents).map(|number| {
                    let path = tokens.join(number.to_string());
                    let (url, token) = (url.clone(), token.clone());
                    async move {
                        let name = format!("sim-{number}");
                        let member = join(&url, &token, &name).await.expect("join");
                        write_token(&path, &member.joined.token);
                    }
                });
                all.buffer_unordered(JOINING).collect::<Vec<()>>().await;
                joined.send(()).expect("the bench waits");
                run(&url, &ca, &tokens, full, wanted).await;
            });
        });
        is_joined.recv().expect("they join");
        Self { count, thread: Some(thread) }
    }

    /// Ends all but so many of them.
    pub(super) fn keep(&self, agents: usize) {
        self.count.send_replace(agents);
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.count.send_replace(0);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(
    url: &Url,
    ca: &std::path::Path,
    tokens: &std::path::Path,
    full: usize,
    mut wanted: watch::Receiver<usize>,
) {
    let mut running: Vec<JoinSet<()>> = Vec::new();
    for number in 0..*wanted.borrow_and_update() {
        let config = ServerConfig {
            urls: vec![url.clone()],
            token: TokenSource::File(tokens.join(number.to_string())),
            http: HttpConfig {
                ca_file: Some(ca.to_owned()),
                only_ca_file: true,
                ..HttpConfig::default()
            },
            within: None,
        };
        let mut tasks = JoinSet::new();
        agent(&mut tasks, config, number, number < full);
        running.push(tasks);
    }
    while wanted.changed().await.is_ok() {
        let wanted = *wanted.borrow_and_update();
        running.truncate(wanted);
        if wanted == 0 {
            return;
        }
    }
}

/// Starts one agent.
fn agent(tasks: &mut JoinSet<()>, config: ServerConfig, number: usize, is_full: bool) {
    let list = ListId::Server(DATABASE.into());
    let (facts, told) = watch::channel(Facts { protection: "yes".to_owned(), ..Facts::default() });
    let lasting = Lasting {
        kept: Arc::new(Mutex::new(Kept::default())),
        keep: Arc::new(|_| Ok(())),
        facts: told,
        boot: Uuid::new_v4(),
    };
    let database = HostDatabase {
        name: DATABASE.to_owned(),
        database: DATABASE.to_owned(),
        ports: vec!["tcp/5432".to_owned()],
        mode: "enforce".to_owned(),
        guards: HostGuards { allow_any: false, min_prefix: [8, 19], within: None },
        have: None,
    };
    let name = format!("sim-{number}");
    let server = Server::new(config, name, vec![database], lasting, Arc::new(Stats::default()));
    let lists = BTreeSet::from([list.clone()]);
    let (demand, wanted) = watch::channel(Demand { lists, ..Demand::default() });
    let (commands, asked) = mpsc::channel(1);
    let (queue, mut heard) = mpsc::channel::<(Account, Vec<Report>)>(16);
    let reports = ReportSender::new(Account::Server, queue);
    tasks.spawn(server.run(Mailbox { demand: wanted, commands: asked, reports }));
    let mut judge = is_full.then(|| Judge::new(&list));
    tasks.spawn(async move {
        // The worker ends with these.
        let _open = (demand, commands);
        while let Some((_, batch)) = heard.recv().await {
            for report in batch {
                let Report::List { outcome, .. } = report else { continue };
                let ListOutcome::Answer(answer) = &outcome else { continue };
                let Some(edition) = answer.edition.clone() else { continue };
                let known = answer.sources.len();
                let prefixes = match &mut judge {
                    Some(judge) => judge.take(outcome),
                    None => known,
                };
                let state = AppliedState::Applied { generation: 1, prefixes: prefixes as u64 };
                let list = ListFacts {
                    epoch: edition.epoch,
                    revision: edition.revision,
                    state,
                    left_out: Vec::new(),
                    left_out_total: 0,
                };
                facts.send_if_modified(|facts| {
                    facts.lists.insert(DATABASE.into(), list.clone()) != Some(list)
                });
            }
        }
    });
}

/// What the agent does with a list before it writes maps: the guards, the policy and its plan.
struct Judge {
    list: List,
    guards: Guards,
    enforced: Enforced,
    policy: Policy,
    slots: SlotTable,
    entries: Entries,
}

impl Judge {
    fn new(id: &ListId) -> Self {
        let guards = Guards {
            database: DATABASE.to_owned(),
            provider: Some(id.clone()),
            on_empty: OnEmpty::Close,
            max_shrink: 100,
            allow_any: false,
            min_prefix: [8, 19],
            within: None,
        };
        Self {
            list: List::new(id),
            guards,
            enforced: Enforced::default(),
            policy: Policy::default(),
            slots: SlotTable::default(),
            entries: Entries::default(),
        }
    }

    /// The number of prefixes in force afterwards.
    fn take(&mut self, outcome: ListOutcome) -> usize {
        let now = Timestamp::now();
        self.list.accept(outcome, Duration::from_secs(120), now);
        let rule = |source: &Arc<dbfw_core::source::TrustedSource>| {
            let prefixes = source.key().prefixes().cloned().unwrap_or_default();
            let kept = self.guards.limit(&prefixes).kept;
            Rule::of_source(Arc::clone(source), self.list.origin(), kept)
        };
        let candidate = Candidate {
            guarded: self.list.sources().iter().map(rule).collect(),
            list: ListPart::Read(self.list.read_at().unwrap_or(now)),
            ..Candidate::default()
        };
        self.enforced.decide(&self.guards, candidate, &BTreeSet::new(), now);
        let rules = self.enforced.rules().cloned().collect();
        let database = DatabasePolicy { id: 1, name: DATABASE.to_owned(), rules };
        let (policy, changed): (Policy, Changed) = self.policy.follow(vec![database]);
        let assigned = self.slots.assign(&self.policy, &policy, &changed, &self.entries);
        self.entries = assigned.plan.result(&self.entries);
        self.policy = policy;
        self.entries.len()
    }
}
