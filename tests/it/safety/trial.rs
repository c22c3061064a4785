//! Configurations on trial, and changes that were made while no agent ran.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    pair::{
        FRIEND4, OTHER_PORT, PORT, Pair, STRANGER4, TRUSTED4, interfaces, metric, orders, problems,
    },
    skew::Skew,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const CLOSES: &str =
    "orders: observe → enforce: tcp/5432 is closed to sources that are not trusted";
const OPENS: &str = "orders: enforce → observe: tcp/5432 is open to everyone";

fn configure(host: &Host<'_>, mode: &str) {
    host.configure(&interfaces(), &table("orders", PORT, mode));
}

fn table(name: &str, port: u16, mode: &str) -> String {
    format!(
        "[[database]]\nname = \"{name}\"\nports = [{port}]\nmode = \"{mode}\"\n\
         trusted_sources = [\"ip_addr:{TRUSTED4}\"]\n"
    )
}

/// A host in one mode, with a configuration on disk that is in another.
fn changing<'p>(pair: &'p Pair, in_force: &str, on_disk: &str) -> Host<'p> {
    let mut host = Host::new(&pair.db);
    configure(&host, in_force);
    host.start();
    host.wait("the last good configuration", |host| host.path("state/config.json").exists());
    configure(&host, on_disk);
    host
}

/// A host in observe mode, with a configuration on disk that enforces.
fn observing(pair: &Pair) -> Host<'_> {
    changing(pair, "observe", "enforce")
}

/// A host that enforces, with a configuration on disk that only observes.
fn enforcing(pair: &Pair) -> Host<'_> {
    changing(pair, "enforce", "observe")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

#[track_caller]
fn reload(host: &Host<'_>, words: &str, code: i32) -> String {
    let arguments: Vec<&str> = ["reload"].into_iter().chain(words.split_whitespace()).collect();
    let output = host.dbfw(&arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "reload {words}: {}\n{}",
        said(&output),
        host.log()
    );
    said(&output)
}

/// Waits until strangers are let in, or not; the trusted client always is.
#[track_caller]
fn assert_open(pair: &Pair, host: &Host<'_>, open: bool) {
    host.wait(&format!("strangers let in is {open}"), |_| pair.reaches(STRANGER4) == open);
    assert!(pair.reaches(TRUSTED4), "the trusted client is let in");
}

fn trial(host: &Host<'_>) -> Value {
    host.json(&["status"]).map(|mut status| status["agent"]["trial"].take()).unwrap_or_default()
}

/// The entries of the history of this kind, as who asked for it and the message.
fn history(host: &Host<'_>, kind: &str) -> Vec<(String, String)> {
    let document = host.json(&["history", "--limit", "1000"]).unwrap_or_default();
    let entries = document["entries"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
    of_kind.map(|entry| (text(entry, "by"), text(entry, "message"))).collect()
}

fn told(host: &Host<'_>, kind: &str, by: &str, message: &str) -> bool {
    history(host, kind).iter().any(|entry| entry.0 == by && entry.1.contains(message))
}

/// Asserts what holds once a trial of enforce mode was not kept.
#[track_caller]
fn assert_went_back(pair: &Pair, host: &Host<'_>) {
    assert_open(pair, host, true);
    host.wait("the trial to be over", |host| {
        trial(host).is_null() && problems(host).contains("was on trial and was not kept")
    });
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(
        (&status["protection"], &status["agent"]["config_ok"]),
        (&"degraded".into(), &false.into())
    );
    assert_eq!(metric(host, "dbfw_config_last_reload_successful"), Some(0.0));
}

#[test]
fn who_is_affected_by_going_back_is_said_beforehand() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let of = |sources: &str| orders(&format!("trusted_sources = [{sources}]"));
    for (before, tried, told) in [
        (
            "\"ip_addr:10.77.0.2\"",
            "\"ip_addr:10.77.0.2\", \"ip_addr:10.77.0.9\"",
            &["orders: not trusted any more: ip_addr:10.77.0.9"][..],
        ),
        (
            "\"ip_addr:10.77.0.9\"",
            "\"ip_addr:10.77.0.2\"",
            &[
                "orders: not trusted any more: ip_addr:10.77.0.2",
                "orders: trusted: ip_addr:10.77.0.9",
            ],
        ),
        ("\"ip_addr:10.77.0.9\"", "\"ip_addr:10.77.0.9/32\"", &[]),
    ] {
        host.configure(&interfaces(), &of(before));
        host.start();
        let could = pair.reaches(STRANGER4);
        host.configure(&interfaces(), &of(tried));
        let shown = reload(&host, "--trial 1h", 0);
        let document = trial(&host);
        let changes = document["changes"].as_array().cloned().unwrap_or_default();
        let texts: Vec<&str> =
            changes.iter().filter_map(|change| change["text"].as_str()).collect();
        assert_eq!(texts, told, "{document}");
        for text in told {
            assert!(shown.contains(&format!("Going back: {text}")), "{shown}");
        }
        reload(&host, "--revert", 0);
        assert_eq!(pair.reaches(STRANGER4), could);
        host.configure(&interfaces(), &of(before));
        reload(&host, "", 0);
        host.stop(Signal::SIGTERM);
    }
}

