//! `dbfw check`: validates the configuration, and tries which files the agent may read.

use std::path::Path;

use dbfw_core::toml::Problem;
use dbfw_datapath::Interfaces;
use dbfw_wire::control::{Checked, CheckedDatabase, ConfigProblem, ConfigProblems};

use super::{
    context::Context,
    exit::{Exit, is_broken_pipe},
    message::{error, warn},
};
use crate::{
    config::{self, Config},
    doctor::{self, Unreadable},
};

pub(super) fn check(context: &Context) -> anyhow::Result<Exit> {
    let mut config = match config::load(&context.config) {
        Ok(config) => config,
        Err(problems) => return bad(context, &problems.0),
    };
    // An ordinary user cannot take on the agent's rights; doctor says so.
    let found = doctor::unreadable(&config).unwrap_or_default();
    let Unreadable { configuration, others, .. } = found;
    if !configuration.is_empty() {
        return bad(context, &configuration);
    }
    config.warnings.extend(others);
    config.warnings.iter().for_each(|problem| warn(&problem.to_string()));
    context.show(&checked(&config))?;
    Ok(Exit::Ok)
}

fn bad(context: &Context, problems: &[Problem]) -> anyhow::Result<Exit> {
    problems.iter().for_each(|problem| error(&problem.to_string()));
    let problems = problems.iter().map(to_wire).collect();
    match context.show(&ConfigProblems { problems }) {
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
                ports: database.ports.iter().map(ToString::to_string).collect(),
                mode: database.mode.into(),
                sources: database.trusted_sources.iter().map(ToString::to_string).collect(),
                provider: database.provider.as_ref().map(ToString::to_string),
            })
            .collect(),
        warnings: config.warnings.iter().map(ToString::to_string).collect(),
    }
}
