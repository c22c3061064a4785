//! `dbfw doctor`.

use super::{context::Context, exit::Exit, offline};
use crate::control::wire::{FindingState, Findings};

pub(super) fn doctor(context: &Context) -> anyhow::Result<Exit> {
    let found = Findings { findings: offline::doctor(context.config_path()) };
    context.show(&found)?;
    let failed = found.findings.iter().any(|finding| finding.state == FindingState::Fail);
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}
