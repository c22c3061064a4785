//! The command line. Data goes to standard output, everything else to standard error.

mod args;
mod check;
mod client;
mod database;
mod exit;
mod hosts;
mod init;
mod man;
mod output;
mod owner;
mod resolved;
mod serve;
mod store;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

pub use args::command;

use args::{Cli, Verb};
use exit::Exit;
use output::error;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and may find nobody reading.
            let _ = error.print();
            return if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    let exit = dispatch(cli).unwrap_or_else(|failed| {
        let exit = exit::code(&failed);
        if exit != Exit::Ok {
            error(&exit::message(&failed));
        }
        exit
    });
    exit.into()
}

fn dispatch(Cli { context, verb }: Cli) -> anyhow::Result<Exit> {
    match verb {
        Verb::Init => init::init(&context),
        Verb::Serve => serve::serve(&context),
        Verb::Check => check::check(&context),
        Verb::Database { verb } => database::database(&context, verb),
        Verb::JoinToken { databases, uses, lifetime } => {
            hosts::join_token(&context, databases, uses, lifetime)
        }
        Verb::Hosts { verb } => hosts::hosts(&context, &verb),
        Verb::Resolved { verb } => resolved::resolved(&context, &verb),
        Verb::Token { verb } => token::token(&context, verb),
        Verb::Store { verb } => store::store(&context, verb),
        Verb::Completions { shell } => man::completions(shell),
        Verb::Man { dir } => man::man(dir.as_deref()),
    }
}
