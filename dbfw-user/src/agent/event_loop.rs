//! The loop: one event after the other, then the kernel follows.

use std::{collections::BTreeSet, future::pending, io, path::Path, pin::pin, time::Duration};

use anyhow::Context as _;
use dbfw_common::Mode;
use dbfw_core::{source::Origin, toml::Problems, trust::Decision};
use dbfw_provider::worker::{Account, Report};
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Agent,
    audit::AuditLook,
    connection_watch::Observed,
    disk::Written,
    kernel::Applied,
    openings::Openings,
    process,
    requests::{
        by_hand,
        reload::{reload_from_disk, take_good_files},
        status::scrape,
        trial,
    },
    trust::{Confirmed, Learned},
    usage::{UsageError, UsageReading},
};
use crate::{
    config::{Config, DatabaseConfig},
    control::server::Call,
    metrics::Scrape,
    protection::Protection,
    readers::drops::Names,
    state::{
        expiry::{Reading, Step},
        local::LocalChange,
        trial::TrialRecord,
    },
    traffic::drops::Clock,
};

/// Time between two readings of protection from the kernel.
const TICK: Duration = Duration::from_secs(1);

/// Longest wait of a start or a reload for lists in files.
const FILES_PATIENCE: Duration = Duration::from_secs(10);

/// Time that writing the record of a trial may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that can wake the loop.
#[derive(Debug)]
enum Event {
    /// A second has passed: protection is read back from the kernel.
    Tick,
    /// A trusted source has expired.
    Expiry,
    /// A worker reports.
    Learned(Account, Vec<Report>),
    /// Interfaces or their addresses came, went or changed.
    Links,
    /// The kernel wrote drop events.
    Drops,
    /// A change of the sources added by hand was written, or not.
    LocalSaved(LocalChange, anyhow::Result<()>),
    /// The snapshot, the configuration or the refused sources were written, or not.
    Written(Written),
    /// The use of the sources was read and written, or not.
    UsageRead(Result<UsageReading, UsageError>),
    /// A look for a saved audit has ended.
    AuditLooked(AuditLook),
    /// The configuration's files were read again.
    FilesRead(Box<Result<Config, Problems>>),
    /// SIGHUP.
    Reload,
    /// A request over the control socket.
    Call(Call),
    /// A scrape of the metrics.
    Scrape(oneshot::Sender<Scrape>),
    /// SIGTERM or SIGINT.
    Shutdown,
}

/// The channels through which other tasks wake the loop.
pub(super) struct Inbox {
    pub(super) links: mpsc::Receiver<()>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) scrapes: mpsc::Receiver<oneshot::Sender<Scrape>>,
}

