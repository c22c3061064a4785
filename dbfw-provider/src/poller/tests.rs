use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use dbfw_core::{
    answers::{Answer, Cause},
    source::{SourceKey, SourceType},
};
use tokio::sync::oneshot;

use super::bench::{Bench, sources};
use super::*;

/// What the task was asked for, each with the sender that lets it answer.
type Asked = Arc<Mutex<Vec<(String, oneshot::Sender<()>)>>>;

/// Asks for names; every answer is given by the test.
struct Script {
    asked: Asked,
    wait: Duration,
    changed: Arc<Mutex<BTreeSet<String>>>,
    /// Every answer is a failure, and how long each made wait.
    failures: Option<Arc<Mutex<Vec<Duration>>>>,
}

impl Task for Script {
    type Key = String;
    type Reply = ();

    fn want(&mut self, demand: &Demand) -> Wanted<String> {
        let all = demand.sources.iter().map(|key| key.value().to_owned()).collect();
        Wanted { all, ..Wanted::default() }
    }

    fn ask(&mut self, key: &String) -> BoxFuture<'static, ()> {
        let (sender, receiver) = oneshot::channel();
        self.asked.lock().unwrap().push((key.clone(), sender));
        receiver.map(|_| ()).boxed()
    }

    fn handle_reply(
        &mut self,
        key: &String,
        (): (),
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        if let Some(failures) = &self.failures {
            failures.lock().unwrap().push(backoff.failed(self.wait, Cause::Server, None));
        }
        (vec![Report::Source { key: source(key), outcome: Answer::default().into() }], self.wait)
    }

    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<String>>> {
        let changed = std::mem::take(&mut *self.changed.lock().unwrap());
        Some(std::future::ready(changed).boxed())
    }
}

fn source(value: &str) -> SourceKey {
    SourceKey::new(SourceType::Dns, value).unwrap()
}

fn demand(values: &[&str]) -> Demand {
    sources(SourceType::Dns, values)
}

/// The task, and the test's hold on it.
struct Scripted {
    bench: Bench,
    asked: Asked,
    changed: Arc<Mutex<BTreeSet<String>>>,
}

impl Scripted {
    /// Begins a task that wants `values` and asks again after `wait`.
    fn new(values: &[&str], wait: Duration) -> Self {
        let (asked, changed): (Asked, _) = Default::default();
        Self::of(Script { asked, wait, changed, failures: None }, values)
    }

    fn of(task: Script, values: &[&str]) -> Self {
        let (asked, changed) = (Arc::clone(&task.asked), Arc::clone(&task.changed));
        let bench = Bench::new(demand(values), |mailbox| run(task, mailbox));
        Self { bench, asked, changed }
    }

    /// Waits until something is asked for: what, in order.
    async fn asked(&self) -> Vec<String> {
        loop {
            tokio::task::yield_now().await;
            let asked = self.asked.lock().unwrap();
            if !asked.is_empty() {
                return asked.iter().map(|(key, _)| key.clone()).collect();
            }
        }
    }

    /// Lets everything that is asked for be answered.
    fn answer(&self) {
        for (_, sender) in self.asked.lock().unwrap().drain(..) {
            sender.send(()).unwrap();
        }
    }

    /// How often each key is reported on up to the end of a round.
    async fn round(&mut self) -> BTreeMap<String, usize> {
        let heard = self.bench.round().await.sources;
        heard.into_iter().map(|(key, outcomes)| (key, outcomes.len())).collect()
    }
}

fn counts(keys: &[&str]) -> BTreeMap<String, usize> {
    keys.iter().map(|key| ((*key).to_owned(), 1)).collect()
}

const NEVER: Duration = Duration::from_secs(3600);
/// Long enough that nothing is asked again by itself, and the next failure in a row waits longer.
const SHORT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn all_is_asked_and_reported_and_the_round_ends() {
    let mut bench = Scripted::new(&["a", "b"], NEVER);
    assert_eq!(bench.asked().await, ["a", "b"]);
    bench.answer();
    assert_eq!(bench.round().await, counts(&["a", "b"]));

    bench.bench.want(demand(&["a", "b", "c"]));
    assert_eq!(bench.asked().await, ["c"]);
    bench.answer();
    assert_eq!(bench.round().await, counts(&["c"]));

    bench.bench.end().await;
}

