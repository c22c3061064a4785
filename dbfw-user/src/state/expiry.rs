//! The clock by which sources end, watched for steps, and the sources that have ended for good.
//!
//! Pure but for [`Reading::now`].

use std::{collections::BTreeSet, time::Duration};

use dbfw_core::source::{Origin, SourceKey, TrustedSource};
use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A difference of the two clocks from one look to the next that is a step. Slewing a clock
/// moves it by less in the second between two looks.
const STEP: SignedDuration = SignedDuration::from_millis(500);

/// Time a clock has to run without a step before it ends sources for good.
const STEADY: Duration = Duration::from_secs(600);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// CLOCK_REALTIME: the time of day, which somebody may set.
    pub(crate) wall: Timestamp,
    /// CLOCK_BOOTTIME: the time since the boot, which nobody can set.
    pub(crate) boot: Duration,
}

impl Reading {
    /// The clocks now.
    pub(crate) fn now() -> Self {
        // Every Linux that runs the programs has this clock.
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self { wall: Timestamp::now(), boot }
    }
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The wall clock at the start of the agent, as the clock went before the step.
    started: Timestamp,
    /// The wall clock just before the step.
    before: Timestamp,
    /// The distance of the step.
    by: SignedDuration,
}

impl Step {
    /// Returns the distance of the step.
    pub(crate) fn by(&self) -> SignedDuration {
        self.by
    }

    /// Moves a moment that the stepped clock told, so that it is as long ago as before. Moments
    /// of an earlier run are left: another clock told them.
    pub(crate) fn adjust(&self, at: &mut Timestamp) {
        if (self.started..=self.before).contains(at) {
            *at = at.saturating_add(self.by).unwrap_or(*at);
        }
    }
}

/// A source that has ended for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Ended {
    database: String,
    origin: Origin,
    source: SourceKey,
    expires_at: Timestamp,
}

/// The judge of what has ended.
#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    started: Timestamp,
    last: Reading,
    steady_since: Duration,
    was_steady: bool,
    /// A moment of an earlier run that this clock has not come to, and when that was learned.
    floor: Option<(Timestamp, Duration)>,
    ended: BTreeSet<Ended>,
}

