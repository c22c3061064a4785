//! The configuration's files as the agent sees them, and the copy of the last good ones that a
//! start with a bad file uses.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dbfw_core::toml::Problems;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    config::{self, AgentConfig, Config, ConfigFile},
    protection::Degradation,
    readers::offline,
    state::{
        checked,
        files::{self, ReadError},
    },
};

const FORMAT: u32 = 1;

/// Pause before a file that is good, but could not be put in force, is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A bad file is read again at most every second, and at most a twentieth of the time.
const RETRY: Duration = Duration::from_millis(900);
const RETRY_SHARE: u32 = 20;

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
}

/// The files that were last in force, as `state_dir` keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastGood {
    /// The moment they were put in force.
    in_force_since: Timestamp,
    /// The main file first.
    files: Vec<ConfigFile>,
}

/// A start without any configuration.
#[derive(Debug, thiserror::Error)]
#[error("{bad}\n{missing}\n{effect}")]
pub(super) struct NoConfiguration {
    #[source]
    bad: Problems,
    missing: String,
    effect: String,
}

impl LastGood {
    /// Its file in a state directory.
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("config.json")
    }

    fn load(state_dir: &Path) -> Result<Self, ReadError> {
        files::read(Self::path(state_dir), |content| checked::decode(FORMAT, content))
    }

    /// Writes it in place of the one before, for root alone.
    ///
    /// # Errors
    ///
    /// The system's reason; what was there before stays.
    pub(super) fn save(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = checked::encode(FORMAT, self)?;
        files::replace(&Self::path(state_dir), &bytes, files::Readers::Owner)
    }
}

/// A configuration to start with, and its files.
pub(super) struct Loaded {
    /// The configuration to put in force.
    pub(super) config: Config,
    /// The files it is from.
    pub(super) files: ConfigurationFiles,
    /// The problem of the copy in `state_dir`, if there is one.
    pub(super) problem: Option<String>,
}

/// The files of the configuration in force.
#[derive(Debug)]
pub(super) struct ConfigurationFiles {
    path: PathBuf,
    standing: Standing,
    in_force_since: Timestamp,
    /// Whether the configuration in force still has to be written to `state_dir`.
    unsaved: bool,
    next_try: Instant,
}

impl ConfigurationFiles {
    /// Reads the files at `path`, or takes the last good ones where those are bad.
    ///
    /// # Errors
    ///
    /// The files are bad, and there are no last good ones.
    pub(super) fn load(path: PathBuf) -> Result<Loaded, NoConfiguration> {
        let now = Timestamp::now();
        let files = |path, standing, in_force_since, unsaved| Self {
            path,
            standing,
            in_force_since,
            unsaved,
            next_try: Instant::now(),
        };
        match config::load(&path) {
            Ok(config) => {
                let (since, unsaved, problem) = match LastGood::load(&config.agent.state_dir) {
                    Ok(saved) if saved.files == config.files => (saved.in_force_since, false, None),
                    Ok(_) | Err(ReadError::Missing(_)) => (now, true, None),
                    Err(error) => (now, true, Some(error.set_aside())),
                };
                let files = files(path, Standing::Current, since, unsaved);
                Ok(Loaded { config, files, problem })
            }
            Err(bad) => {
                let agent = config::agent_section(&path);
                let no_configuration = |missing: String| NoConfiguration {
                    bad: bad.clone(),
                    missing,
                    effect: effect(&agent),
                };
                let saved = LastGood::load(&agent.state_dir).map_err(|error| match error {
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
                let files = files(path, Standing::LastGood { bad }, saved.in_force_since, false);
                Ok(Loaded { config, files, problem: None })
            }
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
    }

    /// Takes note that a reload was refused; `bad` is what is wrong with the files, if they are.
    pub(super) fn refused(&mut self, bad: Option<Problems>) {
        if bad.is_none() {
            self.next_try = Instant::now() + AFTER_REFUSAL;
        }
        match (&mut self.standing, bad) {
            (Standing::LastGood { bad: known }, Some(bad)) => *known = bad,
            (Standing::LastGood { .. }, None) => {}
            (standing, _) => *standing = Standing::ReloadRefused,
        }
    }

    /// Whether the files that were bad when the agent started are good now.
    pub(super) fn are_good_again(&mut self) -> bool {
        let Standing::LastGood { bad } = &mut self.standing else { return false };
        let started = Instant::now();
        if started < self.next_try {
            return false;
        }
        let found = config::load(&self.path).err();
        self.next_try = Instant::now() + RETRY.max(started.elapsed() * RETRY_SHARE);
        match found {
            None => true,
            Some(problems) => {
                *bad = problems;
                false
            }
        }
    }

    /// Whether what is in force is not on disk yet.
    pub(super) fn are_unsaved(&self) -> bool {
        self.unsaved
    }

    /// The copy to write of `config`, which is in force and was read back.
    pub(super) fn take_unsaved(&mut self, config: &Config) -> Option<LastGood> {
        std::mem::take(&mut self.unsaved)
            .then(|| LastGood { in_force_since: self.in_force_since, files: config.files.clone() })
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
        }
    }
}

/// The effect of a start without a configuration on the ports.
fn effect(agent: &AgentConfig) -> String {
    let effect = match offline::is_filtering(agent) {
        Some(true) => "what an earlier agent attached goes on filtering by the last policy",
        Some(false) => "nothing is attached: the ports of the databases are OPEN to everyone",
        None => "whatever an earlier agent attached goes on filtering, which only root can see",
    };
    format!("{effect}. Fix the file, then: systemctl start dbfw")
}
