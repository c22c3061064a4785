//! `dbfw doctor`: checks the host for what dbfw needs.

use dbfw_wire::control::{FindingState, Findings};

use super::{context::Context, exit::Exit};
use crate::doctor;

pub(super) fn doctor(context: &Context) -> anyhow::Result<Exit> {
    let findings = doctor::check(&context.config);
    let failed = findings.iter().any(|finding| finding.state == FindingState::Fail);
    context.show(&Findings { findings })?;
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}