impl Expiry {
    /// A judge that knows of no earlier run.
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            started: reading.wall,
            last: reading,
            steady_since: reading.boot,
            was_steady: false,
            floor: None,
            ended: BTreeSet::new(),
        }
    }

    /// Takes over what an earlier run knew: its last moment, and what had ended for good. A
    /// clock that is behind that moment is wrong, and lets nobody in whose time was over then.
    pub(crate) fn restore(&mut self, last_moment: Timestamp, ended: BTreeSet<Ended>) {
        self.floor = (last_moment > self.last.wall).then_some((last_moment, self.last.boot));
        self.ended = ended;
    }

    /// Compares the clocks. A step, also one of nothing, means that every expiry has to be
    /// judged again.
    pub(crate) fn look(&mut self, reading: Reading) -> Option<Step> {
        let passed = signed(reading.boot.saturating_sub(self.last.boot));
        let before = self.last.wall.saturating_add(passed).unwrap_or(self.last.wall);
        let by = reading.wall.duration_since(before);
        self.last = reading;
        if by.abs() >= STEP {
            let step = Step { started: self.started, before, by };
            self.started = self.started.saturating_add(by).unwrap_or(self.started);
            (self.steady_since, self.was_steady) = (reading.boot, false);
            self.lift_floor(reading);
            return Some(step);
        }
        let lifted = self.lift_floor(reading);
        lifted.then_some(Step { started: self.started, before, by: SignedDuration::ZERO })
    }

    /// Lets go of the earlier run's last moment once the clock has come to it, or has gone
    /// steadily for so long that it is the better witness.
    fn lift_floor(&mut self, reading: Reading) -> bool {
        let Some((at, learned)) = self.floor else { return false };
        let reached = reading.wall >= later(at, reading.boot.saturating_sub(learned));
        let lifted = reached || self.is_steady_at(reading);
        if lifted {
            self.floor = None;
        }
        lifted
    }

    fn is_steady_at(&self, reading: Reading) -> bool {
        reading.boot.saturating_sub(self.steady_since) >= STEADY
    }

    /// Whether the clock has gone without a step for ten minutes.
    pub(crate) fn is_steady(&self) -> bool {
        self.is_steady_at(self.last)
    }

    /// Whether the clock has become steady since this was last asked.
    pub(crate) fn became_steady(&mut self) -> bool {
        let is_steady = self.is_steady();
        is_steady && !std::mem::replace(&mut self.was_steady, is_steady)
    }

    /// The moment of the last look, which expiries are compared with: never before the last one of
    /// an earlier run, while this clock has not proved better.
    pub(crate) fn now(&self) -> Timestamp {
        self.at(self.last)
    }

    fn at(&self, reading: Reading) -> Timestamp {
        self.floor.map_or(reading.wall, |(at, learned)| {
            reading.wall.max(later(at, reading.boot.saturating_sub(learned)))
        })
    }

    /// Whether a source has ended for good, whatever the clock says.
    pub(crate) fn has_ended(
        &self,
        database: &str,
        origin: &Origin,
        source: &TrustedSource,
    ) -> bool {
        // Hardly any source has an end, and a key is a copy.
        !self.ended.is_empty()
            && ended(database, origin, source).is_some_and(|ended| self.ended.contains(&ended))
    }

    /// Ends for good what is over by a steady clock, among the sources that are `written`.
    /// Forgets what is written no more, unless `is_unknown` says that its database's list
    /// cannot be read.
    pub(crate) fn end<'s>(
        &mut self,
        written: impl Iterator<Item = (&'s str, Origin, &'s TrustedSource)>,
        is_unknown: impl Fn(&str) -> bool,
    ) {
        let (now, is_steady) = (self.at(self.last), self.is_steady());
        let with_end = written.filter_map(|(name, origin, source)| ended(name, &origin, source));
        let over = with_end
            .filter(|source| self.ended.contains(source) || (is_steady && source.expires_at <= now))
            .collect::<BTreeSet<Ended>>();
        self.ended.retain(|source| is_unknown(&source.database));
        self.ended.extend(over);
    }

    /// The sources that have ended for good, for the next run.
    pub(crate) fn ended(&self) -> &BTreeSet<Ended> {
        &self.ended
    }
}

