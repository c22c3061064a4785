//! The log: to journald under systemd, else as text or JSON to standard error.

use std::io::IsTerminal as _;

use tracing::{
    Event, Subscriber,
    field::{Field, Value, Visit, display},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FormatFields as _,
        format::{DefaultFields, Writer},
    },
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::journal::Journal;

/// Records that one problem of many lines may make.
const MAX_RECORDS: usize = 20;

/// Fields that an event is handed on with, its message among them.
const MAX_FIELDS: usize = 32;

/// A resolver's reports of failures come with the source they are about.
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
    let journal = wants_journal.then(|| Journal::connect().ok()).flatten();
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match journal {
        Some(journal) => FactsInText(journal).boxed(),
        None if format == "json" => FactsInText(fmt.json()).boxed(),
        None => fmt.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
    };
    // A second call, as in tests, keeps the first one's subscriber.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Hands on every event with its fields in the text as well, as `text` shows it: who reads the
/// journal sees texts alone.
struct FactsInText<L>(L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for FactsInText<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = String::new();
        let formatted = DefaultFields::new().format_fields(Writer::new(&mut text), event);
        let (Some(message), Ok(())) = (metadata.fields().field("message"), formatted) else {
            return self.0.on_event(event, context);
        };
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let mut values: [(&Field, Option<&dyn Value>); MAX_FIELDS] = [(&message, None); MAX_FIELDS];
        values[0].1 = Some(&text);
        for (slot, (field, value)) in values[1..].iter_mut().zip(&fields.0) {
            *slot = (field, Some(value));
        }
        let values = metadata.fields().value_set(&values);
        self.0.on_event(&Event::new(metadata, &values), context);
    }
}

/// The fields of an event besides its message.
struct Fields(Vec<(Field, Box<dyn Value>)>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Value + 'static) {
        if field.name() != "message" {
            self.0.push((field.clone(), Box::new(value)));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, display(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}

/// A problem as records of the log, one for a line, and how many more lines there are.
pub(super) fn records(problem: &str) -> Vec<String> {
    let mut records: Vec<String> = problem.lines().take(MAX_RECORDS).map(str::to_owned).collect();
    match problem.lines().count() - records.len() {
        0 => {}
        more => records.push(format!("and {more} more")),
    }
    records
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Everything that was written, by all clones together.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// The records in JSON, and the same as text.
    fn logged(log: impl Fn()) -> (Vec<serde_json::Value>, String) {
        let (json, text) = (Page::default(), Page::default());
        let records = tracing_subscriber::fmt::layer().json().with_writer(json.clone());
        let plain = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(text.clone());
        let subscriber = tracing_subscriber::registry().with(FactsInText(records)).with(plain);
        tracing::subscriber::with_default(subscriber, log);
        let read = |page: Page| String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let records = read(json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (records, read(text))
    }

    #[test]
    fn facts_are_in_the_text_and_in_fields() {
        let error = io::Error::other("no room");
        let (records, text) = logged(|| {
            tracing::info!(interface = %"eth0", mode = "native", "attached");
            tracing::info!(generation = 7_u64, added = -3_i64, share = 0.5, "the policy changed");
            tracing::warn!(%error, whole = true, set = ?[1, 2], left = Option::<u8>::None, "cut");
            tracing::error!("no more than {}", "this");
            tracing::debug!(alone = 1);
        });
        let fields: Vec<_> = records.iter().map(|record| record["fields"].clone()).collect();
        let wanted = serde_json::json!([
            {"message": "attached interface=eth0 mode=\"native\"", "interface": "eth0", "mode": "native"},
            {
                "message": "the policy changed generation=7 added=-3 share=0.5",
                "generation": 7, "added": -3, "share": 0.5,
            },
            {
                "message": "cut error=no room whole=true set=[1, 2]",
                "error": "no room", "whole": true, "set": "[1, 2]",
            },
            {"message": "no more than this"},
            {"alone": 1},
        ]);
        assert_eq!(serde_json::Value::from(fields), wanted);
        // The same text as on a terminal, where the fields are not shown twice.
        for record in records.iter().filter_map(|record| record["fields"]["message"].as_str()) {
            assert!(text.lines().any(|line| line.ends_with(&format!(" {record}"))), "{text}");
        }
    }

    #[test]
    fn an_event_of_many_fields_keeps_its_text() {
        let (records, _) = logged(|| {
            tracing::info!(
                a = 1,
                b = 2,
                c = 3,
                d = 4,
                e = 5,
                f = 6,
                g = 7,
                h = 8,
                i = 9,
                j = 10,
                k = 11,
                l = 12,
                m = 13,
                n = 14,
                o = 15,
                p = 16,
                q = 17,
                r = 18,
                s = 19,
                t = 20,
                u = 21,
                v = 22,
                w = 23,
                x = 24,
                y = 25,
                z = 26,
                aa = 27,
                bb = 28,
                cc = 29,
                dd = 30,
                ee = 31,
                "many"
            );
        });
        let fields = &records[0]["fields"];
        assert_eq!(fields["ee"], 31);
        assert!(fields["message"].as_str().unwrap().ends_with("dd=30 ee=31"), "{fields}");
    }

    #[test]
    fn a_long_problem_is_cut_short() {
        let problem = |lines: usize| (1..=lines).map(|n| format!("line {n}\n")).collect::<String>();
        assert_eq!(records("one"), ["one"]);
        assert_eq!(records(&problem(20)).last().unwrap(), "line 20");
        let long = records(&problem(1000));
        assert_eq!((long.len(), long[20].as_str()), (21, "and 980 more"));
    }
}
