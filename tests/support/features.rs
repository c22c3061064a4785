//! Features of the running kernel by its version.

use nix::sys::utsname::uname;

use crate::{capabilities::without_perfmon, kernel::Kernel};

/// Major and minor of the running kernel.
pub fn kernel_version() -> (u32, u32) {
    let name = uname().expect("uname");
    let release = name.release().to_string_lossy().into_owned();
    parse(&release).unwrap_or_else(|| panic!("no version in {release}"))
}

/// TCX: 6.6.
pub fn has_tcx() -> bool {
    kernel_version() >= (6, 6)
}

/// The hooks there are, each as the configuration calls it.
pub fn hooks() -> &'static [&'static str] {
    if has_tcx() { &["native", "generic", "tcx"] } else { &["native", "generic"] }
}

/// An interface may be renamed while it is up: 6.2 (commit bd039b5ea2a9).
pub fn renames_while_up() -> bool {
    kernel_version() >= (6, 2)
}

/// Whether the verifier takes the programs from a loader without CAP_PERFMON. From 6.18 on it has
/// to; before, some stable releases do.
pub fn loads_without_perfmon() -> bool {
    match without_perfmon(Kernel::try_load) {
        Ok(_) => true,
        Err(refused) => {
            assert!(kernel_version() < (6, 18), "{refused}");
            assert!(refused.contains("Permission denied"), "{refused}");
            false
        }
    }
}

/// Major and minor of "6.1.0-56-cloud-amd64".
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
