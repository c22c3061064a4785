//! The cases: what has to hold while something is wrong, and after.

use std::time::{Duration, Instant};

use dbfw_tests::{
    pair::STRANGER4,
    provider_server::Fault,
    traffic::{SILENCE, round_trip},
};

use super::{
    super::common::PATIENCE,
    CLIENT,
    table::{Effect, Trouble, effect},
    world::{GONE_AFTER, POLLS, World, open},
};

/// A server that says 429 and not until when is left alone for a minute.
const UNSAID: Duration = Duration::from_secs(60);

/// What vanished and came back so often is held when it vanishes once more.
const RETURNS: usize = 2;

impl World<'_> {
    /// One case of the matrix.
    pub(super) fn suffer(&mut self, mut trouble: Trouble) {
        if let Trouble::Answer(Fault::RedirectTo(url) | Fault::NextTo(url)) = &mut trouble {
            *url = self.elsewhere.url();
        }
        let trouble = &trouble;
        (self.polls, self.patience) =
            if trouble.is_long() { (1, UNSAID + PATIENCE) } else { (POLLS, PATIENCE) };
        self.case = format!("{} x {trouble}", self.setting.target.name());
        match effect(self.setting, trouble) {
            Effect::Kept(causes) => self.keeps(trouble, causes),
            Effect::Goes => self.goes(trouble),
            Effect::Guarded => self.is_guarded(trouble),
            Effect::Harmless => self.is_unharmed(trouble),
        }
        assert!(!self.kernel.admits("orders", STRANGER4), "{}: the stranger is in", self.case);
    }

    fn keeps(&mut self, trouble: &Trouble, causes: &[&str]) {
        let before = self.told.counters(&self.host);
        self.begin(trouble);
        self.until("the cause to be told", |world| {
            world.look_for_whole();
            world.is_time_to_ask() && world.is_met(trouble, &before, causes) && world.tells(trouble)
        });
        if trouble.spares_others() {
            self.others_go_on();
        }
        self.look_for_whole();
        self.end(trouble);
        self.recovers();
    }

    fn goes(&mut self, trouble: &Trouble) {
        if self.gone == RETURNS {
            self.restart();
        }
        self.gone += 1;
        let rest = self.estate.rest().clone();
        let begun = Instant::now();
        self.begin(trouble);
        self.until("the gone to be believed", |world| {
            let trusted = world.look();
            let after = begun.elapsed();
            let lost: Vec<&String> = rest.difference(&trusted).collect();
            assert!(lost.is_empty(), "{}: {lost:?} went too\n{}", world.case, world.log());
            let fewer = trusted != world.all;
            assert!(
                !fewer || after >= GONE_AFTER,
                "{}: only {trusted:?} after {after:?}, of {:?}\n{}",
                world.case,
                world.all,
                world.log()
            );
            if !fewer {
                let answered = round_trip(&mut world.client, SILENCE);
                let trusted = world.kernel.trusted("orders");
                assert!(answered.is_ok() || trusted != world.all, "{}: no answer", world.case);
            }
            trusted == rest
        });
        assert!(round_trip(&mut self.client, SILENCE).is_err(), "{}: not cut", self.case);
        assert!(!self.pair.reaches(CLIENT), "{}: let in", self.case);
        self.until("it to be told that it is gone", |world| {
            assert_eq!(world.look(), rest, "{}", world.case);
            world.is_time_to_ask() && world.tells_gone(trouble)
        });
        self.others_go_on();
        self.end(trouble);
        let all = self.all.clone();
        self.until("it to be back", |world| world.look() == all);
        self.client = open(&self.pair.clients, true);
        self.recovers();
    }

    fn is_guarded(&mut self, trouble: &Trouble) {
        self.begin(trouble);
        self.until("the guard to say so", |world| {
            world.look_for_whole();
            if !world.is_time_to_ask() {
                return false;
            }
            let counters = world.told.counters(&world.host);
            let status = world.told.status(&world.host);
            let database = status.orders();
            let error = database["provider"]["error"].as_str().unwrap_or_default();
            counters.gauge("dbfw_refused_plans", "orders") == Some(1.0)
                && database["provider"]["state"] == "refused"
                && database["refused"]["guard"] == "on_empty"
                && !error.is_empty()
                && trouble.is_named_in(error)
                && database["refused"]["lost_total"]
                    == world.estate.subject().values().flatten().count()
        });
        self.others_go_on();
        let until = Instant::now() + GONE_AFTER / 2;
        while Instant::now() < until {
            self.look_for_whole();
        }
        self.end(trouble);
        self.recovers();
    }

    fn is_unharmed(&mut self, trouble: &Trouble) {
        self.begin(trouble);
        self.until("it to be met", |world| {
            world.look_for_whole();
            world.hits() >= world.polls
        });
        self.others_go_on();
        assert!(self.is_fine(), "{}: {:?}", self.case, self.told.status(&self.host));
        self.end(trouble);
        self.recovers();
    }

    /// The list of the other database changes, and the kernel follows.
    fn others_go_on(&mut self) {
        self.added += 1;
        let address = format!("192.0.2.{}", self.added);
        self.server.account(|account| account.add_rule("ledger", "ip_addr", &address));
        let prefix = format!("{address}/32");
        self.until("the other database to follow its list", |world| {
            world.look();
            world.kernel.trusted("ledger").contains(&prefix)
        });
    }

    pub(super) fn recovers(&mut self) {
        self.until("everything to be well again", |world| {
            world.look_for_whole();
            world.is_time_to_ask() && world.is_fine()
        });
    }
}
