use std::fs;

use super::*;
use crate::state::{checked, files, testing::Site};

/// The moment that the tests count minutes from, long ago.
const BEGIN: i64 = 1_700_000_000;

impl Site {
    /// Starts with a configuration of this mode on disk.
    fn start(&self, mode: &str) -> Loaded {
        self.write(mode);
        ConfigurationFiles::load(self.path()).unwrap()
    }

    /// Makes the file of this name one that cannot be written, as on a full disk, or can.
    fn block(&self, name: &str, blocked: bool) {
        let new = self.state().join(format!(".new-{name}"));
        if blocked { fs::create_dir(new).unwrap() } else { fs::remove_dir(new).unwrap() }
    }

    /// A host that enforces since [`at`] 0, with that on disk.
    fn enforcing() -> Self {
        let site = Self::new();
        let config = site.config("enforce");
        let last_good = LastGood { in_force_since: at(0), files: config.files };
        last_good.save(&site.state()).unwrap();
        site
    }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + 60 * minute).unwrap()
}

/// The minute since which something is in force; `None`: since this test.
fn minute(since: Timestamp) -> Option<i64> {
    let minute = (since.as_second() - BEGIN) / 60;
    (minute < 1_000_000).then_some(minute)
}

fn since(loaded: &Loaded) -> Option<i64> {
    minute(loaded.files.in_force_since())
}

fn mode(config: &Config) -> &'static str {
    config.databases[0].mode.as_str()
}

/// The configuration that a start tells as the former one.
fn told(loaded: &Loaded) -> String {
    match &loaded.former {
        FormerConfiguration::Same => "same".to_owned(),
        FormerConfiguration::Other(config) => format!("other: {}", mode(config)),
        FormerConfiguration::Unwritten { before, since } => {
            format!("unwritten since {:?}, before: {}", minute(*since), mode(before))
        }
        FormerConfiguration::Tried { tried, is_certain } => {
            let tried = tried.as_ref().map_or("bad", mode);
            format!("{}tried: {tried}", if *is_certain { "" } else { "perhaps " })
        }
    }
}

fn files_state(loaded: &Loaded) -> &'static str {
    match loaded.files.files_state() {
        FilesState::Current => "current",
        FilesState::ReloadRefused => "refused",
        FilesState::LastGood { .. } => "last good",
        FilesState::KeptOther { .. } => "kept",
        FilesState::TrialEnded { bad: None } => "ended",
        FilesState::TrialEnded { bad: Some(_) } => "ended, bad",
    }
}

/// Starts with a configuration of each mode on disk: the relation to the files, the mode in force,
/// since when, and what is told of the former one.
fn starts(site: &Site, modes: &[&str]) -> Vec<(&'static str, &'static str, Option<i64>, String)> {
    let start = |mode_: &&str| {
        let loaded = site.start(mode_);
        (files_state(&loaded), mode(&loaded.config), since(&loaded), told(&loaded))
    };
    modes.iter().map(start).collect()
}

fn row(
    files_state: &'static str,
    mode: &'static str,
    since: Option<i64>,
    told: &str,
) -> (&'static str, &'static str, Option<i64>, String) {
    (files_state, mode, since, told.to_owned())
}

const ALL: [&str; 4] = ["observe", "off", "enforce", "bad"];

#[test]
fn what_cannot_be_written_is_told_and_no_restart_says_what_is_false() {
    let site = Site::enforcing();
    assert_eq!(
        starts(&site, &ALL),
        [
            row("current", "observe", None, "other: enforce"),
            row("current", "off", None, "other: enforce"),
            row("current", "enforce", Some(0), "same"),
            row("last good", "enforce", Some(0), "same"),
        ]
    );
    let Loaded { mut files, .. } = site.start("enforce");
    assert!(!files.are_unsaved(), "it is on disk");
    let observe = site.config("observe");
    files.accepted(false, at(10));
    site.block("config.json", true);
    for _ in 0..2 {
        let error = files.take_unsaved(&observe).unwrap().save(&site.state()).unwrap_err();
        files.not_saved();
        let error = error.to_string();
        assert!(error.contains(&format!("in force since {}", at(10))), "{error}");
        let restart = format!("a restart with a bad file would use the configuration of {}", at(0));
        assert!(error.contains(&restart), "{error}");
    }
    let unwritten = "unwritten since Some(10), before: enforce";
    assert_eq!(
        starts(&site, &ALL),
        [
            row("current", "observe", Some(10), "same"),
            row("current", "off", None, unwritten),
            row("current", "enforce", None, unwritten),
            row("last good", "enforce", None, "same"),
        ]
    );
    let stale = site.start("bad");
    assert!(stale.problems[0].contains("was not written"), "{:?}", stale.problems);
    assert!(stale.files.are_unsaved(), "since when it is in force is another moment now");
    assert!(site.start("observe").files.are_unsaved());
    // Back to what the copy on disk has.
    files.accepted(false, at(20));
    let enforce = site.config("enforce");
    files.take_unsaved(&enforce).unwrap().save(&site.state()).unwrap_err();
    assert_eq!(since(&site.start("enforce")), Some(20));
    assert_eq!(since(&site.start("bad")), Some(20));
    assert_eq!(site.start("bad").problems, [""; 0]);

    site.block("config.json", false);
    files.not_saved();
    files.take_unsaved(&enforce).unwrap().save(&site.state()).unwrap();
    assert_eq!(
        starts(&site, &["observe", "enforce", "bad"]),
        [
            row("current", "observe", None, "other: enforce"),
            row("current", "enforce", Some(20), "same"),
            row("last good", "enforce", Some(20), "same"),
        ]
    );
}

