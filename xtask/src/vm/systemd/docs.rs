//! The steps and the drop-in that the documentation gives, as it gives them.

use anyhow::{Context, Result, bail};

/// The comment that marks the drop-in of docs/operations.md.
const DROP_IN: &str = "# drop-in: database behind the filter";

/// The commands that the README's section on the installation gives, but what builds dbfw. Root
/// runs them, so without `sudo`.
pub(super) fn installation(readme: &str) -> Result<Vec<String>> {
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("Install from source"))
        .context("the README has no section Install from source")?;
    let commands: Vec<String> = blocks(section)
        .flat_map(|(language, text)| text.lines().filter(move |_| language == "sh"))
        .filter(|line| !line.starts_with("cargo "))
        .map(|line| line.strip_prefix("sudo ").unwrap_or(line).to_owned())
        .collect();
    if commands.is_empty() {
        bail!("the README's section Install from source has no commands");
    }
    Ok(commands)
}

/// The drop-in that holds a database back until the filter is ready.
pub(super) fn drop_in(operations: &str) -> Result<String> {
    blocks(operations)
        .map(|(_, text)| text)
        .find(|text| text.starts_with(DROP_IN))
        .map(str::to_owned)
        .with_context(|| format!("docs/operations.md has no `{DROP_IN}`"))
}

/// The fenced blocks of a text: language and content.
fn blocks(markdown: &str) -> impl Iterator<Item = (&str, &str)> {
    markdown.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_one_section_are_taken() {
        let readme = "# x\n\n## Two\n\n```sh\ncargo xtask demo\n```\n\n## Install from source\n\n```sh\n\
                      cargo build\nsudo groupadd dbfw\n```\n\nthen\n\n```toml\na = 1\n```\n\n```sh\n\
                      sudo dbfw check  # good?\ndbfw status\n```\n\n## Limits\n\n```sh\nreboot\n```\n";
        let commands = installation(readme).expect("commands");
        assert_eq!(commands, ["groupadd dbfw", "dbfw check  # good?", "dbfw status"]);
        assert!(installation("# nothing").is_err());
        assert!(installation("\n## Install from source\n\nby hand\n").is_err());
    }

    #[test]
    fn the_drop_in_is_found_by_its_comment() {
        let text = format!("a\n\n```ini\n[Unit]\n```\n\n```ini\n{DROP_IN}\n[Unit]\nAfter=a\n```\n");
        assert_eq!(drop_in(&text).expect("a drop-in"), format!("{DROP_IN}\n[Unit]\nAfter=a\n"));
        assert!(drop_in("```ini\n[Unit]\n```\n").is_err());
    }
}
