//! The loop: one event after the other.

use std::{collections::BTreeSet, future::pending, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{event::Event, seen, start::status, state::Agent};
use crate::{
    control::server,
    datapath::Events,
    protection::Protection,
    provider::worker::{Account, Report},
    readers::drops::{self, Names},
    state::{
        expiry::{Reading, Step},
        snapshot::SnapshotError,
    },
    traffic::drops::Clock,
};

/// Time between two readings of protection from the kernel.
const TICK: Duration = Duration::from_secs(1);

/// Sources of the loop's events.
pub(super) struct Sources {
    pub(super) links: mpsc::Receiver<()>,
    pub(super) call_queue: mpsc::Receiver<server::Call>,
    pub(super) scrape_queue: mpsc::Receiver<oneshot::Sender<String>>,
    pub(super) said_ready: bool,
}

impl Agent {
    pub(super) async fn run(&mut self, mut sources: Sources) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.say_ready(&mut sources.said_ready);
            if self.snapshot_error.is_none() {
                self.begin_saving();
            }
            let event = tokio::select! {
                _ = terminate.recv() => Event::Shutdown,
                _ = interrupt.recv() => Event::Shutdown,
                _ = hangup.recv() => Event::Reload,
                Some(()) = sources.links.recv() => Event::Links,
                Some((account, reports)) = self.workers.reports.recv() => {
                    Event::Learned(account, reports)
                }
                () = until(self.next_expiry) => Event::Expiry,
                _ = ticks.tick() => Event::Tick,
                Some(call) = sources.call_queue.recv() => Event::Call(call),
                Some(reply) = sources.scrape_queue.recv() => Event::Scrape(reply),
                () = readable(self.events.as_ref()) => Event::Drops,
                result = saved(self.saving.as_mut()) => Event::Saved(result),
                (change, result) = self.local.saved() => Event::LocalSaved(change, result),
                result = seen::saved(self.saving_refused.as_mut()) => Event::RefusedSaved(result),
            };
            if matches!(event, Event::Shutdown) {
                self.finish_trust().await;
                return Ok(());
            }
            self.handle(event, &mut sources).await;
            if self.must_converge
                && let Err(error) = self.converge()
            {
                tracing::debug!(%error, "will retry within a second");
            }
        }
    }

    async fn handle(&mut self, event: Event, sources: &mut Sources) {
        // Before anything is judged by a clock that was set since the last event.
        if let Some(step) = self.expiry.look(Reading::now()) {
            self.clock_stepped(step);
        }
        match event {
            Event::Tick => self.tick(sources).await,
            Event::Expiry => self.expire(),
            Event::Learned(account, reports) => self.take_reports(account, reports),
            Event::Saved(result) => self.saved(result),
            Event::LocalSaved(change, result) => self.local_saved(change, result),
            Event::RefusedSaved(result) => self.refused_saved(result),
            Event::Links => {
                self.look_at_interfaces().await;
                self.own.follow(&mut self.datapath).await;
            }
            Event::Drops => self.take_drops(),
            Event::Reload => self.reload_from_disk("SIGHUP", sources).await,
            Event::Call(call) => self.answer(call).await,
            Event::Scrape(reply) => {
                // Fails only if the client is gone.
                let _ = reply.send(self.scrape());
            }
            Event::Shutdown => {}
        }
    }

    async fn tick(&mut self, sources: &mut Sources) {
        self.verify().await;
        self.own.follow(&mut self.datapath).await;
        self.retire_others();
        // After a failure once a tick, not in a circle.
        self.begin_saving();
        self.health.beat();
        // The loop got here: that is what the watchdog is to know.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        self.age();
        self.keep_refused_sources();
        self.refill_events();
        #[cfg(feature = "bpf-log")]
        self.datapath.flush_log();
        self.measure_rates();
        // A clock that was set may have passed an expiry without the timer noticing.
        if self.next_expiry.is_some_and(|at| at <= self.expiry.now()) {
            self.expire();
        }
        if self.expiry.became_steady() {
            self.end_what_is_over();
        }
        self.must_converge |= self.apply_error.is_some();
        if self.files.are_good_again() {
            self.reload_from_disk("agent", sources).await;
        }
    }

    /// Reloads without anybody who waits for an answer.
    async fn reload_from_disk(&mut self, by: &str, sources: &mut Sources) {
        // Ready was said once protection held, and is not said for a reload before that.
        if sources.said_ready {
            let _ = sd_notify::notify(&[
                NotifyState::Reloading,
                NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
            ]);
        }
        if let Err(error) = self.reload(&BTreeSet::new(), by).await {
            tracing::error!("{}", error.message);
        }
        if sources.said_ready {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
    }

    /// Takes in what was learned, all that is waiting in one go: one change for the kernel.
    fn take_reports(&mut self, account: Account, reports: Vec<Report>) {
        self.learn(account, reports);
        while let Ok((account, reports)) = self.workers.reports.try_recv() {
            self.learn(account, reports);
        }
    }

    fn expire(&mut self) {
        self.end_what_is_over();
        self.reevaluate_all(&BTreeSet::new());
    }

    /// Ends for good, on disk as well, what is over by a clock that can be believed.
    pub(super) fn end_what_is_over(&mut self) {
        self.note_ended();
        if self.expiry.is_steady() && !self.local.is_saving() {
            self.local.begin_sweep(self.expiry.now());
        }
    }

    /// Judges everything anew after the clock was stepped.
    fn clock_stepped(&mut self, step: Step) {
        if step.by().is_zero() {
            tracing::info!("the clock went steadily for ten minutes: expiries are judged by it");
        } else {
            tracing::warn!(
                "the clock was set by {:#}: every expiry is judged anew, and nothing ends for good \
                 for ten minutes",
                step.by()
            );
        }
        let adjust = |at: &mut Timestamp| step.adjust(at);
        adjust(&mut self.started_at);
        self.cache.move_moments(&adjust, self.expiry.now());
        self.lists.values_mut().for_each(|list| list.move_moments(&adjust));
        self.enforced.values_mut().for_each(|enforced| enforced.move_moments(&adjust));
        self.expire();
    }

    fn refill_events(&mut self) {
        if !std::mem::take(&mut self.events_seen) {
            return;
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let tokens = u64::from(self.config.agent.events_per_second).div_ceil(cpus as u64);
        if let Err(error) = self.datapath.refill_events(tokens) {
            tracing::warn!(%error, "cannot refill the budget of drop events");
        }
    }

    fn take_drops(&mut self) {
        let mut taken = Vec::new();
        if let Some(events) = &mut self.events {
            while let Some(event) = events.get_mut().next_event() {
                taken.push(event);
            }
        }
        if taken.is_empty() {
            return;
        }
        self.events_seen = true;
        if let Ok(clock) = Clock::read() {
            for event in &taken {
                self.top.add(event);
                if let Some(database) = self.database_name(event.database.into()) {
                    self.refused_sources.add(&database, event, &clock);
                }
            }
        }
        if self.follow.receiver_count() == 0 {
            return;
        }
        let Ok(clock) = Clock::read() else { return };
        let names = Names {
            database: &|id| self.database_name(id),
            interface: &|index| self.interface_name(index),
            clock,
        };
        for event in &taken {
            // Fails only if the followers just left.
            let _ = self.follow.send(drops::event(event, &names));
        }
    }

    /// Leaves the policy in force on disk.
    pub(super) async fn finish_saving(&mut self) {
        if self.saving.is_some() {
            let result = saved(self.saving.as_mut()).await;
            self.saved(result);
        }
        self.begin_saving();
        if self.saving.is_some() {
            let result = saved(self.saving.as_mut()).await;
            self.saved(result);
        }
    }

    /// Tells systemd, once, when protection was read back.
    fn say_ready(&self, said: &mut bool) {
        match self.protection().ready() {
            Ok(()) if !*said => {
                *said = true;
                self.health.beat();
                tracing::info!("ready: every covered interface is protected");
                let _ = sd_notify::notify(&[NotifyState::Ready]);
                status(&in_a_line(&self.protection()));
            }
            Err(reason) if !*said => status(&format!("not protected: {reason}")),
            _ => {}
        }
    }
}

/// For `systemctl status`, once the agent is ready.
pub(super) fn in_a_line(protection: &Protection) -> String {
    match protection {
        Protection::Degraded(degradations) => {
            let reasons: Vec<_> = degradations.iter().map(ToString::to_string).collect();
            format!("protecting, degraded: {}", reasons.join("; "))
        }
        protection => match protection.ready() {
            Ok(()) => "protecting".to_owned(),
            Err(reason) => format!("not protected: {reason}"),
        },
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

async fn readable(events: Option<&AsyncFd<Events>>) {
    match events {
        Some(events) => {
            if let Ok(mut guard) = events.readable().await {
                guard.clear_ready();
            }
        }
        None => pending().await,
    }
}

async fn saved(
    saving: Option<&mut JoinHandle<Result<(), SnapshotError>>>,
) -> Result<(), SnapshotError> {
    match saving {
        Some(saving) => {
            saving.await.unwrap_or_else(|error| Err(SnapshotError::Lost(error.to_string())))
        }
        None => pending().await,
    }
}
