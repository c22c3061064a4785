//! Where the log goes: journald under systemd, else text or JSON on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Records that one trouble of many lines may make.
const MAX_RECORDS: usize = 20;

/// What a resolver has to say of a failure comes with the source it was about.
const DEFAULT: &str = "info,hickory_resolver=off,hickory_net=off,hickory_proto=off";

/// Sets up logging by `DBFW_LOG` (a filter; `RUST_LOG` if unset; default info) and
/// `DBFW_LOG_FORMAT` (text, json or journald).
pub(super) fn init() {
    let filter = std::env::var("DBFW_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let format = std::env::var("DBFW_LOG_FORMAT").unwrap_or_default();
    let wants_journal =
        format == "journald" || (format.is_empty() && std::env::var_os("JOURNAL_STREAM").is_some());
    let journal = wants_journal.then(|| tracing_journald::layer().ok()).flatten();
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match journal {
        Some(journal) => journal.boxed(),
        None if format == "json" => fmt.json().boxed(),
        None => fmt.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
    };
    // A second call, as in tests, keeps the first one's subscriber.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// A trouble as records of the log, one for a line, and how many more lines there are.
pub(super) fn records(trouble: &str) -> Vec<String> {
    let mut records: Vec<String> = trouble.lines().take(MAX_RECORDS).map(str::to_owned).collect();
    match trouble.lines().count() - records.len() {
        0 => {}
        more => records.push(format!("and {more} more")),
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_trouble_is_cut_short() {
        let trouble = |lines: usize| (1..=lines).map(|n| format!("line {n}\n")).collect::<String>();
        assert_eq!(records("one"), ["one"]);
        assert_eq!(records(&trouble(20)).last().unwrap(), "line 20");
        let long = records(&trouble(1000));
        assert_eq!((long.len(), long[20].as_str()), (21, "and 980 more"));
    }
}