fn ended(database: &str, origin: &Origin, source: &TrustedSource) -> Option<Ended> {
    let expires_at = source.expires_at?;
    let (database, origin) = (database.to_owned(), origin.clone());
    Some(Ended { database, origin, source: source.key().clone(), expires_at })
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 31_536_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// Clocks `boot` seconds after the start, the wall clock off by `off`.
    fn reading(boot: u64, off: i64) -> Reading {
        Reading { wall: at(boot as i64 + off), boot: Duration::from_secs(1000 + boot) }
    }

    fn source(expires_in: i64) -> TrustedSource {
        let mut source: TrustedSource = "ip_addr:192.0.2.1".parse().unwrap();
        source.expires_at = Some(at(expires_in));
        source
    }

    /// A judge that has looked every second until `boot`.
    fn looked(boot: u64, off: impl Fn(u64) -> i64) -> (Expiry, Vec<i64>) {
        let mut expiry = Expiry::new(reading(0, off(0)));
        let steps = (1..=boot).filter_map(|second| expiry.look(reading(second, off(second))));
        let steps = steps.map(|step| step.by().as_secs()).collect();
        (expiry, steps)
    }

    fn end(expiry: &mut Expiry, source: &TrustedSource) -> bool {
        expiry.end([("a", Origin::Config, source)].into_iter(), |_| false);
        expiry.has_ended("a", &Origin::Config, source)
    }

    #[test]
    fn a_step_is_told_in_either_direction_and_a_slew_is_none() {
        for off in [YEAR, -YEAR, 2, -2, 3600] {
            let (_, steps) = looked(20, |second| if second < 10 { 0 } else { off });
            assert_eq!(steps, [off]);
            let back = |second| if (5..8).contains(&second) { off } else { 0 };
            assert_eq!(looked(20, back).1, [off, -off]);
        }
        let mut expiry = Expiry::new(reading(0, 0));
        for second in 1..1000_u64 {
            let mut slewed = reading(second, 0);
            slewed.wall += SignedDuration::from_millis(80 * second as i64);
            assert_eq!(expiry.look(slewed), None);
        }
        // Suspended for a day: both clocks went on.
        assert_eq!(expiry.look(Reading { ..reading(86_400, 80) }), None);
    }

    #[test]
    fn nothing_ends_for_good_by_a_clock_that_was_just_set() {
        for off in [YEAR, -YEAR] {
            let set = |second: u64| if second < 3600 { 0 } else { off };
            let mut ahead = source(YEAR / 2);
            let (mut expiry, _) = looked(3600 + 599, set);
            assert!(!end(&mut expiry, &ahead), "{off}");
            let (mut expiry, _) = looked(3600 + 600, set);
            assert_eq!(end(&mut expiry, &ahead), off > 0);
            // It stays ended when the clock is right again, and a new end is a new source.
            expiry.look(reading(5000, 0));
            assert_eq!(end(&mut expiry, &ahead), off > 0);
            ahead.expires_at = Some(at(YEAR));
            assert!(!end(&mut expiry, &ahead));
        }
    }

    #[test]
    fn what_is_written_no_more_is_forgotten_unless_its_list_cannot_be_read() {
        let (mut expiry, _) = looked(700, |_| 0);
        let over = source(1);
        assert!(end(&mut expiry, &over));
        expiry.end(std::iter::empty(), |database| database == "a");
        assert!(expiry.has_ended("a", &Origin::Config, &over));
        expiry.end(std::iter::empty(), |_| false);
        assert!(!expiry.has_ended("a", &Origin::Config, &over));
    }

    #[test]
    fn a_boot_with_a_clock_that_is_behind_goes_on_from_the_last_moment() {
        for behind in [-10, -3600, -50 * YEAR] {
            let mut expiry = Expiry::new(reading(0, behind));
            expiry.restore(at(0), BTreeSet::new());
            assert_eq!(expiry.at(reading(0, behind)), at(0));
            assert_eq!(expiry.at(reading(60, behind)), at(60));
            expiry.look(reading(60, behind));
            // The clock is set: that is a step, and it is what counts from now on.
            let step = expiry.look(reading(61, 100)).unwrap();
            assert_eq!(step.by().as_secs(), 100 - behind);
            assert_eq!(expiry.at(reading(62, 100)), at(162));
        }
        // A moment that was wrong itself counts until the clock has proved better.
        let mut expiry = Expiry::new(reading(0, 0));
        expiry.restore(at(YEAR), BTreeSet::new());
        assert_eq!((1..600).find_map(|second| expiry.look(reading(second, 0))), None);
        assert_eq!(expiry.at(reading(599, 0)), at(YEAR + 599));
        assert_eq!(expiry.look(reading(600, 0)).unwrap().by(), SignedDuration::ZERO);
        assert_eq!(expiry.at(reading(600, 0)), at(600));
    }

    #[test]
    fn ages_stay_what_they_were() {
        for by in [YEAR, -YEAR] {
            let mut expiry = Expiry::new(reading(0, 0));
            expiry.look(reading(100, 0));
            let step = expiry.look(reading(101, by)).unwrap();
            let [mut earlier_run, mut this_run, mut future] = [at(-50), at(40), at(500)];
            for moment in [&mut earlier_run, &mut this_run, &mut future] {
                step.adjust(moment);
            }
            assert_eq!([earlier_run, this_run, future], [at(-50), at(40 + by), at(500)]);
            // Again, in the clock's new terms.
            let step = expiry.look(reading(102, 0)).unwrap();
            step.adjust(&mut this_run);
            assert_eq!(this_run, at(40));
        }
    }
}
