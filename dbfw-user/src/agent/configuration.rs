//! The configuration's files as the agent sees them, and the copy of the last good ones that a
//! start with a bad file uses.

mod trial;

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use dbfw_core::toml::Problems;
use jiff::Timestamp;
use tokio::task::{JoinHandle, spawn_blocking};

pub(super) use self::trial::Trial;
use crate::{
    config::{self, Config},
    protection::{Degradation, first_of},
    state::{
        expiry::Reading,
        files::ReadError,
        last_good::{LastGood, StoredCopy},
        trial::TrialRecord,
    },
};

/// Pause before a file that is good, but could not be put in force, is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A bad file is read again at most every second, and at most a twentieth of the time.
const RETRY: Duration = Duration::from_millis(900);
const RETRY_SHARE: u32 = 20;

/// Longest pause, also after a look that hung.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The relation of the configuration in force to the files on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FilesState {
    /// It is what the files said when they were last read.
    Current,
    /// The last reload was refused: what was in force before it is in force.
    ReloadRefused,
    /// The files were bad when the agent started: the last good ones are in force.
    LastGood {
        /// The problems of the files on disk.
        bad: Problems,
    },
    /// The configuration on trial was kept, and the files on disk are others by then.
    KeptOther {
        /// The problems of the files on disk, if they are bad.
        bad: Option<Problems>,
    },
    /// The files were on trial and not kept: what was in force before is in force.
    TrialEnded {
        /// The problems of the files on disk, if they are bad.
        bad: Option<Problems>,
    },
}

/// A start without any configuration.
#[derive(Debug, thiserror::Error)]
#[error("{bad}\n{missing}")]
pub(super) struct NoConfiguration {
    #[source]
    bad: Problems,
    missing: String,
}

/// The copies that are still to be written of a configuration that is in force for good.
#[derive(Debug)]
pub(super) struct Unsaved {
    last_good: LastGood,
    /// Whether the files on disk were on trial and not kept.
    trial_ended: bool,
}

impl Unsaved {
    /// Writes the copy of the files, and what a start has to know of a trial. What cannot be
    /// written is told by the name of the copy before.
    ///
    /// # Errors
    ///
    /// The system's reason, and what a restart would do.
    pub(super) fn save(&self, state_dir: &Path) -> anyhow::Result<()> {
        let since = self.last_good.in_force_since;
        let copied = self.last_good.save(state_dir);
        let recorded = self.save_record(state_dir);
        if let Err(error) = copied {
            self.note(state_dir);
            return Err(anyhow!(
                "cannot write the configuration in force since {since:.0} to config.json: {error}; {}",
                without_copy(state_dir)
            ));
        }
        let record = TrialRecord::path(state_dir);
        recorded.map_err(|error| {
            let restart = if self.trial_ended {
                "a restart knows the configuration in force all the same"
            } else {
                "a restart goes back to the configuration before the trial"
            };
            anyhow!(
                "cannot write that no trial is under way: {error}; {restart} ({})",
                record.display()
            )
        })
    }

    /// Writes what is kept of a trial: both, or it goes on.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub(super) fn keep(&self, state_dir: &Path) -> io::Result<()> {
        self.last_good.save(state_dir)?;
        self.save_record(state_dir)
    }

    /// Has the name of the copy on disk tell that the configuration in force came after it. What
    /// fails is told when the copy is written.
    pub(super) fn note(&self, state_dir: &Path) {
        if let Err(error) = self.last_good.follow_copy(state_dir) {
            tracing::debug!(%error, "cannot rename the copy of the configuration before");
        }
    }

    /// A configuration without files that is in force since `since`.
    #[cfg(test)]
    pub(super) fn of_tests(since: Timestamp) -> Self {
        let last_good = LastGood { in_force_since: since, files: Vec::new() };
        Self { last_good, trial_ended: false }
    }

    fn save_record(&self, state_dir: &Path) -> io::Result<()> {
        if self.trial_ended {
            TrialRecord::ended(self.last_good.clone()).save(state_dir)
        } else {
            TrialRecord::remove(state_dir)
        }
    }
}