#[test]
fn a_trial_cuts_and_lets_in_again_when_its_time_is_over() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    let shown = reload(&host, "--trial 3s", 0);
    assert!(shown.contains("on trial until") && shown.contains(CLOSES), "{shown}");
    assert!(shown.contains("dbfw reload --keep keeps it"), "{shown}");
    let on_trial = trial(&host);
    assert_eq!(on_trial["keep"], "dbfw reload --keep");
    assert_eq!(on_trial["changes"][0]["text"], OPENS);
    assert_eq!(on_trial["changes"][0]["effect"], "opens");
    assert!(on_trial["restores"][0]["sha256"].is_string(), "{on_trial}");
    let mode = fs::metadata(host.path("state/trial.json")).expect("the way back").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(!pair.reaches(STRANGER4), "it is in force\n{}", host.log());
    assert_went_back(&pair, &host);
    assert!(told(&host, "reloaded", "uid 0", "on trial until"), "{:?}", history(&host, "reloaded"));
    assert!(told(&host, "trial_ended", "trial", "its time is over"));
    assert!(told(&host, "config_changed", "trial", OPENS));
    assert!(host.log().contains(OPENS), "{}", host.log());
    let late = reload(&host, "--keep", 1);
    assert!(late.contains("the last trial has ended"), "{late}");

    // Nothing puts it in force by itself, and a start neither.
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        host.stop(end);
        host.start();
        assert_went_back(&pair, &host);
    }
    assert_eq!(history(&host, "trial_ended").len(), 1, "it ended once");
    assert_eq!(history(&host, "config_changed").len(), 2, "nothing changed since");
    // To ask for it is a decision.
    reload(&host, "", 0);
    assert_open(&pair, &host, false);
    assert_eq!(problems(&host), "");
    assert!(!host.path("state/trial.json").exists(), "a start uses it");
    host.stop(Signal::SIGKILL);
    host.start();
    assert_open(&pair, &host, false);
}

#[test]
fn what_is_kept_stays_also_over_a_restart() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    assert!(reload(&host, "--keep", 1).contains("no configuration is on trial"));
    assert!(reload(&host, "--revert", 1).contains("no configuration is on trial"));
    reload(&host, "--trial 2s", 0);
    assert!(reload(&host, "--keep", 0).contains("stays in force"));
    host.stop(Signal::SIGKILL);
    host.start();
    thread::sleep(Duration::from_secs(3));
    assert_open(&pair, &host, false);
    assert_eq!(problems(&host), "");
    assert!(told(&host, "trial_kept", "uid 0", ""));
    assert_eq!(history(&host, "trial_ended"), []);
    host.wait("it to be the last good one", |host| {
        fs::read_to_string(host.path("state/config.json"))
            .is_ok_and(|text| text.contains("enforce"))
    });
}

