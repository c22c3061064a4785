//! Helpers for the property tests of several crates.

use proptest::prelude::ProptestConfig;

/// Scales a property's usual number of cases by PROPTEST_CASES / 256.
pub fn cases(usually: u32) -> ProptestConfig {
    let others = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = u64::from(usually) * u64::from(others.cases) / 256;
    ProptestConfig { cases: u32::try_from(cases.max(1)).unwrap_or(u32::MAX), ..others }
}