#[test]
fn without_any_copy_nothing_is_said_of_one() {
    let site = Site::new();
    let Loaded { mut files, config, .. } = site.start("enforce");
    files.accepted(false, at(10));
    site.block("config.json", true);
    let error = files.take_unsaved(&config).unwrap().save(&site.state()).unwrap_err();
    assert!(error.to_string().contains("would have no configuration to use"), "{error}");
    assert_eq!(starts(&site, &["enforce"]), [row("current", "enforce", None, "same")]);
    site.write("bad");
    assert!(ConfigurationFiles::load(site.path()).is_err());
}

#[test]
fn what_is_in_force_and_not_read_back_yet_is_noted_once() {
    let site = Site::enforcing();
    let Loaded { mut files, .. } = site.start("enforce");
    let observe = site.config("observe");
    assert!(files.take_note(&observe).is_none(), "nothing is new");
    files.accepted(false, at(10));
    files.take_note(&observe).unwrap().note(&site.state());
    assert!(files.take_note(&observe).is_none(), "once");
    assert!(files.are_unsaved(), "it is written as soon as it holds");
    assert_eq!(since(&site.start("observe")), Some(10));
    files.accepted(false, at(20));
    assert!(files.take_note(&observe).is_some(), "another is in force");
}

/// A trial of observe mode on a host that enforces since minute 0.
fn trying(is_in_force: bool) -> Site {
    let site = Site::enforcing();
    let record = TrialRecord::new(&site.config("enforce"), at(0), &site.config("observe"));
    TrialRecord { is_in_force, ..record }.save(&site.state()).unwrap();
    site
}

#[test]
fn a_trial_that_may_never_have_begun_is_not_told_as_one_that_ended() {
    for (is_in_force, tried) in [(true, "tried: observe"), (false, "perhaps tried: observe")] {
        let site = trying(is_in_force);
        assert_eq!(
            starts(&site, &ALL),
            [
                row("ended", "enforce", None, tried),
                row("ended", "enforce", None, tried),
                row("current", "enforce", None, tried),
                row("ended, bad", "enforce", None, tried),
            ],
            "{is_in_force}"
        );
    }
    // As an earlier version wrote it.
    let site = trying(false);
    let path = TrialRecord::path(&site.state());
    let record: serde_json::Value =
        files::read(path.clone(), |content| checked::decode(1, content)).unwrap();
    let mut earlier = record;
    earlier.as_object_mut().unwrap().remove("is_in_force").unwrap();
    fs::write(path, checked::encode(1, &earlier).unwrap()).unwrap();
    assert_eq!(told(&site.start("observe")), "perhaps tried: observe");
}

