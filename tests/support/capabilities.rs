//! What a thread may do.

use caps::{CapSet, Capability};

/// Runs something that this thread does without CAP_PERFMON and CAP_SYS_ADMIN, as who may do
/// no more than load programs does.
pub fn without_perfmon<T>(run: impl FnOnce() -> T) -> T {
    const BOTH: [Capability; 2] = [Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN];
    for capability in BOTH {
        caps::drop(None, CapSet::Effective, capability).expect("drop a capability");
    }
    let result = run();
    for capability in BOTH {
        caps::raise(None, CapSet::Effective, capability).expect("take it back");
    }
    result
}
