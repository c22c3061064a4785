//! Reading Rust without a parser: code with its comments and strings blanked, the names in
//! it, and modules without a description.

use super::{File, Finding};

/// `text` with comments, strings and characters replaced by blanks; lines stay where they
/// are.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let in_a_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + string_end(&rest[1..]),
            'r' | 'b' | 'c' if !in_a_word => raw_string(rest).unwrap_or(0),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The bytes of a comment that may hold comments.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The bytes up to and with the quote that ends a string.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The bytes of a raw string, if `text` begins with one.
fn raw_string(text: &str) -> Option<usize> {
    let start = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begun = text.len() - body.len();
    Some(begun + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// The bytes of a character literal; none for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            text[from..].find('\'').map_or(0, |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The names in a line of code.
pub(super) fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

/// Public modules and crate roots that do not begin with what they are for.
pub(super) fn undocumented_modules(files: &[File]) -> Vec<Finding> {
    let is_root = |path: &str| {
        ["src/lib.rs", "src/main.rs", "support/lib.rs", "it/main.rs"]
            .iter()
            .any(|root| path.ends_with(&format!("/{root}")))
    };
    let mut public = Vec::new();
    for file in files.iter().filter(|file| file.is_a(&["rs"])) {
        let Some((directory, name)) = file.path.rsplit_once('/') else { continue };
        let children = match name {
            "mod.rs" | "lib.rs" | "main.rs" => directory.to_owned(),
            _ => file.path.trim_end_matches(".rs").to_owned(),
        };
        for line in file.text.lines() {
            if let Some(module) = line.trim().strip_prefix("pub mod ")
                && let Some(module) = module.strip_suffix(';')
            {
                public.push(format!("{children}/{module}.rs"));
                public.push(format!("{children}/{module}/mod.rs"));
            }
        }
    }
    files
        .iter()
        .filter(|file| is_root(&file.path) || public.contains(&file.path))
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.finding(1, "a public module begins with a `//!` line: what it is for"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" y") g"#, r#"f(        ) g"#),
            (r##"r#"x " y"# z"##, "           z"),
            (r#"br"x" bar"y""#, "      bar   "),
            ("'x' 'a fn '\\'' b", "    'a fn      b"),
            ("'\\u{1f}' x", "         x"),
            ("\"open\nend", "     \n   "),
        ];
        for (text, expected) in cases {
            assert_eq!(code_only(text), expected, "{text:?}");
        }
    }

    #[test]
    fn public_modules_say_what_they_are_for() {
        let files = [
            file("x/src/lib.rs", "//! X.\npub mod a;\nmod b;\npub mod c;\n"),
            file("x/src/a.rs", "pub mod deep;\n"),
            file("x/src/a/deep.rs", "//! Deep.\n"),
            file("x/src/b.rs", "fn b() {}\n"),
            file("x/src/c/mod.rs", "//! C.\n"),
            file("y/src/main.rs", "fn main() {}\n"),
        ];
        let found: Vec<_> =
            undocumented_modules(&files).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["x/src/a.rs", "y/src/main.rs"]);
    }
}
