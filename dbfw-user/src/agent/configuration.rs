//! The configuration's files as the agent sees them, and the copy of the last good ones that a
//! start with a bad file uses.

mod last_good;
mod trial;

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dbfw_core::toml::Problems;
use jiff::Timestamp;
use tokio::task::{JoinHandle, spawn_blocking};

use self::last_good::LastGood;
pub(super) use self::trial::{Trial, TrialRecord};
use crate::{
    config::{self, Config},
    protection::Degradation,
    state::{expiry::Reading, files::ReadError},
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
pub(super) enum Standing {
    /// It is what the files said when they were last read.
    Current,
    /// The last reload was refused: what was in force before it is in force.
    ReloadRefused,
    /// The files were bad when the agent started: the last good ones are in force.
    LastGood {
        /// The problems of the files on disk.
        bad: Problems,
    },
    /// The files were on trial and not kept: what was in force before is in force.
    TrialEnded,
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
    /// Writes the copy of the files, and what a start has to know of a trial.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub(super) fn save(self, state_dir: &Path) -> io::Result<()> {
        self.last_good.save(state_dir)?;
        if self.trial_ended {
            TrialRecord { before: self.last_good, tried: None }.save(state_dir)
        } else {
            TrialRecord::remove(state_dir)
        }
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
    /// The configuration that was in force, where that is another.
    pub(super) before: Option<Config>,
    /// Whether this start ends a trial.
    pub(super) ends_trial: bool,
}

/// The files of the configuration in force.
#[derive(Debug)]
pub(super) struct ConfigurationFiles {
    path: PathBuf,
    standing: Standing,
    in_force_since: Timestamp,
    /// Whether the configuration in force still has to be written to `state_dir`.
    unsaved: bool,
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
        let (record, is_damaged) = match TrialRecord::load(&agent.state_dir) {
            Ok(record) => (Some(record), false),
            Err(ReadError::Missing(_)) => (None, false),
            Err(error) => {
                problems.push(error.set_aside());
                // Nobody kept what was on trial: the last good files are those before it.
                let before = LastGood::load(&agent.state_dir).ok();
                (before.map(|before| TrialRecord { before, tried: None }), true)
            }
        };
        let was_recorded = record.is_some();
        if let Some(TrialRecord { before, tried }) = record
            && !read.as_ref().is_ok_and(|config| config.files == before.files)
        {
            match config::parse(before.files) {
                Ok(config) => {
                    let ends_trial = tried.is_some();
                    let since = if ends_trial { now } else { before.in_force_since };
                    return Ok(Loaded {
                        config,
                        files: Self::new(
                            path,
                            Standing::TrialEnded,
                            since,
                            ends_trial || is_damaged,
                        ),
                        problems,
                        before: tried.and_then(|files| config::parse(files).ok()),
                        ends_trial,
                    });
                }
                Err(bad) => problems.push(format!(
                    "the configuration before the trial is not good for this version: {bad}"
                )),
            }
        }
        let saved = LastGood::load(&agent.state_dir);
        match read {
            Ok(config) => {
                let (since, unsaved, before) = match saved {
                    Ok(saved) if saved.files == config.files => (saved.in_force_since, false, None),
                    Ok(saved) => (now, true, config::parse(saved.files).ok()),
                    Err(ReadError::Missing(_)) => (now, true, None),
                    Err(error) => {
                        problems.push(error.set_aside());
                        (now, true, None)
                    }
                };
                let files = Self::new(path, Standing::Current, since, unsaved || was_recorded);
                Ok(Loaded { config, files, problems, before, ends_trial: false })
            }
            Err(bad) => {
                let no_configuration =
                    |missing: String| NoConfiguration { bad: bad.clone(), missing };
                let saved = saved.map_err(|error| match error {
                    ReadError::Missing(_) => {
                        let directory = agent.state_dir.display();
                        no_configuration(format!(
                            "there is no last good configuration in {directory}"
                        ))
                    }
                    error => no_configuration(error.set_aside()),
                })?;
                let config = config::parse(saved.files).map_err(|bad| {
                    no_configuration(format!(
                        "the last good configuration is not good for this version: {bad}"
                    ))
                })?;
                let standing = Standing::LastGood { bad };
                let files = Self::new(path, standing, saved.in_force_since, false);
                Ok(Loaded { config, files, problems, before: None, ends_trial: false })
            }
        }
    }

    fn new(path: PathBuf, standing: Standing, in_force_since: Timestamp, unsaved: bool) -> Self {
        let now = Instant::now();
        Self {
            path,
            standing,
            in_force_since,
            unsaved,
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
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The time since when the configuration in force is.
    pub(super) fn in_force_since(&self) -> Timestamp {
        self.in_force_since
    }

    /// Takes note that what the files say now is in force.
    pub(super) fn accepted(&mut self, same_text: bool, now: Timestamp) {
        if !same_text {
            self.in_force_since = now;
            self.unsaved = true;
        }
        self.standing = Standing::Current;
        self.not_taken = None;
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
        self.standing = Standing::Current;
    }

    /// Whether the files on disk were on trial and not kept.
    pub(super) fn trial_ended(&self) -> bool {
        self.standing == Standing::TrialEnded
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
            Some(trial) => Some(trial.record(config)),
            None => self
                .trial_ended()
                .then(|| TrialRecord { before: self.last_good(config), tried: None }),
        }
    }

    /// Takes note that what is on trial stays.
    pub(super) fn keep_trial(&mut self) {
        self.trial = None;
        self.unsaved = true;
    }

    /// Takes note that the configuration before the trial is in force again.
    pub(super) fn went_back(&mut self, now: Timestamp) {
        self.trial = None;
        self.standing = Standing::TrialEnded;
        self.in_force_since = now;
        self.unsaved = true;
    }

    /// Takes note that going back failed, and leaves some time until it is tried again. Returns
    /// whether it is the first time.
    pub(super) fn stuck(&mut self, reading: Reading) -> bool {
        self.trial.as_mut().is_some_and(|trial| trial.stuck(reading))
    }

    /// Takes note that a reload was refused; `bad` is what is wrong with the files, if they are.
    pub(super) fn refused(&mut self, bad: Option<Problems>) {
        if bad.is_none() {
            self.next_look = Instant::now() + AFTER_REFUSAL;
        }
        match (&mut self.standing, bad) {
            (Standing::LastGood { bad: known }, Some(bad)) => *known = bad,
            (Standing::LastGood { .. }, None) | (Standing::TrialEnded, _) => {}
            (standing, _) => *standing = Standing::ReloadRefused,
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
        let is_other = match self.standing {
            Standing::LastGood { .. } | Standing::TrialEnded => true,
            Standing::Current | Standing::ReloadRefused => false,
        };
        if is_other && self.look.is_none() && Instant::now() >= self.next_look {
            let path = self.path.clone();
            self.look_begun = Instant::now();
            self.look = Some(spawn_blocking(move || config::load(&path)));
        }
    }

    /// Waits until the files were looked at, for ever if they are not. Can be cancelled at any
    /// time.
    pub(super) async fn looked(&mut self) -> Result<Config, Problems> {
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
        match (&mut self.standing, found) {
            (Standing::LastGood { .. }, Ok(config)) => return Some(config),
            (Standing::LastGood { bad }, Err(problems)) => *bad = problems,
            (Standing::TrialEnded, Ok(config)) if config.files == in_force.files => {
                self.standing = Standing::Current;
                self.unsaved = true;
            }
            _ => {}
        }
        None
    }

    /// Whether what is in force for good is not on disk yet.
    pub(super) fn are_unsaved(&self) -> bool {
        self.unsaved && self.trial.is_none()
    }

    /// The copies to write of `config`, which is in force and was read back.
    pub(super) fn take_unsaved(&mut self, config: &Config) -> Option<Unsaved> {
        let is_unsaved = self.are_unsaved();
        self.unsaved &= !is_unsaved;
        is_unsaved
            .then(|| Unsaved { last_good: self.last_good(config), trial_ended: self.trial_ended() })
    }

    /// Takes note that it was not written.
    pub(super) fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// The degradation, where the files are not what is in force.
    pub(super) fn degradation(&self) -> Option<Degradation> {
        let since = self.in_force_since;
        match &self.standing {
            Standing::Current => None,
            Standing::ReloadRefused => Some(Degradation::ReloadRefused { since }),
            Standing::LastGood { bad } => {
                Some(Degradation::LastGoodConfiguration { bad: bad.clone(), since })
            }
            Standing::TrialEnded => Some(Degradation::TrialEnded { since }),
        }
    }
}