#[test]
fn an_agent_that_ends_ends_the_trial() {
    let pair = Pair::new();
    for end in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut host = observing(&pair);
        reload(&host, "--trial 1h", 0);
        assert_open(&pair, &host, false);
        host.stop(end);
        // A stop goes back itself: nobody would be there when the time is over.
        assert_open(&pair, &host, end == Signal::SIGTERM);
        // Also if somebody has edited the files meanwhile.
        let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
        host.replace("dbfw.toml", &(text + "# edited\n"));
        host.start();
        assert_went_back(&pair, &host);
        host.wait("the end to be told", |host| told(host, "trial_ended", "trial", "nobody"));
        assert!(told(&host, "config_changed", "trial", OPENS), "{end}");
        assert_eq!(history(&host, "trial_ended").len(), 1, "{end}");
    }
}

/// Kills the agent, and asserts what a reader tells about a trial then.
#[track_caller]
fn assert_told_offline(host: &mut Host<'_>, texts: &[&str]) {
    host.stop(Signal::SIGKILL);
    let told = problems(host);
    for text in texts {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert!(!told.contains("not kept up to date (systemctl start dbfw)"), "{told}");
}

#[test]
fn without_an_agent_a_trial_is_told_and_the_way_to_keep_it_works() {
    let pair = Pair::new();
    for (before, tried, change) in [("observe", "enforce", OPENS), ("enforce", "observe", CLOSES)] {
        let is_open = tried == "observe";
        let mut host = changing(&pair, before, tried);
        reload(&host, "--trial 1h", 0);
        assert_open(&pair, &host, is_open);
        let record = host.path("state/trial.json").display().to_string();
        let advice = format!("To keep it instead: rm {record}, then systemctl start dbfw");
        let goes_back = "a start goes back to the one before it, which was in force since";
        assert_told_offline(&mut host, &["was on trial", goes_back, change, &advice]);
        host.start();
        assert_went_back_to(&pair, &host, !is_open);

        // Edited meanwhile: those on trial have to be there again.
        let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
        reload(&host, "--trial 1h", 0);
        host.replace("dbfw.toml", &(text.clone() + "# edited\n"));
        assert_told_offline(&mut host, &[goes_back, "put those back, then rm"]);
        host.replace("dbfw.toml", &text);
        assert!(problems(&host).contains(&advice), "{}", problems(&host));
        fs::remove_file(&record).expect("remove the record");
        host.start();
        assert_open(&pair, &host, is_open);
        assert!(!problems(&host).contains("trial"), "{}", problems(&host));
    }
}

/// Asserts that what was before a trial is in force again.
#[track_caller]
fn assert_went_back_to(pair: &Pair, host: &Host<'_>, open: bool) {
    assert_open(pair, host, open);
    host.wait("the trial to be over", |host| {
        trial(host).is_null() && problems(host).contains("was on trial and was not kept")
    });
}

#[test]
fn without_an_agent_an_ended_trial_is_told_while_its_files_are_on_disk() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    reload(&host, "--trial 1h", 0);
    reload(&host, "--revert", 0);
    host.wait("the record of the end", |host| {
        fs::read_to_string(host.path("state/trial.json"))
            .is_ok_and(|text| text.contains(r#"tried\":null"#))
    });
    host.stop(Signal::SIGKILL);
    let ended = "the configuration on disk was on trial and not kept: a start uses the one before";
    for (mode, is_told) in [("enforce", true), ("off", true), ("observe", false)] {
        configure(&host, mode);
        assert_eq!(problems(&host).contains(ended), is_told, "{mode}: {}", problems(&host));
    }
    configure(&host, "enforce");
    host.start();
    assert_went_back(&pair, &host);
}

#[test]
fn a_reboot_during_a_trial_starts_with_the_configuration_before() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    reload(&host, "--trial 1h", 0);
    host.stop(Signal::SIGKILL);
    fs::remove_dir_all(host.pins().parent().expect("a pin directory")).expect("remove the pins");
    // A file that was bad at the start does not come in force by getting good.
    let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &(text.clone() + "[[database\n"));
    host.start();
    assert_went_back(&pair, &host);
    host.replace("dbfw.toml", &text);
    thread::sleep(Duration::from_secs(3));
    assert_went_back(&pair, &host);
}