/// The configuration that a restart with a bad file uses, where the one in force is not on disk.
fn without_copy(state_dir: &Path) -> String {
    match LastGood::load(state_dir) {
        Ok(kept) => format!(
            "a restart with a bad file would use the configuration of {:.0}",
            kept.last_good.in_force_since
        ),
        Err(_) => "a restart with a bad file would have no configuration to use".to_owned(),
    }
}

/// A configuration to start with, and its files.
pub(super) struct Loaded {
    /// The configuration to put in force.
    pub(super) config: Config,
    /// The files it is from.
    pub(super) files: ConfigurationFiles,
    /// The problems of the copies in `state_dir`.
    pub(super) problems: Vec<String>,
    /// The configuration that was in force before this start.
    pub(super) former: FormerConfiguration,
}

/// The configuration that was in force before a start, as far as that is known.
pub(super) enum FormerConfiguration {
    /// The same, or nothing is known of it.
    Same,
    /// Another.
    Other(Config),
    /// Another, of which only since when it was in force is on disk, and the one before it.
    Unwritten {
        /// The one before it.
        before: Config,
        /// The moment since which it was in force.
        since: Timestamp,
    },
    /// One on trial: this start ends the trial.
    Tried {
        /// The configuration; `None`: it is not good for this version.
        tried: Option<Config>,
        /// Whether it is certain that it was in force: the agent may have ended before.
        is_certain: bool,
    },
}

/// The files of the configuration in force.
#[derive(Debug)]
pub(super) struct ConfigurationFiles {
    path: PathBuf,
    files_state: FilesState,
    in_force_since: Timestamp,
    /// Whether the configuration in force still has to be written to `state_dir`.
    unsaved: bool,
    /// Whether the copy on disk tells by its name that another is in force.
    noted: bool,
    trial: Option<Trial>,
    /// The look at the files that is under way.
    look: Option<JoinHandle<Result<Config, Problems>>>,
    look_begun: Instant,
    next_look: Instant,
    /// The reason why good files could not be put in force.
    not_taken: Option<String>,
}