#[tokio::test]
async fn no_more_than_sixteen_are_asked_at_once() {
    let names: Vec<String> = (10..50).map(|i| format!("n{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Scripted::new(&names, NEVER);
    let mut answered = 0;
    while answered < names.len() {
        let asked = bench.asked().await.len();
        assert!(asked <= AT_ONCE, "{asked}");
        answered += asked;
        bench.answer();
    }
    assert_eq!(bench.round().await, counts(&names));
}

#[tokio::test]
async fn a_poll_asks_for_everything() {
    let mut bench = Scripted::new(&["a", "b"], NEVER);
    bench.asked().await;
    bench.answer();
    bench.round().await;
    bench.bench.poll().await;
    assert_eq!(bench.asked().await, ["a", "b"]);
    bench.answer();
    assert_eq!(bench.round().await, counts(&["a", "b"]));
}

#[tokio::test]
async fn a_poll_forgets_failures() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (asked, changed): (Asked, _) = Default::default();
    let script = Script { asked, wait: SHORT, changed, failures: Some(Arc::clone(&failures)) };
    let mut bench = Scripted::of(script, &["a"]);
    for poll in 0..4 {
        if poll > 0 {
            bench.bench.poll().await;
        }
        assert_eq!(bench.asked().await, ["a"]);
        bench.answer();
        bench.round().await;
    }
    assert_eq!(*failures.lock().unwrap(), [SHORT; 4], "each is the first");
}

#[tokio::test]
async fn a_poll_of_nothing_ends_too() {
    let mut bench = Scripted::new(&[], NEVER);
    bench.bench.poll().await;
    assert_eq!(bench.round().await, counts(&[]));
}

#[tokio::test]
async fn what_is_due_is_asked_again() {
    let mut bench = Scripted::new(&["a"], Duration::from_millis(5));
    for _ in 0..3 {
        assert_eq!(bench.asked().await, ["a"]);
        bench.answer();
        assert_eq!(bench.round().await, counts(&["a"]));
    }
}

#[tokio::test]
async fn one_that_does_not_answer_does_not_hold_up_the_others() {
    let mut bench = Scripted::new(&["a", "slow"], Duration::from_millis(5));
    bench.asked().await;
    let slow = bench.asked.lock().unwrap().remove(1);
    for _ in 0..3 {
        assert_eq!(bench.asked().await, ["a"]);
        bench.answer();
        let reports = bench.bench.reports().await;
        assert!(matches!(&reports[..], [Report::Source { key, .. }] if key.value() == "a"));
    }
    slow.1.send(()).unwrap();
    let reports = bench.bench.reports().await;
    assert!(matches!(&reports[..], [Report::Source { key, .. }] if key.value() == "slow"));
}

#[tokio::test]
async fn a_changed_file_makes_its_key_due() {
    let mut bench = Scripted::new(&["a", "b"], NEVER);
    bench.asked().await;
    bench.answer();
    bench.round().await;
    bench.changed.lock().unwrap().insert("b".to_owned());
    assert_eq!(bench.asked().await, ["b"]);
}

#[tokio::test]
async fn an_inventory_is_empty() {
    let bench = Scripted::new(&[], NEVER);
    let (sender, receiver) = oneshot::channel();
    bench.bench.commands.send(Command::Inventory(sender)).await.unwrap();
    assert_eq!(receiver.await.unwrap(), Ok(Inventory::default()));
}

#[test]
fn jitter_is_a_tenth() {
    let poll = Duration::from_secs(100);
    let waits: BTreeSet<Duration> = (0..100).map(|_| jittered(poll)).collect();
    assert!(waits.len() > 50);
    assert!(waits.iter().all(|wait| (90..=110).contains(&wait.as_secs())), "{waits:?}");
    assert!(jittered(Duration::MAX) < Duration::MAX);
}
