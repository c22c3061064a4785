//! `dbfw check`: validates the configuration or a list, and tries which files the agent may read.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use dbfw_core::{
    answers::ListId,
    toml::{Place, Problem, Problems},
};
use dbfw_datapath::Interfaces;
use dbfw_provider::file;
use dbfw_wire::control::{
    Checked, CheckedDatabase, CheckedList, ConfigProblem, ConfigProblems, FailureKind,
};
use jiff::Timestamp;

use super::{
    context::Context,
    exit::{Exit, failure, is_broken_pipe},
    message::{error, warn},
    output::Render,
};
use crate::{
    config::{self, Config, DatabaseConfig},
    doctor::{self, Doubt, Unreadable},
};

/// The name of standard input as a list.
const STDIN: &str = "stdin";

/// Checks the list, or else the configuration. If `strict`, a warning is a problem.
pub(super) fn check(context: &Context, list: Option<&Path>, strict: bool) -> anyhow::Result<Exit> {
    match list {
        Some(list) => answer(context, check_list(context, list), strict),
        None => answer(context, check_config(context), strict),
    }
}

/// A valid document, and the warnings about it.
type Valid<T> = (T, Vec<Problem>);

fn answer<T: Render>(
    context: &Context,
    checked: Result<Valid<T>, Vec<Problem>>,
    strict: bool,
) -> anyhow::Result<Exit> {
    match checked {
        Err(problems) => report_problems(context, &problems),
        Ok((_, warnings)) if strict && !warnings.is_empty() => report_problems(context, &warnings),
        Ok((document, warnings)) => {
            warnings.iter().for_each(|problem| warn(&problem.to_string()));
            context.show(&document)?;
            Ok(Exit::Ok)
        }
    }
}

fn check_config(context: &Context) -> Result<Valid<Checked>, Vec<Problem>> {
    let mut config = config::load(&context.config).map_err(|Problems(problems)| problems)?;
    // An ordinary user cannot take on the agent's rights; doctor says so.
    let found = doctor::unreadable(&config).unwrap_or_default();
    let Unreadable { configuration, others, .. } = found;
    if !configuration.is_empty() {
        return Err(configuration);
    }
    config.warnings.extend(others);
    let lists = config.databases.iter().flat_map(|database| problems_of_list(&config, database));
    let lists: Vec<Problem> = lists.collect();
    config.warnings.extend(lists);
    let doubts = doctor::doubts(&config);
    config.warnings.extend(doubts.into_iter().map(|Doubt { message, fix }| Problem {
        place: Place::file(&context.config),
        message,
        fix,
    }));
    Ok((checked(&config), config.warnings))
}

/// Problems of the file that the list of a database is in. The agent starts with them, and keeps
/// the last good list.
fn problems_of_list(config: &Config, database: &DatabaseConfig) -> Vec<Problem> {
    let Some(ListId::File(path)) = &database.provider else { return Vec::new() };
    let text = match file::text(path) {
        Ok(text) => text,
        Err(_) if config.warnings.iter().any(|known| *known.place.file == **path) => {
            return Vec::new();
        }
        Err(error) => {
            let (place, message) = (Place::file(path), error.reason);
            return vec![Problem { place, message, fix: String::new() }];
        }
    };
    match config::check_list(path, &text, Some(config), Some(database), Timestamp::now()) {
        Ok(listed) => listed.warnings,
        Err(Problems(problems)) => problems,
    }
}

fn check_list(context: &Context, list: &Path) -> Result<Valid<CheckedList>, Vec<Problem>> {
    let from_stdin = list == Path::new("-");
    let file = if from_stdin { PathBuf::from(STDIN) } else { list.to_owned() };
    let unreadable = |message: String, fix: &str| {
        vec![Problem { place: Place::file(&file), message, fix: fix.to_owned() }]
    };
    let text = if from_stdin {
        read_stdin()
            .map_err(|error| unreadable(format!("cannot be read: {error}"), "try a file"))?
            .ok_or_else(|| {
                let message = format!("has more than {} bytes", file::MAX_BYTES);
                unreadable(message, "summarise addresses as CIDRs, or split the list")
            })?
    } else {
        file::text(list).map_err(|error| unreadable(error.reason, ""))?
    };
    // A list is for any host; what this one cannot resolve is worth a warning.
    let host = config::load(&context.config).ok();
    let judged = |database| {
        config::check_list(&file, &text, host.as_ref(), database, Timestamp::now())
            .map_err(|Problems(problems)| problems)
    };
    let mut databases = databases_of_list(host.as_ref(), list).into_iter();
    let listed = judged(databases.next())?;
    let mut warnings = listed.warnings;
    for database in databases {
        let (known, others) = (warnings.clone(), judged(Some(database))?.warnings);
        warnings.extend(others.into_iter().filter(|other| !known.contains(other)));
    }
    if !from_stdin {
        warnings.extend(config::exposed_list(list));
    }
    let document = CheckedList {
        file: file.display().to_string(),
        sources: listed.sources,
        prefixes: listed.prefixes.len(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
    };
    Ok((document, warnings))
}

/// The databases whose list is in a file: their guards will judge it.
fn databases_of_list<'c>(host: Option<&'c Config>, list: &Path) -> Vec<&'c DatabaseConfig> {
    let path = std::path::absolute(list).unwrap_or_else(|_| list.to_owned());
    let is_of_list = |database: &&DatabaseConfig| matches!(&database.provider, Some(ListId::File(file)) if *file == path);
    host.into_iter().flat_map(|host| &host.databases).filter(is_of_list).collect()
}

/// Standard input; `None`: it is larger than a list may be.
pub(super) fn read_stdin() -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    io::stdin().lock().take(file::MAX_BYTES + 1).read_to_end(&mut text)?;
    Ok((text.len() as u64 <= file::MAX_BYTES).then_some(text))
}

fn report_problems(context: &Context, problems: &[Problem]) -> anyhow::Result<Exit> {
    problems.iter().for_each(|problem| error(&problem.to_string()));
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let message = match problems.len() {
        0 | 1 => first,
        all => format!("{all} problems, the first: {first}"),
    };
    let document = ConfigProblems {
        error: failure(FailureKind::BadConfig, message),
        problems: problems.iter().map(to_wire).collect(),
    };
    match context.show(&document) {
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(Exit::BadConfig),
    }
}

fn to_wire(problem: &Problem) -> ConfigProblem {
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    ConfigProblem {
        file: problem.place.file.display().to_string(),
        line: problem.place.line,
        key: said(&problem.place.key),
        message: problem.message.clone(),
        fix: said(&problem.fix),
    }
}

fn checked(config: &Config) -> Checked {
    let path = |path: &Path| path.display().to_string();
    Checked {
        files: config.files.iter().map(|file| path(&file.path)).collect(),
        interfaces: match &config.agent.interfaces {
            Interfaces::Auto => vec!["auto".to_owned()],
            Interfaces::Matching(globs) => globs.iter().map(ToString::to_string).collect(),
        },
        attach: config.agent.attach.as_str().to_owned(),
        backstop: config.agent.backstop,
        databases: config
            .databases
            .iter()
            .map(|database| CheckedDatabase {
                name: database.name.clone(),
                ports: database.ports.texts(),
                addresses: database.destinations.texts(),
                mode: database.mode.into(),
                sources: database.trusted_sources.iter().map(ToString::to_string).collect(),
                provider: database.provider.as_ref().map(ToString::to_string),
            })
            .collect(),
        warnings: config.warnings.iter().map(ToString::to_string).collect(),
    }
}