impl ConfigurationFiles {
    /// Reads the files at `path`, or takes the last good ones where those are bad or were on trial
    /// and not kept.
    ///
    /// # Errors
    ///
    /// The files are bad, and there are no last good ones.
    pub(super) fn load(path: PathBuf) -> Result<Loaded, NoConfiguration> {
        let now = Timestamp::now();
        let read = config::load(&path);
        let agent = match &read {
            Ok(config) => config.agent.clone(),
            Err(_) => config::agent_section(&path),
        };
        let mut problems = Vec::new();
        let saved = LastGood::load(&agent.state_dir);
        let kept = saved.as_ref().ok();
        let (record, damage) = TrialRecord::of_start(&agent.state_dir, kept, now);
        let is_damaged = damage.is_some();
        problems.extend(damage.map(ReadError::set_aside));
        let was_recorded = record.is_some();
        let mut ended = None;
        if let Some(record) = record {
            let ended_at = record.ended_at(kept);
            let TrialRecord { before, tried, is_in_force } = record;
            let ends = tried.filter(|_| ended_at.is_none());
            ended = ends.map(|files| FormerConfiguration::Tried {
                tried: config::parse(files).ok(),
                is_certain: is_in_force,
            });
            if !read.as_ref().is_ok_and(|config| config.files == before.files) {
                let recorded = ended_at.unwrap_or(before.in_force_since);
                match config::parse(before.files) {
                    Ok(config) => {
                        let since = if ended.is_some() { now } else { recorded };
                        let unsaved = ended.is_some() || ended_at.is_some() || is_damaged;
                        let files_state = FilesState::TrialEnded { bad: read.err() };
                        return Ok(Loaded {
                            config,
                            files: Self::new(path, files_state, since, unsaved),
                            problems,
                            former: ended.unwrap_or(FormerConfiguration::Same),
                        });
                    }
                    Err(bad) => {
                        ended = None;
                        problems.push(format!(
                            "the configuration before the trial is not good for this version: {bad}"
                        ));
                    }
                }
            }
        }
        match read {
            Ok(config) => {
                let since = kept.and_then(|kept| kept.in_force_since(&config.files));
                let is_written = since.is_some() && kept.is_some_and(StoredCopy::is_current);
                let (since, former) = match (ended, since) {
                    (Some(tried), _) => (now, tried),
                    (None, Some(since)) => (since, FormerConfiguration::Same),
                    (None, None) => (now, former(saved, &mut problems)),
                };
                let unsaved = !is_written || was_recorded;
                let files = Self::new(path, FilesState::Current, since, unsaved);
                Ok(Loaded { config, files, problems, former })
            }
            Err(bad) => {
                let no_configuration =
                    |missing: String| NoConfiguration { bad: bad.clone(), missing };
                let kept = saved.map_err(|error| match error {
                    ReadError::Missing(_) => {
                        let directory = agent.state_dir.display();
                        no_configuration(format!(
                            "there is no last good configuration in {directory}"
                        ))
                    }
                    error => no_configuration(error.set_aside()),
                })?;
                let unsaved = !kept.is_current();
                let since = kept.in_force_since(&kept.last_good.files);
                if let (None, Some(successor)) = (since, &kept.successor) {
                    problems.push(format!(
                        "the configuration that came in force at {:.0} was not written to \
                         config.json: this start uses the one before it, of {:.0}",
                        successor.since, kept.last_good.in_force_since
                    ));
                }
                let config = config::parse(kept.last_good.files).map_err(|bad| {
                    no_configuration(format!(
                        "the last good configuration is not good for this version: {bad}"
                    ))
                })?;
                let files_state = FilesState::LastGood { bad };
                let files = Self::new(path, files_state, since.unwrap_or(now), unsaved);
                Ok(Loaded { config, files, problems, former: FormerConfiguration::Same })
            }
        }
    }

