//! Output of `dbfw explain`, for people and as plain fields.

use anstyle::{AnsiColor, Style};
use dbfw_wire::control::{CoveringSource, Effect, Explanation, Reason, Verdict};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Cell, Column, Table, left, right},
    words::{ago, clean, count, ending, fields, maybe, moment},
};

const COVERING: [Column<CoveringSource>; 7] = [
    left("TRUSTED SOURCE", |source, _| (&source.source).into()),
    left("PREFIX", |source, _| (&source.prefix).into()),
    left("ORIGIN", |source, _| (&source.origin).into()),
    left("EXPIRES", |source, now| ending(source.expires_at, now).into()),
    right("PACKETS", |source, _| count(source.packets).into()),
    left("LAST USED", |source, now| ago(source.last_hit, now).into()),
    left("DESCRIPTION", |source, _| Cell::foreign(source.description.as_deref())),
];

impl Render for Vec<Explanation> {
    fn table(&self, now: Timestamp) -> String {
        let blocks: Vec<_> = self.iter().map(|one| explanation(one, now)).collect();
        blocks.join("\n")
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for one in self {
            text.push_str(&fields([
                "port",
                &one.port,
                &one.address.to_string(),
                &maybe(one.database.as_ref()),
                &maybe(one.mode.as_ref()),
                one.verdict.as_str(),
                one.reason.as_str(),
                &one.program,
                &maybe(one.prefix.as_ref()),
                one.effect.as_str(),
                &one.let_in_by.join(","),
                &maybe(one.to.as_ref()),
            ]));
            for source in &one.sources {
                text.push_str(&fields([
                    "source",
                    &one.port,
                    &source.source,
                    &source.prefix,
                    &source.origin,
                    &moment(source.expires_at),
                    &maybe(source.description.as_ref()),
                    &source.packets.to_string(),
                    &moment(source.last_hit),
                    &moment(source.since),
                ]));
            }
            for fact in &one.facts {
                text.push_str(&fields(["fact", &one.port, fact]));
            }
        }
        text
    }
}

fn explanation(one: &Explanation, now: Timestamp) -> String {
    let (green, yellow, red) = (
        AnsiColor::Green.on_default().bold(),
        AnsiColor::Yellow.on_default().bold(),
        AnsiColor::Red.on_default().bold(),
    );
    let by = one.let_in_by.join(", ");
    let (style, effect) = match one.verdict {
        Verdict::Drop if one.reason == Reason::Martian => {
            let also = one.let_in_by.iter().filter(|name| *name != "lo").cloned();
            let also: Vec<String> = also.collect();
            let text = "dropped if it comes from a wire; let in from this host";
            match also.is_empty() {
                true => (red, text.to_owned()),
                false => {
                    (yellow, format!("{text}, and by {}, where nothing judges it", also.join(", ")))
                }
            }
        }
        Verdict::Allow => (green, "let in".to_owned()),
        Verdict::Observe if one.let_in_by.is_empty() => {
            (yellow, "let in by observe mode; enforce would drop it".to_owned())
        }
        Verdict::Observe => {
            let text = format!(
                "let in by observe mode; enforce would drop it, but not what comes by {by}, where \
                 nothing judges it"
            );
            (yellow, text)
        }
        Verdict::Drop => match one.effect {
            Effect::LetIn => (
                yellow,
                format!("let in by {by}, where nothing judges it; the program would drop it"),
            ),
            Effect::Partly => {
                (yellow, format!("let in by {by}, where nothing judges it; dropped elsewhere"))
            }
            Effect::Dropped => (red, "dropped".to_owned()),
            Effect::Unknown => (red, "dropped where the program is attached".to_owned()),
        },
        Verdict::Pass => (Style::new().bold(), "let in; dbfw does not judge it".to_owned()),
        Verdict::Unknown => (Style::new().bold(), "unknown to this version of dbfw".to_owned()),
    };
    let whose = match (&one.database, &one.mode) {
        (Some(database), Some(mode)) => format!("of {} ({mode})", clean(database)),
        (Some(database), None) => format!("of {}", clean(database)),
        (None, _) => "of no database".to_owned(),
    };
    let address = one.address;
    let to = one.to.map(|to| format!(" at {to}")).unwrap_or_default();
    let prefix = match (&one.prefix, &one.database) {
        (Some(prefix), Some(_)) if one.sources.is_empty() && one.verdict == Verdict::Allow => {
            format!("{}, by a source that is not known without the agent", clean(prefix))
        }
        (Some(prefix), Some(database)) if one.sources.is_empty() => {
            format!("{}, not trusted by {}", clean(prefix), clean(database))
        }
        (Some(prefix), _) => clean(prefix),
        (None, _) if one.verdict == Verdict::Pass => "not looked up".to_owned(),
        (None, _) => format!("none covers {address}"),
    };
    let mut text = format!(
        "{address} to {}{to} {whose}: {style}{effect}{style:#}\n  \
         verdict  {} ({})\n  program  {}\n  prefix   {prefix}\n",
        clean(&one.port),
        one.verdict,
        one.reason,
        clean(&one.program),
    );
    for fact in &one.facts {
        text.push_str(&format!("  fact     {}\n", clean(fact)));
    }
    if !one.sources.is_empty() {
        text.push_str(&Table::of(&COVERING, &one.sources, now).indented(2).render());
    }
    text
}
