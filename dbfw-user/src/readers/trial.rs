//! A configuration on trial, as the next start finds it on disk.

use std::{io, path::Path};

use jiff::Timestamp;

use crate::{
    config::{self, ConfigFile},
    state::{
        files::ReadError,
        last_good::{LastGood, StoredCopy},
        trial::TrialRecord,
    },
};

/// The effect of the next start where a configuration was on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextStart {
    /// The effect in words, with the way to another one.
    pub(super) problem: String,
    /// Whether the start puts another configuration in force than the one that was on trial.
    pub(super) goes_back: bool,
}

impl NextStart {
    /// The next start as the state directory tells it; `None`: it is one like any other, or this
    /// process may not read it. `runs` says whether an agent runs now.
    pub(super) fn of(state_dir: &Path, runs: bool) -> Option<Self> {
        let saved = LastGood::load(state_dir).ok();
        let (record, error) = TrialRecord::of_start(state_dir, saved.as_ref(), Timestamp::now());
        match (record, error) {
            (_, Some(error)) if is_denied(&error) => None,
            (record, Some(error)) => Some(Self::of_damaged(record, &error)),
            (Some(record), None) => Self::of_record(record, saved.as_ref(), state_dir, runs),
            (None, None) => None,
        }
    }

    /// Of a record that cannot be used. `record` is what a start goes by instead.
    fn of_damaged(record: Option<TrialRecord>, error: &ReadError) -> Self {
        let effect = match record {
            Some(record) if !is_on_disk(&record.before.files) => format!(
                "a start uses the last good configuration, in force since {:.0}, not the files on \
                 disk: dbfw reload takes those",
                record.before.in_force_since
            ),
            Some(_) | None => "a start uses the files on disk".to_owned(),
        };
        Self { problem: format!("{error}: {effect}"), goes_back: false }
    }

    fn of_record(
        record: TrialRecord,
        saved: Option<&StoredCopy>,
        state_dir: &Path,
        runs: bool,
    ) -> Option<Self> {
        let ended_at = record.ended_at(saved);
        let TrialRecord { before, tried, is_in_force } = record;
        let is_before_on_disk = is_on_disk(&before.files);
        let before_is_good = config::parse(before.files.clone());
        let since = ended_at.unwrap_or(before.in_force_since);
        let Some(tried) = tried.filter(|_| ended_at.is_none()) else {
            let is_told = !is_before_on_disk && before_is_good.is_ok();
            let problem = format!(
                "the configuration on disk was on trial and not kept: a start uses the one before \
                 it, in force since {since:.0}; dbfw reload after that takes the files on disk"
            );
            return is_told.then_some(Self { problem, goes_back: false });
        };
        let was = if is_in_force { "was" } else { "may have been" };
        let Ok(former) = before_is_good else {
            let problem = format!(
                "a configuration {was} on trial, and the one before it is not good for this \
                 version: a start uses the files on disk, or the last good ones if those are bad"
            );
            return Some(Self { problem, goes_back: !is_on_disk(&tried) });
        };
        let mut problem = format!(
            "a configuration {was} on trial: a start goes back to the one before it, which was in \
             force since {since:.0}"
        );
        if let Ok(on_trial) = config::parse(tried.clone()) {
            let nothing = config::UnjudgedWays::default();
            let changes = config::changes(&on_trial, &former, [&nothing, &nothing]);
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            if !changes.is_empty() {
                problem.push_str(&format!(" ({})", changes.join("; ")));
            }
        }
        let path = TrialRecord::path(state_dir);
        let path = path.display();
        problem.push_str(&match (runs, is_on_disk(&tried)) {
            (true, _) => ". To keep it instead: dbfw reload --keep".to_owned(),
            (false, true) => {
                format!(". To keep it instead: rm {path}, then systemctl start dbfw")
            }
            (false, false) => format!(
                ". The files on disk are not those on trial: to keep it instead, put those back, \
                 then rm {path}, then systemctl start dbfw"
            ),
        });
        Some(Self { problem, goes_back: true })
    }
}

