//! What tests of every module use.

use proptest::prelude::ProptestConfig;

/// For a property that is checked `usually` so many times where others are 256 times: as many
/// more as PROPTEST_CASES asks of those.
pub(crate) fn cases(usually: u32) -> ProptestConfig {
    let others = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = u64::from(usually) * u64::from(others.cases) / 256;
    ProptestConfig { cases: u32::try_from(cases.max(1)).unwrap_or(u32::MAX), ..others }
}
