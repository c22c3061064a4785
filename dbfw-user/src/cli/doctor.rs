//! `dbfw doctor`: checks the host for what dbfw needs.

use dbfw_wire::control::{self as wire, FindingState, Findings};

use super::{context::Context, exit::Exit};
use crate::doctor::{self, Finding, State};

pub(super) fn doctor(context: &Context) -> anyhow::Result<Exit> {
    let findings = doctor::check(context.config_path());
    let failed = findings.iter().any(Finding::is_failure);
    context.show(&Findings { findings: findings.into_iter().map(to_wire).collect() })?;
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}

fn to_wire(finding: Finding) -> wire::Finding {
    let Finding { check, state, detail } = finding;
    let (state, fix) = match state {
        State::Ok => (FindingState::Ok, None),
        State::Warn { fix } => (FindingState::Warn, Some(fix)),
        State::Fail { fix } => (FindingState::Fail, Some(fix)),
    };
    wire::Finding { check, state, detail, fix }
}
