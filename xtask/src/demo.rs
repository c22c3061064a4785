//! `cargo xtask demo`.

/// Not built yet.
pub(crate) fn run(_args: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("the demo is not built yet")
}