/// Whether these files are what a start reads.
fn is_on_disk(files: &[ConfigFile]) -> bool {
    let main = files.first().map(|file| config::load(&file.path));
    main.is_some_and(|found| found.is_ok_and(|config| config.files == files))
}

fn is_denied(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::testing::Site;

    fn last_good(site: &Site, second: i64, mode: &str) -> LastGood {
        let in_force_since = Timestamp::from_second(second).unwrap();
        LastGood { in_force_since, files: vec![site.file(mode)] }
    }

    /// The answer with a configuration of this mode on disk.
    fn told(site: &Site, mode: &str, runs: bool) -> Option<NextStart> {
        site.write(mode);
        NextStart::of(&site.state(), runs)
    }

    const OPENS: &str = "orders: enforce → observe: tcp/5432 is open to everyone";
    const ALL: [&str; 4] = ["enforce", "observe", "off", "bad"];

    #[test]
    fn without_a_trial_nothing_is_told() {
        let site = Site::new();
        last_good(&site, 7, "observe").save(&site.state()).unwrap();
        for mode in ALL {
            assert_eq!(told(&site, mode, false), None, "{mode}");
        }
    }

    #[test]
    fn a_trial_that_a_start_ends_is_told_with_the_way_to_keep_it() {
        let site = Site::new();
        last_good(&site, 7, "observe").save(&site.state()).unwrap();
        let since = Timestamp::from_second(7).unwrap();
        let record = TrialRecord::new(&site.config("observe"), since, &site.config("enforce"));
        for (is_in_force, was) in [(true, "was on trial"), (false, "may have been on trial")] {
            let record = TrialRecord::new(&site.config("observe"), since, &site.config("enforce"));
            TrialRecord { is_in_force, ..record }.save(&site.state()).unwrap();
            for mode in ALL {
                let NextStart { problem, goes_back } = told(&site, mode, false).unwrap();
                assert!(goes_back, "{mode}");
                for text in [was, "in force since 1970-01-01T00:00:07Z", OPENS, "trial.json"] {
                    assert!(problem.contains(text), "{mode}: {problem}");
                }
                let is_other = problem.contains("put those back");
                assert_eq!(is_other, mode != "enforce", "{mode}: {problem}");
                let running = told(&site, mode, true).unwrap().problem;
                assert!(running.contains("dbfw reload --keep"), "{running}");
                assert!(!running.contains("rm "), "{running}");
            }
        }
        // The copy tells that what was before is in force again.
        last_good(&site, 9, "observe").save(&site.state()).unwrap();
        record.save(&site.state()).unwrap();
        let told = told(&site, "enforce", false).unwrap();
        assert!(!told.goes_back, "{told:?}");
        assert!(told.problem.contains("in force since 1970-01-01T00:00:09Z"), "{told:?}");
    }

    #[test]
    fn an_ended_trial_is_told_while_other_files_are_on_disk() {
        let site = Site::new();
        TrialRecord::ended(last_good(&site, 7, "observe")).save(&site.state()).unwrap();
        for mode in ALL {
            let told = told(&site, mode, false).map(|told| (told.problem, told.goes_back));
            let expected = "the configuration on disk was on trial and not kept: a start uses the \
                            one before it, in force since 1970-01-01T00:00:07Z; dbfw reload after \
                            that takes the files on disk"
                .to_owned();
            assert_eq!(told, (mode != "observe").then_some((expected, false)), "{mode}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_used_is_told() {
        let site = Site::new();
        for saved in [false, true] {
            if saved {
                last_good(&site, 7, "observe").save(&site.state()).unwrap();
            }
            for (damage, mode) in [("", "enforce"), ("{}", "off"), ("null", "observe")] {
                fs::write(TrialRecord::path(&site.state()), damage).unwrap();
                let NextStart { problem, goes_back } = told(&site, mode, false).unwrap();
                assert!(problem.contains("trial.json cannot be used"), "{problem}");
                let uses_last_good = problem.contains("uses the last good configuration");
                assert_eq!(uses_last_good, saved && mode != "observe", "{mode}: {problem}");
                assert!(!goes_back);
            }
        }
    }
}