#[test]
fn the_deadline_is_not_the_wall_clocks() {
    let (pair, skew) = (Pair::new(), Skew::new());
    let mut host = Host::new(&pair.db);
    configure(&host, "observe");
    let wrapper = skew.wrapper();
    host.start_through(&wrapper.each_ref().map(String::as_str));
    configure(&host, "enforce");
    reload(&host, "--trial 1h", 0);
    for ahead in [7200, -7200, 31_536_000] {
        skew.set(ahead, 0);
        host.wait("the step to be noticed", |host| host.log().contains("the clock was set by"));
        thread::sleep(Duration::from_millis(1500));
        assert_open(&pair, &host, false);
    }
    // An hour of both clocks, as it passes while the host sleeps.
    skew.set(31_536_000 + 3601, 3601);
    assert_went_back(&pair, &host);
}

#[test]
fn a_reload_during_a_trial_neither_keeps_nor_ends_it() {
    let pair = Pair::new();
    let host = observing(&pair);
    reload(&host, "--trial 1h", 0);
    let refused = reload(&host, "", 1);
    assert!(refused.contains("--keep") && refused.contains("--revert"), "{refused}");
    host.signal(Signal::SIGHUP);
    host.wait("the refusal to be told", |host| told(host, "reload_failed", "SIGHUP", "on trial"));
    let bad = fs::read_to_string(host.path("dbfw.toml")).expect("the file") + "[[database\n";
    host.replace("dbfw.toml", &bad);
    reload(&host, "--trial 1h", 78);
    assert!(trial(&host)["ends_at"].is_string());
    assert_open(&pair, &host, false);
    // Another try keeps the way back of the first.
    let more =
        format!("{}{}", table("orders", PORT, "enforce"), table("more", OTHER_PORT, "enforce"));
    host.configure(&interfaces(), &more);
    reload(&host, "--trial 1h", 0);
    host.wait("the other port to be closed", |_| !pair.reaches_port(STRANGER4, OTHER_PORT));
    let shown = reload(&host, "--revert", 0);
    assert!(shown.contains(OPENS), "{shown}");
    assert_open(&pair, &host, true);
    assert!(pair.reaches_port(STRANGER4, OTHER_PORT));
    assert!(told(&host, "trial_ended", "uid 0", "it was asked for"));
    // The file of before is what is in force.
    configure(&host, "observe");
    host.wait("nothing to be wrong", |host| !problems(host).contains("on trial"));
    host.wait("the record to be gone", |host| !host.path("state/trial.json").exists());
}

#[test]
fn a_bad_file_is_not_tried() {
    let pair = Pair::new();
    let host = observing(&pair);
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    for (bad, code) in [
        (good.clone() + "[[database\n", 78),
        (good.replace("10.77.0.2", "10.77.0.999"), 78),
        (good.replace("/state\"", "/elsewhere\""), 1),
    ] {
        host.replace("dbfw.toml", &bad);
        reload(&host, "--trial 2s", code);
        assert!(trial(&host).is_null());
        assert!(!host.path("state/trial.json").exists());
        assert_open(&pair, &host, true);
    }
    host.replace("dbfw.toml", &good);
    for bad in ["0s", "-1h", "25h", "soon"] {
        assert_eq!(host.dbfw(&["reload", "--trial", bad]).status.code(), Some(2), "{bad}");
    }
    for both in ["--keep --trial 1h", "--keep --revert", "--revert --confirm"] {
        reload(&host, both, 2);
    }
    // Without a way back nothing is tried.
    fs::create_dir(host.path("state/trial.json")).expect("something in its place");
    let refused = reload(&host, "--trial 2s", 1);
    assert!(refused.contains("trial.json"), "{refused}");
    assert_open(&pair, &host, true);
}

