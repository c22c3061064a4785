//! A tokenizer for Rust, for names and punctuation alone.

/// A token, and the line it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: usize,
}

/// The kind of a token, with the text of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// `::`
    PathSeparator,
    /// Any other character that is neither blank nor part of a literal or a comment.
    Other(char),
    /// A string, a character or a number.
    Literal,
}

/// The tokens of `text`; comments and lifetimes are left out.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        if let Some(kind) = kind {
            tokens.push(Token { kind, line });
        }
        let (token, after) = rest.split_at(length);
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The token at the start of `text`, and the bytes it takes.
fn next(text: &str, first: char) -> (Option<Kind<'_>>, usize) {
    if text.starts_with("//") {
        (None, text.find('\n').unwrap_or(text.len()))
    } else if text.starts_with("/*") {
        (None, block_comment(text))
    } else if let Some(length) = string(text) {
        (Some(Kind::Literal), length)
    } else if first == '\'' {
        quote(text)
    } else if first.is_alphabetic() || first == '_' {
        let rest = text.strip_prefix("r#").unwrap_or(text);
        let name = &rest[..name_length(rest)];
        (Some(Kind::Name(name)), text.len() - rest.len() + name.len())
    } else if first.is_ascii_digit() {
        (Some(Kind::Literal), name_length(text))
    } else if text.starts_with("::") {
        (Some(Kind::PathSeparator), 2)
    } else if first.is_whitespace() {
        (None, first.len_utf8())
    } else {
        (Some(Kind::Other(first)), first.len_utf8())
    }
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// The length of the comment at the start of `text`, with those inside it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the string literal at the start of `text`, if there is one.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#']))
    })?;
    let body = &text[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    let body = body[hashes..].strip_prefix('"')?;
    let opening = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(body.find(&end).map_or(text.len(), |at| opening + at + end.len()));
    }
    (hashes == 0).then(|| opening + escaped(body, '"'))
}

/// A character literal, or the lifetime that begins like one.
fn quote(text: &str) -> (Option<Kind<'_>>, usize) {
    let body = &text[1..];
    let mut chars = body.chars();
    let first = chars.next();
    if first == Some('\\') || chars.next() == Some('\'') {
        (Some(Kind::Literal), 1 + escaped(body, '\''))
    } else {
        (None, 1 + name_length(body))
    }
}

/// The length of `body` up to and with the first `end` that no backslash escapes.
fn escaped(body: &str, end: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in body.char_indices() {
        if c == end && !is_escaped {
            return at + end.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(&str, usize)> {
        tokens(text)
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Name(name) => Some((name, token.line)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn comments_and_literals_hold_no_names() {
        let text = "a // no\n/* no /* no */ no\n*/ b \"no \\\" no\" r#\"no \" no\"# 'n' '\\'' b'n'\n\
                    c \"\n\" d 1_u8";
        assert_eq!(names(text), [("a", 1), ("b", 3), ("b", 3), ("c", 4), ("d", 5)]);
    }

    #[test]
    fn lifetimes_are_no_names() {
        assert_eq!(names("&'a x + 'static + r#type"), [("x", 1), ("type", 1)]);
    }

    #[test]
    fn paths_have_separators() {
        let kinds: Vec<_> = tokens("a::b:c").into_iter().map(|token| token.kind).collect();
        let [a, b, c] = ["a", "b", "c"].map(Kind::Name);
        assert_eq!(kinds, [a, Kind::PathSeparator, b, Kind::Other(':'), c]);
    }
}