impl Agent {
    /// Handles events until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// A signal cannot be caught.
    pub(super) async fn run(&mut self, mut inbox: Inbox) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !self.readiness.is_announced() {
                let protection = self.protection();
                self.readiness.announce(&protection);
                if self.readiness.is_announced() {
                    process::release_code();
                }
            }
            if !self.disk.save_failed() {
                self.begin_save();
            }
            if !self.disk.configuration_failed() {
                self.begin_save_configuration();
            }
            let event = tokio::select! {
                _ = terminate.recv() => Event::Shutdown,
                _ = interrupt.recv() => Event::Shutdown,
                _ = hangup.recv() => Event::Reload,
                Some(()) = inbox.links.recv() => Event::Links,
                (account, reports) = self.workers.reports() => Event::Learned(account, reports),
                () = until(self.kernel.next_expiry()) => Event::Expiry,
                _ = ticks.tick() => Event::Tick,
                Some(call) = inbox.calls.recv() => Event::Call(call),
                Some(reply) = inbox.scrapes.recv() => Event::Scrape(reply),
                () = self.kernel.has_events() => Event::Drops,
                written = self.disk.written() => Event::Written(written),
                read = self.usage.read() => Event::UsageRead(read),
                look = self.audit.looked() => Event::AuditLooked(look),
                found = self.files.files_read() => Event::FilesRead(found.into()),
                (change, result) = self.trust.local_mut().saved() => {
                    Event::LocalSaved(change, result)
                }
            };
            if matches!(event, Event::Shutdown) {
                trial::end_at_stop(self).await;
                by_hand::finish_all(self).await;
                return Ok(());
            }
            self.handle(event).await;
            if self.must_converge
                && let Err(error) = self.converge()
            {
                tracing::debug!(%error, "will retry within a second");
            }
            self.tell_control_plane();
        }
    }

    async fn handle(&mut self, event: Event) {
        // Before anything is judged by a clock that was set since the last event.
        if let Some(step) = self.trust.follow_clock(Reading::now()) {
            self.clock_stepped(step);
        }
        match event {
            Event::Tick => self.tick().await,
            Event::Expiry => self.expire(),
            Event::Learned(account, reports) => {
                self.learn(account, reports);
                // All that is waiting at once: one change for the kernel.
                while let Some((account, reports)) = self.workers.try_reports() {
                    self.learn(account, reports);
                }
            }
            Event::Written(written) => self.written(written),
            Event::UsageRead(result) => self.usage.saved(result),
            Event::AuditLooked(look) => self.audit.take(look),
            Event::LocalSaved(change, result) => by_hand::saved(self, change, result),
            Event::Links => {
                self.kernel.look_at_interfaces(&self.config.agent).await;
                self.kernel.follow_own_addresses().await;
            }
            Event::Drops => self.take_drops(),
            Event::FilesRead(found) => {
                if let Some(config) = self.files.found(*found, &self.config) {
                    take_good_files(self, config).await;
                }
            }
            Event::Reload => reload_from_disk(self, "SIGHUP").await,
            Event::Call(call) => self.answer(call).await,
            Event::Scrape(reply) => {
                // Fails only if the client is gone.
                let _ = reply.send(scrape(self));
            }
            Event::Shutdown => {}
        }
    }

    async fn tick(&mut self) {
        self.verify().await;
        self.kernel.follow_own_addresses().await;
        self.kernel.remove_other_versions(&self.config.agent);
        // A save that failed is retried once a tick.
        self.begin_save();
        self.begin_save_configuration();
        self.readiness.heartbeat();
        if self.trust.age(&self.config) {
            self.reevaluate_all(None);
        }
        if self.trust.is_clock_steady() {
            self.traffic.age(self.trust.now());
        }
        self.watch_connections().await;
        self.disk.save_refused(&self.config.agent.state_dir, self.traffic.refused_mut());
        self.usage.save(&self.config.agent.state_dir, &self.kernel, self.trust.now());
        self.audit.begin_look(&self.config.agent.state_dir);
        self.kernel.refill_events(self.config.agent.events_per_second);
        #[cfg(feature = "bpf-log")]
        self.kernel.flush_log();
        self.traffic.measure(self.kernel.dropped());
        // A clock that was set may have passed an expiry without the timer noticing.
        if self.kernel.next_expiry().is_some_and(|at| at <= self.trust.now()) {
            self.expire();
        }
        if self.trust.clock_became_steady() {
            self.trust.end_expired(&self.config);
        }
        self.must_converge |= self.kernel.apply_failed();
        self.trust.local_mut().retry();
        trial::end_if_over(self).await;
        self.files.begin_look();
        self.control_plane.tick();
    }

    /// Makes the workers and the kernel follow what is trusted now.
    ///
    /// # Errors
    /// The kernel refused the policy. The last one stays in force, and the status says why until
    /// a later call succeeds.
    pub(super) fn converge(&mut self) -> Result<Applied, String> {
        self.must_converge = false;
        self.follow_demand();
        let now = self.trust.now();
        let rules = |database: &DatabaseConfig| self.trust.rules(&database.name);
        let applied = self.kernel.apply(&self.config, now, rules)?;
        for (id, now) in &applied.freed_ids {
            self.traffic.free_id(*id, *now);
        }
        self.usage.slots_changed(&self.kernel, &applied.slots_before, now);
        let (before, after) = (&applied.before, self.kernel.policy());
        let author = |database: &str, origin: &Origin| self.trust.author(database, origin);
        let is_observed = |database: &&DatabaseConfig| database.mode == Mode::Observe;
        let observed = self.config.databases.iter().filter(is_observed);
        let observed = observed.map(|database| &*database.name).collect();
        let generation = self.kernel.generation();
        self.history.record_change(generation, before, after, now, &author, &observed);
        self.control_plane.read_back(&self.kernel, before);
        if applied.changed {
            self.disk.policy_changed();
        }
        Ok(applied)
    }

    /// Has the workers ask for what is wanted now, and nothing else.
    pub(super) fn follow_demand(&mut self) {
        let demands = self.trust.follow_demand(&self.config);
        self.workers.follow(&self.config, &demands);
    }

    /// Puts what is known of these databases in force, as far as the guards allow, with the
    /// refused plans in `confirmed`. The kernel follows with [`Self::converge`].
    pub(super) fn reevaluate<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        confirmed: Option<Confirmed<'_>>,
    ) {
        self.must_converge = true;
        let nothing = BTreeSet::new();
        let plans = confirmed.map_or(&nothing, |confirmed| confirmed.plans);
        for name in names {
            let mut databases = self.config.databases.iter();
            let Some(database) = databases.find(|database| database.name == name) else { continue };
            let decision = self.trust.reevaluate(&self.config, database, plans);
            if let Decision::Refused { guard, new: true } = &decision {
                self.sync.plan_refused(name, *guard);
            }
            let enforced = self.trust.enforced(name);
            let generation = self.kernel.generation();
            let by = confirmed.map(|confirmed| confirmed.by);
            let without_hook = self.kernel.without_hook(&self.config.agent);
            self.history.record_decision(
                generation,
                database,
                &decision,
                enforced,
                &without_hook,
                by,
            );
        }
    }

    /// [`Self::reevaluate`] for every database.
    pub(super) fn reevaluate_all(&mut self, confirmed: Option<Confirmed<'_>>) {
        let names: Vec<String> =
            self.config.databases.iter().map(|database| database.name.clone()).collect();
        self.reevaluate(names.iter().map(String::as_str), confirmed);
    }

    /// Takes in what a worker reports.
    fn learn(&mut self, account: Account, reports: Vec<Report>) {
        let Learned { databases, rounds } = self.trust.learn(&self.config, account, reports);
        if !databases.is_empty() {
            self.reevaluate(databases.iter().map(String::as_str), None);
        }
        for took in rounds {
            self.end_round(account, took);
        }
    }

    /// Ends a round over everything an account was asked for.
    fn end_round(&mut self, account: Account, took: Duration) {
        self.workers.round(account, took);
        if account != Account::Files {
            self.disk.answers_confirmed();
        }
        for database in self.trust.end_round(&self.config, account) {
            let outcome = self.trust.outcome(&self.config, &database);
            self.sync.finished(&database, took, outcome);
        }
    }

    /// Waits until every list in a file was read and taken in: at most [`FILES_PATIENCE`]. A list
    /// that was not read by then counts as soon as it is.
    pub(super) async fn read_files(&mut self) {
        self.trust.begin_reading(&self.config);
        let Some(mut done) = self.workers.refresh_files() else { return };
        let mut late = pin!(sleep(FILES_PATIENCE));
        loop {
            tokio::select! {
                biased;
                (account, reports) = self.workers.reports() => self.learn(account, reports),
                _ = &mut done => return,
                () = &mut late => {
                    tracing::warn!(
                        "reading the lists takes longer than {} s: going on without them",
                        FILES_PATIENCE.as_secs()
                    );
                    return;
                }
            }
        }
    }

    fn expire(&mut self) {
        self.trust.end_expired(&self.config);
        self.reevaluate_all(None);
    }

    /// Evaluates everything again after the clock was stepped.
    fn clock_stepped(&mut self, step: Step) {
        if step.by().is_zero() {
            tracing::info!("the clock ran steadily for ten minutes: expiries are judged by it");
        } else {
            tracing::warn!(
                "the clock was set by {:#}: every expiry is judged again, and nothing ends for \
                 good for ten minutes",
                step.by()
            );
        }
        step.adjust(&mut self.started_at);
        self.traffic.adjust_times(|at| step.adjust(at));
        self.usage.adjust_times(|at| step.adjust(at));
        self.expire();
    }

    pub(super) fn take_drops(&mut self) {
        let events = self.kernel.take_events();
        let Ok(clock) = Clock::read() else { return };
        let kernel = &self.kernel;
        let names = Names {
            database: &|id| kernel.database_name(id),
            interface: &|index| kernel.interface_name(index),
            clock,
        };
        self.traffic.record_drops(&events, &names);
    }

    /// Takes note of the refused sources that have connections.
    pub(super) async fn watch_connections(&mut self) {
        // Whose connection ended was refused before.
        self.take_drops();
        let (databases, now) = (&self.config.databases, self.trust.now());
        let observed = Observed::of(databases, self.kernel.policy(), now);
        self.connection_watch.tick(&observed, &mut self.traffic).await;
    }

    /// Reads everything back from the kernel, repairs what does not hold, and announces it.
    pub(super) async fn verify(&mut self) {
        self.kernel.verify(&self.config.agent).await;
        let protection = self.protection();
        self.readiness.follow(&protection);
        // While nothing is attached everything is open, and was told so.
        if !self.kernel.is_detached() {
            self.openings.follow(Openings::find(&self.config, &self.kernel));
        }
    }

    /// Whether the configuration is in force.
    pub(super) fn protection(&self) -> Protection {
        self.kernel.protection(&self.config.agent, self.files.degradation())
    }

    /// Begins to write the policy in force to disk, unless a write is under way or there is nothing
    /// new.
    fn begin_save(&mut self) {
        if self.disk.is_saving() || !self.disk.is_save_due() {
            return;
        }
        self.trust.note_ended(&self.config);
        let snapshot = self.trust.snapshot(
            self.kernel.generation(),
            self.kernel.slots().clone(),
            self.kernel.policy().databases(),
        );
        self.disk.begin_save(&self.config.agent.state_dir, snapshot);
    }

    /// Begins to write the configuration to disk once it was read back, unless a write is under way
    /// or there is nothing new. Until then it begins to note that what is on disk is older.
    fn begin_save_configuration(&mut self) {
        if self.disk.is_saving_configuration() || !self.files.are_unsaved() {
            return;
        }
        let state_dir = &self.config.agent.state_dir;
        if self.protection().ready().is_ok() {
            if let Some(unsaved) = self.files.take_unsaved(&self.config) {
                self.disk.begin_save_configuration(state_dir, unsaved);
            }
        } else if let Some(unsaved) = self.files.take_note(&self.config) {
            self.disk.begin_note(state_dir, unsaved);
        }
    }

    /// Notes whether something was written. Failure is reported and changes nothing else.
    pub(super) fn written(&mut self, written: Written) {
        match written {
            Written::Snapshot(result) => self.disk.saved(result),
            Written::Configuration(result) => {
                if !self.disk.configuration_saved(result) {
                    self.files.not_saved();
                }
            }
            Written::Note => {}
            Written::Refused(result) => {
                self.disk.refused_saved(result, self.traffic.refused_mut());
            }
        }
    }

    /// Writes the record of a trial, or removes it.
    ///
    /// # Errors
    /// The reason in words, with the file.
    pub(super) async fn write_trial(&mut self, record: Option<TrialRecord>) -> Result<(), String> {
        self.write_state(move |state_dir| match record {
            Some(record) => record.save(state_dir),
            None => TrialRecord::remove(state_dir),
        })
        .await
    }

    /// Writes what a start has to know of a trial, and waits for it: after what is being written
    /// now, which may write it as well.
    ///
    /// # Errors
    /// The reason in words, with the file of trials.
    pub(super) async fn write_state(
        &mut self,
        write: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let state_dir = self.config.agent.state_dir.clone();
        let shown = TrialRecord::path(&state_dir).display().to_string();
        let write = async {
            while self.disk.is_saving_configuration() {
                let written = self.disk.written().await;
                self.written(written);
            }
            tokio::task::spawn_blocking(move || write(&state_dir)).await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("cannot write {shown}: {error}")),
            Err(_) | Ok(Err(_)) => {
                Err(format!("{shown} could not be written within {} s", WRITE_TIMEOUT.as_secs()))
            }
        }
    }

    /// Leaves the policy in force and the refused sources on disk.
    pub(super) async fn finish_saves(&mut self) {
        self.watch_connections().await;
        let (databases, now) = (&self.config.databases, self.trust.now());
        let observed = Observed::of(databases, self.kernel.policy(), now);
        self.connection_watch.finish(&observed, &mut self.traffic).await;
        // A write that is under way may lack what has changed since it began.
        for _ in 0..2 {
            self.begin_save();
            self.begin_save_configuration();
            let state_dir = &self.config.agent.state_dir;
            self.disk.begin_save_refused(state_dir, self.traffic.refused_mut());
            while self.disk.is_writing() {
                let written = self.disk.written().await;
                self.written(written);
            }
        }
        let state_dir = &self.config.agent.state_dir;
        self.usage.finish(state_dir, &self.kernel, self.trust.now()).await;
    }
}

async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let left = at.duration_since(Timestamp::now());
            sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
        }
        None => pending().await,
    }
}
