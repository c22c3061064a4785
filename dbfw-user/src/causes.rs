//! Errors as text.

/// The error and its causes, without those that the text before them has already.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (false, true) => said,
            (false, false) => format!("{said}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = Err::<(), _>(std::io::Error::other("no such file"))
            .context("cannot open /x: no such file (is it there?)")
            .context("not started")
            .unwrap_err();
        assert_eq!(causes(&error), "not started: cannot open /x: no such file (is it there?)");
    }
}
