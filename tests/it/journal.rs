use std::{fs, path::PathBuf, process::Command};

use dbfw_tests::{
    agent::Host,
    pair::{Pair, interfaces, listed},
};
use nix::sys::signal::Signal;
use serde_json::Value;

const DOCUMENTATION: &str = include_str!("../../docs/operations.md");

/// Starts a journald of its own in a mount namespace, with its files in $FILES, and becomes the
/// agent.
const SCRIPT: &str = r#"
set -e
mkdir -p /run/systemd /run/log
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log
mkdir /run/log/journal /run/systemd/journald.conf.d
mount --bind "$FILES" /run/log/journal
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n' > /run/systemd/journald.conf.d/test.conf
/usr/lib/systemd/systemd-journald &
echo $! > "$FILES/pid"
until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
exec "$@"
"#;

/// A journald that runs beside an agent. It ends when dropped.
struct Journal(PathBuf);

impl Journal {
    /// Starts the agent with it.
    fn start(host: &mut Host<'_>) -> Self {
        let journal = Self(host.path("journal"));
        fs::create_dir(&journal.0).expect("a directory");
        let files = format!("FILES={}", journal.0.display());
        let unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"];
        host.start_through(&[&["env", &files, "DBFW_LOG_FORMAT=journald"], &unshare[..]].concat());
        journal
    }

    /// The entries that `journalctl FIELD=VALUE` shows.
    fn records(&self, matching: &str) -> Vec<Value> {
        let mut journalctl = Command::new("journalctl");
        journalctl.arg(format!("--file={}/*/*.journal", self.0.display()));
        let output = journalctl.args(["--output=json", matching]).output().expect("journalctl");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.0.join("pid")).unwrap_or_default();
        let _ = Command::new("kill").arg(pid.trim()).status();
    }
}

/// The documented message id of an event.
fn message_id(event: &str) -> &'static str {
    let row = format!("| `{event}` | `");
    let (_, rest) = DOCUMENTATION.split_once(&row).unwrap_or_else(|| panic!("no row {row:?}"));
    &rest[..32]
}

/// `journalctl -u dbfw` shows texts alone.
#[test]
fn the_journal_has_the_facts_in_the_text_and_in_fields() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    host.configure(&interfaces(), &listed(&host, ""));
    let journal = Journal::start(&mut host);

    let attached = &journal.records("DBFW_INTERFACE=db0")[0];
    assert_eq!(attached["MESSAGE"], "attached interface=db0 mode=\"native\"");
    assert_eq!((&attached["DBFW_MODE"], &attached["PRIORITY"]), (&"native".into(), &"5".into()));
    assert_eq!(attached["SYSLOG_IDENTIFIER"], "dbfw");
    assert!(attached["MESSAGE_ID"].is_null(), "{attached}");

    let changed = &journal.records(&format!("MESSAGE_ID={}", message_id("policy_changed")))[0];
    let message = changed["MESSAGE"].as_str().expect("a text");
    assert!(message.contains("generation=1 added=1 removed=0"), "{message}");
    assert_eq!(changed["DBFW_ADDED"], "1");
    let ready = journal.records(&format!("MESSAGE_ID={}", message_id("ready")));
    assert_eq!(ready.len(), 1, "{ready:?}");

    host.replace("orders.list", "nonsense\n");
    host.wait("the list's trouble to be logged", |_| {
        !journal.records("DBFW_DATABASE=orders").is_empty()
    });
    let trouble = &journal.records("DBFW_DATABASE=orders")[0];
    assert_eq!(trouble["MESSAGE_ID"], message_id("list_problem"));
    assert_eq!(trouble["PRIORITY"], "4");
    let provider = trouble["DBFW_PROVIDER"].as_str().expect("a provider");
    assert!(provider.starts_with("file:"), "{provider}");

    host.configure(&interfaces(), &listed(&host, "mode = \"observe\""));
    host.signal(Signal::SIGHUP);
    let opened = format!("MESSAGE_ID={}", message_id("opened"));
    host.wait("the opening to be logged", |_| !journal.records(&opened).is_empty());
    assert_eq!(journal.records(&opened)[0]["DBFW_DATABASE"], "orders");

    // A reload that is refused, whoever asks for it, and a trial.
    host.configure(&interfaces(), "nonsense");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(78));
    let failed = format!("MESSAGE_ID={}", message_id("reload_failed"));
    host.wait("the refusal to be logged", |_| journal.records(&failed).len() == 1);
    let failed = &journal.records(&failed)[0];
    assert_eq!(failed["PRIORITY"], "3");
    let message = failed["MESSAGE"].as_str().expect("a text");
    assert!(message.contains("the configuration is bad"), "{message}");
    host.configure(&interfaces(), &listed(&host, ""));
    for (arguments, event) in [
        (&["reload", "--trial", "1h"][..], "trial_began"),
        (&["reload", "--revert"], "trial_ended"),
        (&["reload", "--trial", "1h"], "trial_began"),
        (&["reload", "--keep"], "trial_kept"),
    ] {
        host.dbfw(arguments);
        let told = format!("MESSAGE_ID={}", message_id(event));
        host.wait(event, |_| !journal.records(&told).is_empty());
        assert_eq!(journal.records(&told)[0]["DBFW_BY"], "uid 0", "{event}");
    }
}
