//! The command line, which asks the agent, or reads the pinned maps where none answers.
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod check;
mod completions;
mod context;
mod detach;
mod doctor;
mod drops;
mod exit;
mod explain;
mod history;
mod man;
mod map;
mod message;
mod metrics;
mod output;
mod reload;
mod run;
mod sources;
mod status;
mod suggest;
mod trust;

use std::{num::NonZeroUsize, process::ExitCode};

use clap::FromArgMatches as _;
use jiff::Timestamp;

pub use args::command;

use args::{Cli, Verb};
use context::Context;
use exit::Exit;
use message::{causes, error};

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
    match cli.context.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();

    let exit = match dispatch(&cli.context, cli.verb) {
        Ok(exit) => exit,
        Err(error) if exit::is_broken_pipe(&error) => Exit::Ok,
        Err(failure) => {
            error(&causes(&failure));
            exit::code(&failure)
        }
    };
    exit.into()
}

fn dispatch(context: &Context, verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status => status::status(context),
        Verb::Sources { unused } => sources::sources(context, unused),
        Verb::Explain { address, port } => explain::explain(context, address, port),
        Verb::Drops { follow: true, address, database, .. } => {
            drops::follow(context, address, database)
        }
        Verb::Drops { since, address, database, sort, limit, .. } => {
            let since = since.and_then(|since| Timestamp::now().checked_sub(since).ok());
            let limit = limit.map_or(context.default_limit(), NonZeroUsize::get);
            drops::list(context, limit, &drops::request(sort, since, address, database))
        }
        Verb::Map { verb } => map::map(context, verb),
        Verb::Metrics => metrics::metrics(context),
        Verb::Doctor => doctor::doctor(context),
        Verb::Run => run::run(context),
        Verb::Check => check::check(context),
        Verb::Reload { confirm } => reload::reload(context, confirm),
        Verb::Suggest { database } => suggest::suggest(context, database),
        Verb::History { since, address, database, limit } => {
            let from = since.and_then(|since| Timestamp::now().checked_sub(since).ok());
            let limit = limit.map_or(context.default_limit(), NonZeroUsize::get);
            let from = from.unwrap_or(Timestamp::MIN);
            let address = address.map(|address| address.to_canonical());
            history::history(context, &history::Query { from, limit, database, address })
        }
        Verb::Trust { verb } => trust::trust(context, verb),
        Verb::Detach { yes } => detach::detach(context, yes),
        Verb::Completions { shell } => completions::completions(shell),
        Verb::Man { dir } => man::man(dir.as_deref()),
    }
}
