//! Links of the documentation lead somewhere.

use super::{File, Finding};

/// Relative links whose file does not exist, or whose heading is not in the file.
pub(super) fn broken(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_a(&["md"])) {
        for (line, target) in links(&file.text) {
            if let Some(message) = problem(file, &target, files, &exists) {
                findings.push(file.finding(line, message));
            }
        }
    }
    findings
}

fn problem(
    file: &File,
    target: &str,
    files: &[File],
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    if is_elsewhere {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
    if !exists(&path) && !files.iter().any(|file| file.path == path) {
        return Some(format!("the link {target} leads to no file"));
    }
    let there = files.iter().find(|file| file.path == path && file.is_a(&["md"]))?;
    let is_there =
        heading.is_empty() || headings(&there.text).any(|there| anchor(there) == heading);
    (!is_there).then(|| format!("the link {target} leads to no heading of {path}"))
}

/// `link` as seen from `from`, as a path from the root of the repository.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The targets of `[text](target)` and `[name]: target`, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        let text = without_code(text);
        for (at, _) in text.match_indices("](") {
            let target = &text[at + 2..];
            let target = &target[..target.find(')').unwrap_or(target.len())];
            if let Some(target) = target.split_whitespace().next() {
                found.push((line, target.trim_matches(['<', '>']).to_owned()));
            }
        }
        let definition = text.strip_prefix('[').filter(|rest| !rest.starts_with('^'));
        if let Some((_, target)) = definition.and_then(|rest| rest.split_once("]: ")) {
            found.push((line, target.trim().to_owned()));
        }
    }
    found
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len() && title.starts_with(' ')).then(|| title.trim())
    })
}

/// A heading's anchor as GitHub makes it.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// The lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// A line without its `code`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn links_lead_to_files_and_headings() {
        let docs = "# Docs\n\n## It's `up`, or not\n\n[up](../README.md) [here](#its-up-or-not)\n\
                    [gone](gone.md)\n[no](../README.md#nowhere) [web](https://example.org/x)\n\
                    ```\n[in code](gone.md)\n```\nand `[code](gone.md)`\n[name]: gone.md\n";
        let files = [file("README.md", "# Top\n[docs](docs/a.md#docs)\n"), file("docs/a.md", docs)];
        let found: Vec<_> =
            broken(&files, |_| false).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, [6, 7, 12]);
    }

    #[test]
    fn a_directory_is_a_target_too() {
        let files = [file("README.md", "[all](docs/) [top](/deny.toml)\n")];
        assert_eq!(broken(&files, |path| path == "docs" || path == "deny.toml"), []);
    }
}