#[test]
fn the_end_of_a_trial_that_cannot_be_written_is_told_once() {
    for blocked in [&["config.json", "trial.json"][..], &["config.json"], &["trial.json"]] {
        let site = trying(true);
        let Loaded { mut files, config, .. } = site.start("observe");
        files.went_back(at(10));
        blocked.iter().for_each(|name| site.block(name, true));
        files.take_unsaved(&config).unwrap().save(&site.state()).unwrap_err();
        files.not_saved();
        assert_eq!(
            starts(&site, &ALL),
            [
                row("ended", "enforce", Some(10), "same"),
                row("ended", "enforce", Some(10), "same"),
                row("current", "enforce", Some(10), "same"),
                row("ended, bad", "enforce", Some(10), "same"),
            ],
            "{blocked:?}"
        );
        blocked.iter().for_each(|name| site.block(name, false));
        files.take_unsaved(&config).unwrap().save(&site.state()).unwrap();
        assert_eq!(
            starts(&site, &["off"]),
            [row("ended", "enforce", Some(10), "same")],
            "{blocked:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_reload_is_over_when_the_files_are_those_in_force_again() {
    let site = Site::enforcing();
    let Loaded { mut files, config, .. } = site.start("enforce");
    // Bad files, and good ones that the kernel refused or that could not be read in time.
    for (refused, others) in [("bad", ["off", "observe"]), ("observe", ["bad", "off"])] {
        site.write(refused);
        files.refused(config::load(&site.path()).err());
        for mode in [refused].into_iter().chain(others) {
            site.write(mode);
            look(&mut files, &config).await;
            assert_eq!(files.files_state(), &FilesState::ReloadRefused, "{mode}");
        }
        site.write("enforce");
        look(&mut files, &config).await;
        assert_eq!(files.files_state(), &FilesState::Current);
        assert!(!files.are_unsaved(), "it is on disk as it was");
        assert_eq!(minute(files.in_force_since()), Some(0));
    }
}

#[tokio::test]
async fn what_is_kept_is_held_against_the_files_on_disk() {
    let site = Site::enforcing();
    let Loaded { mut files, config, .. } = site.start("enforce");
    let observe = site.config("observe");
    for (mode, told) in [
        ("observe", None),
        ("off", Some("the next start or reload takes those on disk")),
        ("enforce", Some("the next start or reload takes those on disk")),
        ("bad", Some("a reload refuses those on disk")),
    ] {
        files.begin_trial(config.clone(), Duration::from_secs(100), at(10));
        site.write(mode);
        files.keep_trial(&observe, Some(config::load(&site.path())));
        for _ in 0..2 {
            let found = files.kept_other();
            assert_eq!(found.is_some(), told.is_some(), "{mode}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(told.unwrap_or_default()), "{mode}: {found}");
            assert_eq!(*files.files_state() == FilesState::Current, told.is_none(), "{mode}");
            if told.is_some() {
                look(&mut files, &observe).await;
            }
        }
        // What a start does with each.
        files.take_unsaved(&observe).unwrap().save(&site.state()).unwrap();
        let uses = if mode == "bad" { "observe" } else { mode };
        assert_eq!(self::mode(&site.start(mode).config), uses);
        if told.is_some() {
            site.write("observe");
            look(&mut files, &observe).await;
        }
        assert_eq!((files.kept_other(), files.files_state()), (None, &FilesState::Current));
    }
    site.write("observe");
    files.begin_trial(config.clone(), Duration::from_secs(100), at(10));
    files.keep_trial(&observe, None);
    assert!(files.kept_other().is_some(), "it is not known");
    look(&mut files, &observe).await;
    assert_eq!(files.kept_other(), None);
}

/// Waits for the next look, and takes in what it finds: never a configuration to put in force.
async fn look(files: &mut ConfigurationFiles, in_force: &Config) {
    let begun = Instant::now();
    while files.look.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it takes seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
        files.begin_look();
    }
    let found = files.files_read().await;
    assert!(files.found(found, in_force).is_none());
}

#[test]
fn a_damaged_record_and_a_copy_that_is_not_of_what_was_in_force() {
    let site = trying(true);
    let Loaded { mut files, .. } = site.start("enforce");
    files.accepted(false, at(10));
    site.block("config.json", true);
    files.take_unsaved(&site.config("off")).unwrap().save(&site.state()).unwrap_err();
    for text in ["", "{}", "null"] {
        fs::write(TrialRecord::path(&site.state()), text).unwrap();
        let loaded = site.start("observe");
        assert_eq!((mode(&loaded.config), since(&loaded)), ("enforce", None), "{text}");
        assert!(loaded.problems[0].contains("set aside"), "{:?}", loaded.problems);
    }
}

#[test]
fn bad_files_are_told_also_where_they_were_on_trial() {
    let site = trying(true);
    for bad in ["nonsense", "[[", ""] {
        let text = site.file("observe").text.replace("\"observe\"", bad);
        fs::write(site.path(), &text).unwrap();
        let Loaded { mut files, config, .. } = ConfigurationFiles::load(site.path()).unwrap();
        let problem = files.problem_on_disk().unwrap();
        assert!(problem.contains("dbfw.toml"), "{problem}");
        let fixed = Ok(site.config("observe"));
        assert!(files.found(fixed, &config).is_none(), "it was on trial, and stays out");
        assert_eq!(files.problem_on_disk(), None);
        let read_again = config::load(&site.path());
        assert!(files.found(read_again.clone(), &config).is_none());
        assert_eq!(files.problem_on_disk().as_ref(), Some(&problem));
        assert!(files.found(Ok(site.config("off")), &config).is_none());
        files.refused(None);
        assert_eq!(files.problem_on_disk(), None, "the kernel's reasons are not the files'");
        files.refused(read_again.err());
        assert_eq!(files.problem_on_disk(), Some(problem));
        assert!(files.found(Ok(site.config("enforce")), &config).is_none());
        assert_eq!((files.problem_on_disk(), files.files_state()), (None, &FilesState::Current));
    }
}