    fn new(
        path: PathBuf,
        files_state: FilesState,
        in_force_since: Timestamp,
        unsaved: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            path,
            files_state,
            in_force_since,
            unsaved,
            noted: false,
            trial: None,
            look: None,
            look_begun: now,
            next_look: now,
            not_taken: None,
        }
    }

    /// The main file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The relation of the configuration in force to the files.
    pub(super) fn files_state(&self) -> &FilesState {
        &self.files_state
    }

    /// The time since when the configuration in force is.
    pub(super) fn in_force_since(&self) -> Timestamp {
        self.in_force_since
    }

    /// Takes note that what the files say now is in force.
    pub(super) fn accepted(&mut self, same_text: bool, now: Timestamp) {
        if !same_text {
            self.in_force_since = now;
            (self.unsaved, self.noted) = (true, false);
        }
        self.files_state = FilesState::Current;
        (self.look, self.not_taken) = (None, None);
    }

    /// The trial of the configuration in force.
    pub(super) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Takes note that what the files say now is in force on trial until `deadline`. The way back
    /// is that of the first of several trials.
    pub(super) fn begin_trial(&mut self, before: Config, deadline: Duration, now: Timestamp) {
        let (before, since) = match self.trial.take() {
            Some(trial) => trial.into_before(),
            None => (before, self.in_force_since),
        };
        self.trial = Some(Trial::new(before, since, deadline));
        self.in_force_since = now;
        self.files_state = FilesState::Current;
        self.look = None;
    }

    /// Whether the files on disk were on trial and not kept.
    pub(super) fn trial_ended(&self) -> bool {
        matches!(self.files_state, FilesState::TrialEnded { .. })
    }

    /// The copies to write of `config`, which is on trial and is kept.
    pub(super) fn kept(&self, config: &Config) -> Unsaved {
        Unsaved { last_good: self.last_good(config), trial_ended: false }
    }

    /// The files of `config`, which is in force.
    fn last_good(&self, config: &Config) -> LastGood {
        LastGood { in_force_since: self.in_force_since, files: config.files.clone() }
    }

    /// The record that has to be on disk while `config` is in force; `None`: none may be.
    pub(super) fn trial_record(&self, config: &Config) -> Option<TrialRecord> {
        match &self.trial {
            Some(trial) => Some(trial.record_in_force(config)),
            None => self.trial_ended().then(|| TrialRecord::ended(self.last_good(config))),
        }
    }

    /// Takes note that what is on trial, `in_force`, stays. The files on disk were found to be
    /// `on_disk`; `None`: they could not be read in time.
    pub(super) fn keep_trial(
        &mut self,
        in_force: &Config,
        on_disk: Option<Result<Config, Problems>>,
    ) {
        self.trial = None;
        (self.unsaved, self.noted) = (true, false);
        self.look = None;
        self.files_state = match on_disk {
            Some(Ok(config)) if config.files == in_force.files => FilesState::Current,
            found => FilesState::KeptOther { bad: found.and_then(Result::err) },
        };
    }

    /// That the files on disk are not those that were kept, and what comes of it.
    pub(super) fn kept_other(&self) -> Option<String> {
        let is_other = matches!(self.files_state, FilesState::KeptOther { .. });
        self.degradation().filter(|_| is_other).map(|other| other.to_string())
    }

    /// Takes note that the configuration before the trial is in force again.
    pub(super) fn went_back(&mut self, now: Timestamp) {
        self.trial = None;
        // Of the files on disk nothing else is known than that they were tried.
        self.files_state = FilesState::TrialEnded { bad: None };
        self.in_force_since = now;
        (self.unsaved, self.noted) = (true, false);
    }

    /// Takes note that going back failed, and leaves some time until it is tried again. Returns
    /// whether it is the first time.
    pub(super) fn going_back_failed(&mut self, reading: Reading) -> bool {
        self.trial.as_mut().is_some_and(|trial| trial.going_back_failed(reading))
    }

    /// Takes note that a reload was refused; `bad` is what is wrong with the files, if they are.
    pub(super) fn refused(&mut self, bad: Option<Problems>) {
        if bad.is_none() && matches!(self.files_state, FilesState::LastGood { .. }) {
            self.next_look = Instant::now() + AFTER_REFUSAL;
        }
        // It began before the files were what was refused.
        self.look = None;
        match (&mut self.files_state, bad) {
            (FilesState::LastGood { bad: known }, Some(bad)) => *known = bad,
            (FilesState::TrialEnded { bad: known }, Some(bad)) => *known = Some(bad),
            (FilesState::LastGood { .. } | FilesState::TrialEnded { .. }, None) => {}
            (files_state, _) => *files_state = FilesState::ReloadRefused,
        }
    }

    /// Takes note of why good files could not be put in force. Returns whether that is another reason
    /// than before.
    pub(super) fn not_taken(&mut self, why: &str) -> bool {
        self.not_taken.replace(why.to_owned()).as_deref() != Some(why)
    }

    /// Begins to look, on another thread, whether the files are good again or what is in force,
    /// where they were not.
    pub(super) fn begin_look(&mut self) {
        let is_other = self.files_state != FilesState::Current;
        if is_other && self.look.is_none() && Instant::now() >= self.next_look {
            let path = self.path.clone();
            self.look_begun = Instant::now();
            self.look = Some(spawn_blocking(move || config::load(&path)));
        }
    }

    /// Waits until the files were looked at, for ever if they are not. Can be cancelled at any
    /// time.
    pub(super) async fn files_read(&mut self) -> Result<Config, Problems> {
        let Some(look) = &mut self.look else { return pending().await };
        let found = look.await;
        self.look = None;
        let took = self.look_begun.elapsed();
        self.next_look = Instant::now() + (took * RETRY_SHARE).clamp(RETRY, LONGEST_RETRY);
        match found {
            Ok(found) => found,
            // The runtime is ending.
            Err(_) => pending().await,
        }
    }

    /// Takes in what the files were found to be, `in_force` being what is. Returns the
    /// configuration that is to be put in force.
    pub(super) fn found(
        &mut self,
        found: Result<Config, Problems>,
        in_force: &Config,
    ) -> Option<Config> {
        match (&mut self.files_state, found) {
            (FilesState::LastGood { .. }, Ok(config)) => return Some(config),
            (FilesState::LastGood { bad }, Err(problems)) => *bad = problems,
            (_, Ok(config)) if config.files == in_force.files => {
                // The record of a trial goes.
                self.unsaved |= self.trial_ended();
                self.files_state = FilesState::Current;
                tracing::info!("the files on disk are those in force again");
            }
            (FilesState::KeptOther { bad }, found) => *bad = found.err(),
            (FilesState::TrialEnded { bad }, found) => {
                let was_bad = bad.is_some();
                *bad = found.err();
                if let Some(problem) = self.problem_on_disk().filter(|_| !was_bad) {
                    tracing::error!("{problem}");
                }
            }
            _ => {}
        }
        None
    }

    /// The problem of bad files that were on trial and not kept, in words.
    pub(super) fn problem_on_disk(&self) -> Option<String> {
        let FilesState::TrialEnded { bad: Some(bad) } = &self.files_state else { return None };
        let first = first_of(bad);
        Some(format!("the configuration on disk is bad, and dbfw reload refuses it: {first}"))
    }

    /// Whether what is in force for good is not on disk yet.
    pub(super) fn are_unsaved(&self) -> bool {
        self.unsaved && self.trial.is_none()
    }

    /// The copies to write of `config`, which is in force and was read back.
    pub(super) fn take_unsaved(&mut self, config: &Config) -> Option<Unsaved> {
        let is_unsaved = self.are_unsaved();
        self.unsaved &= !is_unsaved;
        is_unsaved.then(|| self.copies(config))
    }

    /// The copies of `config`, which is in force and was not read back, for the name on disk to tell
    /// of it; once.
    pub(super) fn take_note(&mut self, config: &Config) -> Option<Unsaved> {
        let is_new = self.are_unsaved() && !self.noted;
        self.noted |= is_new;
        is_new.then(|| self.copies(config))
    }

    fn copies(&self, config: &Config) -> Unsaved {
        Unsaved { last_good: self.last_good(config), trial_ended: self.trial_ended() }
    }

    /// Takes note that the copies were not written.
    pub(super) fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// The degradation, where the files are not what is in force.
    pub(super) fn degradation(&self) -> Option<Degradation> {
        let since = self.in_force_since;
        match &self.files_state {
            FilesState::Current => None,
            FilesState::KeptOther { bad } => Some(Degradation::KeptOther { bad: bad.clone() }),
            FilesState::ReloadRefused => Some(Degradation::ReloadRefused { since }),
            FilesState::LastGood { bad } => {
                Some(Degradation::LastGoodConfiguration { bad: bad.clone(), since })
            }
            FilesState::TrialEnded { .. } => Some(Degradation::TrialEnded { since }),
        }
    }
}

/// The configuration that was in force before files that are new, by the copy.
fn former(saved: Result<StoredCopy, ReadError>, problems: &mut Vec<String>) -> FormerConfiguration {
    let StoredCopy { last_good, successor } = match saved {
        Ok(kept) => kept,
        Err(ReadError::Missing(_)) => return FormerConfiguration::Same,
        Err(error) => {
            problems.push(error.set_aside());
            return FormerConfiguration::Same;
        }
    };
    match (config::parse(last_good.files), successor) {
        (Ok(before), None) => FormerConfiguration::Other(before),
        (Ok(before), Some(successor)) => {
            FormerConfiguration::Unwritten { before, since: successor.since }
        }
        (Err(_), _) => FormerConfiguration::Same,
    }
}

#[cfg(test)]
mod tests;