#[test]
fn trust_by_hand_goes_on_over_the_end_of_a_trial() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    configure(&host, "enforce");
    host.start();
    let friend = format!("ip_addr:{FRIEND4}");
    host.configure(
        &interfaces(),
        &table("orders", PORT, "enforce").replace("10.77.0.2", "10.77.0.9"),
    );
    reload(&host, "--trial 1h", 0);
    host.wait("the trial to be in force", |_| pair.reaches(STRANGER4) && !pair.reaches(TRUSTED4));
    let added = host.dbfw(&["trust", "add", &friend, "-d", "orders", "--for", "1h"]);
    assert!(added.status.success(), "{}", said(&added));
    reload(&host, "--revert", 0);
    for (client, let_in) in [(TRUSTED4, true), (FRIEND4, true), (STRANGER4, false)] {
        host.wait(&format!("{client}: {let_in}"), |_| pair.reaches(client) == let_in);
    }
}

#[test]
fn going_back_has_the_list_of_before_and_needs_no_confirmation() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let list = |path: &Path, lines: String| fs::write(path, lines).expect("a list");
    let range = |third: u8| (1..=100).map(|n| format!("10.78.{third}.{n}\n")).collect::<String>();
    let [a, b] = ["a.list", "b.list"].map(|name| host.path(name));
    list(&a, format!("{TRUSTED4}\n"));
    list(&b, format!("{TRUSTED4}\n") + &range(1));
    let with = |path: &Path| {
        format!(
            "[[database]]\nname = \"orders\"\nports = [{PORT}]\n\
             provider = {{ kind = \"file\", path = \"{}\" }}\n",
            path.display()
        )
    };
    host.configure(&interfaces(), &with(&a));
    host.start();
    host.wait("the list", |_| pair.reaches(TRUSTED4));
    host.configure(&interfaces(), &with(&b));
    reload(&host, "--trial 1h", 0);
    host.wait("the other list", |host| host.dbfw(&["map", "dump"]).stdout.len() > 1000);
    // The list of before cannot be read when it is needed.
    fs::remove_file(&a).expect("lose the list");
    host.dbfw(&["reload", "--revert"]);
    host.wait("the prefixes of before", |host| host.dbfw(&["map", "dump"]).stdout.len() < 1000);
    assert!(pair.reaches(TRUSTED4), "{}", host.log());
    assert!(!problems(&host).contains("max_shrink"), "{}", problems(&host));
}

#[test]
fn what_was_detached_stays_detached_when_a_trial_ends() {
    let pair = Pair::new();
    let host = enforcing(&pair);
    reload(&host, "--trial 2s", 0);
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    host.wait("the trial to end", |host| told(host, "trial_ended", "trial", "time is over"));
    thread::sleep(Duration::from_secs(2));
    assert!(pair.reaches(STRANGER4), "nothing was attached");
    assert!(!host.log().contains(CLOSES), "nothing was closed: {}", host.log());
    assert_eq!(history(&host, "config_changed").len(), 1, "the trial opened, and nothing closed");
}

#[test]
fn who_goes_back_by_hand_attaches_again() {
    let pair = Pair::new();
    let host = enforcing(&pair);
    reload(&host, "--trial 1h", 0);
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    reload(&host, "--revert", 0);
    assert_open(&pair, &host, false);
}

#[test]
fn what_is_kept_outlives_a_crash_right_after_the_answer() {
    let pair = Pair::new();
    let mut host = enforcing(&pair);
    reload(&host, "--trial 1h", 0);
    // Nothing but what was kept can be used by the next start.
    configure(&host, "nonsense");
    reload(&host, "--keep", 0);
    host.stop(Signal::SIGKILL);
    host.start();
    assert_open(&pair, &host, true);
}

