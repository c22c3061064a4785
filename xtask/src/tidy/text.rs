//! Rules about text: whitespace, words, and commands that must be named.

use super::{File, Finding};

/// The file that lists the words looked for, and so holds them.
const THIS: &str = "xtask/src/tidy/text.rs";

/// Words of unfinished work: it is done, or it is an issue.
const UNFINISHED: [&str; 7] =
    ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "#[ignore", "for now"];

/// Commands that must be named, and where.
const COMMANDS: [(&str, &str, &str); 3] = [
    ("README.md", "cargo xtask demo", "a reader must find how to see it work"),
    ("README.md", "cargo xtask test", "a reader must find how to test it"),
    (".ci/run", "cargo xtask test", "CI runs the test command the README names"),
];

/// Tabs, trailing blanks, and a last line without an end.
pub(super) fn whitespace(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose_or_code(file)) {
        for (line, text) in file.lines() {
            if text.contains('\t') {
                findings.push(file.finding(line, "a tab: indent with spaces"));
            }
            if text.ends_with(char::is_whitespace) {
                findings.push(file.finding(line, "blanks at the end of the line"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(file.finding(file.lines().count(), "the last line does not end"));
        }
    }
    findings
}

/// Words of unfinished work.
pub(super) fn unfinished(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_prose_or_code(file) && file.path != THIS) {
        for (line, text) in file.lines() {
            for word in UNFINISHED.into_iter().filter(|word| has_word(text, word)) {
                findings
                    .push(file.finding(line, format!("`{word}`: finish it, or make it an issue")));
            }
        }
    }
    findings
}

/// Commands that must be named and are not.
pub(super) fn commands(files: &[File]) -> Vec<Finding> {
    COMMANDS
        .into_iter()
        .filter(|(path, command, _)| {
            !files.iter().any(|file| file.path == *path && file.text.contains(command))
        })
        .map(|(path, command, reason)| Finding {
            path: path.to_owned(),
            line: 1,
            message: format!("does not name `{command}`: {reason}"),
        })
        .collect()
}

fn is_prose_or_code(file: &File) -> bool {
    file.is_a(&["rs", "md", "toml", "sh"]) || file.path == ".ci/run"
}

/// Whether `word` is in `text` and not part of a longer word.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let ends_in_letter = is_part(word.chars().next_back());
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !(is_part(before) || ends_in_letter && is_part(after))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn whitespace_is_found_where_it_is() {
        let files = [
            file("a.rs", "fn a() {} \n\tx\n"),
            file("b.md", "text"),
            file("c.snap", "a \n"),
            file("d.rs", "fn d() {}\n"),
        ];
        let found: Vec<_> =
            whitespace(&files).into_iter().map(|finding| (finding.path, finding.line)).collect();
        let expected = [("a.rs", 1), ("a.rs", 2), ("b.md", 1)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn unfinished_work_is_a_word_of_its_own() {
        let lines = [
            ("// TODO: x", true),
            ("todo!()", true),
            ("#[ignore = \"slow\"]", true),
            ("kept for now", true),
            ("mktemp -d dbfw.XXXXXX", false),
            ("AUTODOS", false),
            ("for nowhere", false),
            ("ignored", false),
        ];
        for (line, expected) in lines {
            assert_eq!(!unfinished(&[file("a.sh", line)]).is_empty(), expected, "{line}");
        }
    }

    #[test]
    fn commands_are_named_in_the_readme_and_ci() {
        let readme = "cargo xtask demo\ncargo xtask test\n";
        let files = [file("README.md", readme), file(".ci/run", "cargo xtask test\n")];
        assert_eq!(commands(&files), []);
        assert_eq!(commands(&files[..1]).len(), 1);
        assert_eq!(commands(&[]).len(), 3);
    }
}
