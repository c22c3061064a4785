//! Names the commit that the binary is built from.

fn main() {
    println!("cargo:rustc-env=DBFW_REVISION={}", revision());
}

/// The commit the sources are at; empty outside a git checkout.
fn revision() -> String {
    // In a worktree .git is a file: git knows where HEAD is. A path that is not there would run
    // this script at every build.
    if let Some(head) = git(&["rev-parse", "--path-format=absolute", "--git-path", "HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default()
}

/// The output of git, if it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
