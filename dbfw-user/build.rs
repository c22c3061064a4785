//! Builds the kernel programs and leaves the object where `datapath` includes it.

use aya_build::{Package, Toolchain, build_ebpf};

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=../xtask/src/toolchain.rs");
    println!("cargo:rerun-if-env-changed={}", toolchain::OVERRIDE);
    println!("cargo:rustc-env=DBFW_REVISION={}", revision());
    let found = match toolchain::find() {
        Ok(found) => found,
        Err(missing) => {
            // cargo fails the build for it, and shows this line alone if the script succeeds.
            println!(
                "cargo::error=dbfw's kernel programs cannot be built: {missing}. Run `cargo xtask \
                 setup`, which installs it."
            );
            return Ok(());
        }
    };
    // core is built from source with an unstable flag, for this crate and compiler only.
    // SAFETY: the build script has one thread.
    #[expect(clippy::disallowed_methods, reason = "one thread; aya-build reads it from here")]
    unsafe {
        std::env::set_var("RUSTC_BOOTSTRAP", "1");
        // Its progress would otherwise appear as warnings of this crate.
        std::env::set_var("CARGO_TERM_QUIET", "true");
    }
    let features: &[&str] = if cfg!(feature = "bpf-log") { &["log"] } else { &[] };
    build_ebpf(
        [Package {
            name: "dbfw-ebpf",
            root_dir: "../dbfw-ebpf",
            no_default_features: false,
            features,
        }],
        Toolchain::Custom(&found.name),
    )
}

/// The commit the sources are at; empty outside a git checkout.
fn revision() -> String {
    println!("cargo:rerun-if-changed=../.git/HEAD");
    std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
