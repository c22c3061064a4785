use dbfw_core::policy::SlotTable;
use jiff::Timestamp;

use super::*;

fn snapshot() -> Snapshot {
    Snapshot {
        generation: 3,
        written_at: Timestamp::UNIX_EPOCH,
        slots: SlotTable::default(),
        databases: Vec::new(),
        answers: Vec::new(),
        ended: [].into(),
    }
}

/// Waits until the snapshot is written.
async fn snapshot_written(disk: &mut Disk) -> anyhow::Result<()> {
    let Written::Snapshot(result) = disk.written().await else { panic!("nothing else is written") };
    result
}

/// Waits until the configuration is written.
async fn configuration_written(disk: &mut Disk) -> anyhow::Result<()> {
    let Written::Configuration(result) = disk.written().await else { panic!("nothing else is") };
    result
}

#[tokio::test]
async fn a_change_is_due_at_once_and_a_confirmation_with_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::new();
    assert!(!disk.is_save_due());
    disk.answers_confirmed();
    assert!(!disk.is_save_due(), "an age may be five minutes wrong");
    disk.snapshot_begun -= CONFIRMED_EVERY;
    assert!(disk.is_save_due());

    disk.policy_changed();
    disk.begin_save(directory.path(), snapshot());
    assert!(disk.is_saving() && !disk.is_save_due());
    let result = snapshot_written(&mut disk).await;
    disk.saved(result);
    assert!(!disk.is_saving() && !disk.save_failed());
    assert_eq!(Snapshot::load(directory.path()).unwrap(), snapshot());
}

#[tokio::test]
async fn a_snapshot_that_was_not_written_is_a_problem_until_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::new();
    disk.add_problem("the directory is odd".to_owned());
    disk.begin_save(&directory.path().join("missing"), snapshot());
    let result = snapshot_written(&mut disk).await;
    disk.saved(result);
    assert!(disk.save_failed() && disk.is_save_due() && !disk.configuration_failed());
    assert_eq!(disk.problems().count(), 2, "{:?}", disk.problems().collect::<Vec<_>>());

    disk.begin_save(directory.path(), snapshot());
    let result = snapshot_written(&mut disk).await;
    disk.saved(result);
    assert!(!disk.save_failed());
    assert_eq!(disk.problems().collect::<Vec<_>>(), ["the directory is odd"]);
}

#[tokio::test]
async fn the_configuration_is_written_and_told_whatever_becomes_of_the_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (blocked, fail) in
        [("snapshot.json", [true, false]), ("config.json", [false, true]), ("none", [false; 2])]
    {
        let mut disk = Disk::new();
        let block = at.join(format!(".new-{blocked}"));
        std::fs::create_dir(&block).unwrap();
        disk.begin_save(at, snapshot());
        let result = snapshot_written(&mut disk).await;
        disk.saved(result);
        disk.begin_save_configuration(at, Unsaved::of_tests(Timestamp::UNIX_EPOCH));
        assert!(disk.is_saving_configuration() && disk.is_writing());
        let result = configuration_written(&mut disk).await;
        assert_eq!(disk.configuration_saved(result), !fail[1], "{blocked}");
        assert_eq!([disk.save_failed(), disk.configuration_failed()], fail, "{blocked}");
        let told: Vec<String> = disk.problems().collect();
        assert_eq!(told.len(), usize::from(fail != [false; 2]), "{told:?}");
        assert!(told.iter().all(|problem| problem.contains(blocked)), "{told:?}");
        assert_eq!(disk.is_save_due(), fail[0], "{blocked}");
        std::fs::remove_dir(block).unwrap();
    }
    let mut disk = Disk::new();
    disk.begin_note(at, Unsaved::of_tests(Timestamp::MAX));
    assert!(disk.is_saving_configuration());
    assert!(matches!(disk.written().await, Written::Note));
    assert!(!at.join("config.json").exists(), "its name tells that it is older");
}

#[tokio::test]
async fn a_write_that_ends_early_is_an_error() {
    let mut disk = Disk::new();
    disk.snapshot.begin(|| panic!("on purpose"));
    let result = snapshot_written(&mut disk).await;
    assert!(result.unwrap_err().to_string().contains("panicked"));
}

#[tokio::test]
async fn refused_sources_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::new();
    let mut refused = load_refused(directory.path());
    disk.begin_save_refused(directory.path(), &mut refused);
    assert!(!disk.is_writing(), "there is nothing to write");
    std::fs::write(refused_path(directory.path()), "[{").unwrap();
    load_refused(directory.path());
    assert!(directory.path().join("refused.json.bad").exists(), "a damaged file is set aside");
}
