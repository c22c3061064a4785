//! The command line, which asks the agent, or reads the pinned maps where none answers.
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod audit;
mod ca;
mod check;
mod completions;
mod context;
mod detach;
mod doctor;
mod drops;
mod exit;
mod explain;
mod export;
mod history;
mod import;
mod join;
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

use clap::{FromArgMatches as _, error::ErrorKind};
use dbfw_wire::control::FailureKind;
use jiff::Timestamp;

pub use args::command;

use args::{Cli, Verb};
use context::{Context, print_failure};
use exit::{Exit, failure};
use message::error;
use output::Format;

use crate::causes::causes;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and may find nobody reading.
            let _ = error.print();
            if error.exit_code() == 0 {
                return Exit::Ok.into();
            }
            if args::wanted_format(std::env::args_os()) == Some(Format::Json) {
                print_failure(failure(FailureKind::Usage, usage(&error)), false);
            }
            return Exit::Usage.into();
        }
    };
    match cli.context.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();

    let is_stream = cli.verb.is_stream();
    let exit = match dispatch(&cli.context, cli.verb) {
        Ok(exit) => exit,
        Err(error) if exit::is_broken_pipe(&error) => Exit::Ok,
        Err(failed) => {
            let (message, kind) = (causes(&failed), exit::kind(&failed));
            error(&message);
            cli.context.show_failure(failure(kind, message), is_stream);
            kind.into()
        }
    };
    exit.into()
}

/// A wrong command line, in one line: clap's text without the usage.
fn usage(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing: see --help".to_owned();
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

fn dispatch(context: &Context, verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Status => status::status(context),
        Verb::Sources { unused } => sources::sources(context, unused),
        Verb::Explain { address, port, to } => explain::explain(context, address, port, to),
        Verb::Drops { follow: true, address, database, .. } => {
            drops::follow(context, address, database)
        }
        Verb::Drops { since, address, database, sort, limit, .. } => {
            let since = since.and_then(|since| Timestamp::now().checked_sub(since).ok());
            let limit = limit.map_or(context.default_limit(), NonZeroUsize::get);
            drops::list(context, limit, &drops::request(sort, since, address, database))
        }
        Verb::Export { form, database } => export::export(context, form, database.as_deref()),
        Verb::Import { form, file, port } => import::import(form, &file, port),
        Verb::Ca { database, ca_file } => ca::ca(context, &database, ca_file.as_deref()),
        Verb::Audit(arguments) => audit::audit(context, &arguments),
        Verb::Join { url, token_file, force } => {
            join::join(context, &url, token_file.as_deref(), force)
        }
        Verb::Map { verb } => map::map(context, verb),
        Verb::Metrics => metrics::metrics(context),
        Verb::Doctor => doctor::doctor(context),
        Verb::Run => run::run(context),
        Verb::Check { list, strict } => check::check(context, list.as_deref(), strict),
        Verb::Reload { keep: true, .. } => reload::keep(context),
        Verb::Reload { revert: true, .. } => reload::revert(context),
        Verb::Reload { confirm, trial, .. } => reload::reload(context, confirm, trial),
        Verb::Suggest { database, all } => suggest::suggest(context, database, all),
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
