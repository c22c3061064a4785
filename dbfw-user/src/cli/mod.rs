//! The command line: asks the agent, or looks at the pinned maps where no agent answers.
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod check;
mod completions;
mod context;
mod detach;
mod doctor;
mod drops;
mod duration;
mod exit;
mod explain;
mod history;
mod man;
mod map;
mod metrics;
mod offline;
mod output;
mod reload;
mod run;
mod sources;
mod status;
mod suggest;
mod trust;

use std::{io::Write as _, process::ExitCode};

use anstyle::{AnsiColor, Style};
use clap::FromArgMatches as _;

pub use args::command;

use args::{Cli, Verb};
use context::Context;
use exit::Exit;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and may find nobody reading.
            let _ = error.print();
            return if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    match cli.global.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();

    let context = Context::new(cli.global);
    let exit = match dispatch(&context, cli.verb) {
        Ok(exit) => exit,
        Err(error) if exit::is_broken_pipe(&error) => Exit::Ok,
        Err(error) => {
            let style = AnsiColor::Red.on_default().bold();
            tell("error", style, &causes(&error));
            exit::code(&error)
        }
    };
    exit.into()
}

fn dispatch(context: &Context, verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status => status::status(context),
        Verb::Sources => sources::sources(context),
        Verb::Explain { address, port } => explain::explain(context, address, port),
        Verb::Drops { follow: true, .. } => drops::follow(context),
        Verb::Drops { limit, .. } => drops::top(context, limit.get()),
        Verb::Map { verb } => map::map(context, verb),
        Verb::Metrics => metrics::metrics(context),
        Verb::Doctor => doctor::doctor(context),
        Verb::Run => run::run(context),
        Verb::Check => check::check(context),
        Verb::Reload { confirm } => reload::reload(context, confirm),
        Verb::Suggest { database } => suggest::suggest(context, database),
        Verb::History { since, limit } => history::history(context, since, limit.get()),
        Verb::Trust { verb } => trust::trust(context, verb),
        Verb::Detach { yes } => detach::detach(context, yes),
        Verb::Completions { shell } => completions::completions(shell),
        Verb::Man { dir } => man::man(dir.as_deref()),
    }
}

/// The error and its causes, without those that the text before them has already.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (false, true) => said,
            (false, false) => format!("{said}: {cause}"),
        }
    })
}

/// Says something on standard error, where a failure to say it has nowhere to go. Some of it
/// may be somebody else's text.
fn tell(label: &str, style: Style, text: &str) {
    let text = text.split('\n').map(output::clean).collect::<Vec<_>>().join("\n");
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {text}");
}

/// Says on standard error what the reader should know about the answer.
fn note(text: &str) {
    tell("note", AnsiColor::Cyan.on_default(), text);
}

/// Says on standard error what may not be meant.
fn warn(text: &str) {
    tell("warning", AnsiColor::Yellow.on_default().bold(), text);
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = Err::<(), _>(std::io::Error::other("no such file"))
            .context("cannot open /x: no such file (is it there?)")
            .context("not started")
            .unwrap_err();
        assert_eq!(causes(&error), "not started: cannot open /x: no such file (is it there?)");
    }
}