#[test]
fn keeping_tells_that_the_files_on_disk_are_others_by_now() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    let tried = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    for (on_disk, effect, opens) in [
        (tried.replace("enforce", "observe"), "the next start or reload takes those", true),
        (tried.clone() + "# edited\n", "the next start or reload takes those", false),
        (tried.clone() + "[[database\n", "a start uses what was kept", false),
    ] {
        host.replace("dbfw.toml", &tried);
        reload(&host, "--trial 1h", 0);
        host.replace("dbfw.toml", &on_disk);
        let shown = reload(&host, "--keep", 0);
        let other = "the files on disk are not those that were on trial and kept";
        for text in ["stays in force", other, effect] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(told(&host, "trial_kept", "uid 0", effect), "{:?}", history(&host, "trial_kept"));
        assert!(host.log().contains(effect), "{}", host.log());
        for _ in 0..2 {
            let status = host.json(&["status"]).expect("a status");
            assert_eq!(status["agent"]["config_ok"], false);
            assert_eq!(status["protection"], "degraded", "{status}");
            assert!(problems(&host).contains(other), "{}", problems(&host));
            thread::sleep(Duration::from_millis(1500));
        }
        let table = said(&host.dbfw(&["status"]));
        assert!(table.contains("files on disk not in force"), "{table}");
        assert_open(&pair, &host, false);
        // It is as it was said.
        host.stop(Signal::SIGKILL);
        host.start();
        assert_open(&pair, &host, opens);
        host.replace("dbfw.toml", &tried);
        reload(&host, "", 0);
        assert_open(&pair, &host, false);
    }
    // The advice: the files in force are put back.
    reload(&host, "--trial 1h", 0);
    host.replace("dbfw.toml", &(tried.clone() + "# edited\n"));
    reload(&host, "--keep", 0);
    host.replace("dbfw.toml", &tried);
    host.wait("nothing to be wrong", |host| problems(host).is_empty());
    assert_eq!(host.json(&["status"]).expect("a status")["agent"]["config_ok"], true);
}

#[test]
fn a_damaged_record_does_not_keep_what_was_on_trial() {
    let pair = Pair::new();
    let mut host = enforcing(&pair);
    reload(&host, "--trial 1h", 0);
    host.stop(Signal::SIGKILL);
    let record = host.path("state/trial.json");
    let whole = fs::read_to_string(&record).expect("the record");
    let changed = whole.replace("enforce", "observe");
    for damage in ["", "{", "{}", "null", &whole[..whole.len() / 2], &changed] {
        fs::write(&record, damage).expect("a damaged record");
        host.start();
        assert_open(&pair, &host, false);
        assert!(problems(&host).contains("trial"), "{damage}: {}", problems(&host));
        host.wait("a record again", |_| {
            fs::read_to_string(&record).is_ok_and(|text| text.len() > 10 && text != damage)
        });
        host.stop(Signal::SIGKILL);
    }
    // Who reloads takes the files on disk.
    host.start();
    reload(&host, "", 0);
    assert_open(&pair, &host, true);
}

#[test]
fn a_change_while_no_agent_ran_is_told_by_the_next_start() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    configure(&host, "observe");
    host.start();
    for (mode, text) in [("enforce", CLOSES), ("observe", OPENS)] {
        host.wait("the last good configuration", |host| {
            let other = if mode == "enforce" { "observe" } else { "enforce" };
            fs::read_to_string(host.path("state/config.json"))
                .is_ok_and(|saved| saved.contains(other))
        });
        host.stop(Signal::SIGKILL);
        configure(&host, mode);
        host.start();
        host.wait(text, |host| told(host, "config_changed", "agent", text));
        assert!(host.log().contains(text), "{}", host.log());
        assert_open(&pair, &host, mode == "observe");
    }
    // What did not change is not told.
    let before = history(&host, "config_changed").len();
    host.wait("the last good configuration", |host| {
        fs::read_to_string(host.path("state/config.json")).is_ok_and(|t| t.contains("observe"))
    });
    host.stop(Signal::SIGTERM);
    host.start();
    assert_eq!(history(&host, "config_changed").len(), before);
}

/// Changes the record of a trial, with its digest.
fn edit_record(host: &Host<'_>, change: impl FnOnce(String) -> String) {
    let path = host.path("state/trial.json");
    let text = fs::read_to_string(&path).expect("the record");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    let body = change(record["body"].as_str().expect("a body").to_owned());
    fs::write(host.path("body"), &body).expect("write the body");
    let output = Command::new("sha256sum").arg(host.path("body")).output().expect("sha256sum");
    let digest = String::from_utf8_lossy(&output.stdout)[..64].to_owned();
    (record["body"], record["sha256"]) = (body.into(), digest.into());
    fs::write(path, record.to_string()).expect("write the record");
}

#[test]
fn a_trial_that_may_never_have_begun_is_told_as_such() {
    let pair = Pair::new();
    for earlier in [false, true] {
        let mut host = observing(&pair);
        reload(&host, "--trial 1h", 0);
        host.wait("it to be known that it began", |host| {
            fs::read_to_string(host.path("state/trial.json"))
                .is_ok_and(|text| text.contains(r#"is_in_force\":true"#))
        });
        host.stop(Signal::SIGKILL);
        // As if the agent had ended before; or as an earlier version wrote it.
        edit_record(&host, |body| {
            let without = body.replace(r#","is_in_force":true"#, "");
            if earlier { without } else { body.replace("force\":true", "force\":false") }
        });
        host.start();
        assert_went_back(&pair, &host);
        host.wait("the end to be told", |host| !history(host, "trial_ended").is_empty());
        let told = history(&host, "trial_ended");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("began or was about to"), "{told:?}");
        assert!(told[0].1.contains(&format!("if it had begun, this changed: {OPENS}")), "{told:?}");
        assert!(!told_by(&host, "config_changed", "trial"), "it is not certain");
        // Told once.
        host.wait("the record of the end", |host| {
            fs::read_to_string(host.path("state/trial.json"))
                .is_ok_and(|text| text.contains(r#"tried\":null"#))
        });
        host.stop(Signal::SIGKILL);
        host.start();
        assert_went_back(&pair, &host);
        assert_eq!(history(&host, "trial_ended"), told);
    }
}

fn told_by(host: &Host<'_>, kind: &str, by: &str) -> bool {
    history(host, kind).iter().any(|entry| entry.0 == by)
}

#[test]
fn a_bad_file_is_told_beside_a_trial_that_ended() {
    let pair = Pair::new();
    let mut host = observing(&pair);
    reload(&host, "--trial 1h", 0);
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.stop(Signal::SIGKILL);
    for (bad, named) in [
        (good.clone() + "ports_ = 1\n", "ports_"),
        (good.replace("10.77.0.2", "10.77.0.999"), "10.77.0.999"),
        (good.clone() + "[[database\n", "dbfw.toml:"),
    ] {
        host.replace("dbfw.toml", &bad);
        host.start();
        assert_went_back(&pair, &host);
        let told = problems(&host);
        assert!(
            told.contains("the configuration on disk is bad") && told.contains(named),
            "{told}"
        );
        assert!(host.log().contains(named), "{}", host.log());
        assert!(reload(&host, "", 78).contains(named));
        host.replace("dbfw.toml", &good);
        host.wait("it to be good again", |host| !problems(host).contains("on disk is bad"));
        assert_went_back(&pair, &host);
        host.replace("dbfw.toml", &bad);
        host.wait("it to be bad again", |host| problems(host).contains(named));
        host.stop(Signal::SIGTERM);
    }
}
