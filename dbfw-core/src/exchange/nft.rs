//! A ruleset of nftables as a list.

use std::collections::HashMap;

use super::imported::{Imported, Left};
use crate::{PortQuery, PortRange};

/// Words that are read of a ruleset, each address of a set being one.
const MAX_WORDS: usize = 8_000_000;

/// Addresses after which no rule is read: what a list may have.
const MAX_FOUND: usize = 2_000_000;

/// The rules that admit, as a list; with `port`, those for it. A rule that drops everybody but
/// some admits these.
pub fn import_nft(text: &str, port: Option<PortQuery>) -> Vec<Imported> {
    let mut reader = Reader { port, ..Reader::default() };
    reader.read(text);
    reader.finish()
}

/// A word of a statement with the number of its line, or values in braces.
#[derive(Clone, Debug)]
enum Part {
    Word(String),
    /// The words of each.
    Values(Vec<Vec<String>>),
}

impl Part {
    fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Values(_) => "{ }",
        }
    }
}

/// A statement, and the set or chain that it is in.
struct Statement {
    line: usize,
    block: Block,
    parts: Vec<Part>,
}

/// A block in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    None,
    Table(String),
    Chain(String),
    /// A set by its table and name.
    Set(String),
    Other,
}

#[derive(Default)]
struct Reader {
    port: Option<PortQuery>,
    sets: HashMap<String, Vec<Vec<String>>>,
    rules: Vec<Statement>,
    found: Vec<Imported>,
}

impl Reader {
    fn read(&mut self, text: &str) {
        let mut words = Words { rest: text, line: 1 };
        let mut blocks = Vec::new();
        let mut parts = Vec::new();
        let mut line = 1;
        for _ in 0..MAX_WORDS {
            if parts.is_empty() {
                line = words.line;
            }
            let block = blocks.last().cloned().unwrap_or(Block::None);
            let Some(token) = words.next() else {
                return self.statement(Statement { line, block, parts });
            };
            match token {
                Token::Word(word) => parts.push(Part::Word(word)),
                Token::Open => match opened(&block, &parts) {
                    Some(block) => {
                        blocks.push(block);
                        parts.clear();
                    }
                    None => parts.push(Part::Values(words.values())),
                },
                Token::End => self.statement(Statement { line, block, parts: take(&mut parts) }),
                Token::Close => {
                    self.statement(Statement { line, block, parts: take(&mut parts) });
                    blocks.pop();
                }
                Token::Comma => {}
            }
        }
        let what = format!("everything from line {line} on");
        self.found.push(Imported::Left { what, why: Left::Form });
    }

    fn statement(&mut self, statement: Statement) {
        let words: Vec<&str> = statement.parts.iter().map(Part::word).collect();
        match (&statement.block, &*words) {
            (_, []) => {}
            (Block::Set(set), ["elements", "=", ..]) => {
                self.keep(set.clone(), statement.parts.get(2));
            }
            (_, ["define" | "redefine", name, "=", ..]) => {
                self.keep(format!("${name}"), statement.parts.get(3));
            }
            (_, ["add" | "create", "element", family, table, set, ..]) => {
                self.keep(format!("{family} {table} {set}"), statement.parts.get(5));
            }
            (Block::Chain(_), ["type" | "policy" | "comment" | "flags", ..]) => {}
            (Block::Chain(_), _) => self.rules.push(statement),
            (Block::None, ["add" | "insert", "rule", family, table, ..]) => {
                let block = Block::Chain(format!("{family} {table}"));
                let parts = statement.parts.get(5..).unwrap_or_default().to_vec();
                self.rules.push(Statement { block, parts, ..statement });
            }
            _ => {}
        }
    }

    fn keep(&mut self, set: String, values: Option<&Part>) {
        let values = match values {
            Some(Part::Values(values)) => values.clone(),
            Some(Part::Word(word)) => vec![vec![word.clone()]],
            None => Vec::new(),
        };
        self.sets.entry(set).or_default().extend(values);
    }

    fn finish(mut self) -> Vec<Imported> {
        for rule in std::mem::take(&mut self.rules) {
            let words: Vec<&str> = rule.parts.iter().map(Part::word).collect();
            let note = format!("line {}: {}", rule.line, words.join(" "));
            if self.found.len() > MAX_FOUND {
                let what = format!("everything from line {} on", rule.line);
                self.found.push(Imported::Left { what, why: Left::Form });
                break;
            }
            match self.values(&rule, &words) {
                Ok(values) => {
                    let imported: Vec<Imported> =
                        values.iter().filter_map(|value| import(value, &note)).collect();
                    self.found.extend(imported);
                }
                Err(why) => {
                    self.found.extend(why.map(|why| Imported::Left { what: note, why }));
                }
            }
        }
        self.found
    }

    /// The sources that a rule admits, or the reason why it is left; none: it says nothing of who
    /// gets in.
    fn values(&self, rule: &Statement, words: &[&str]) -> Result<Vec<Vec<String>>, Option<Left>> {
        let admits = words.contains(&"accept");
        let refuses = words.contains(&"drop") || words.contains(&"reject");
        let sources: Vec<usize> = (1..words.len())
            .filter(|at| words[*at] == "saddr" && matches!(words[*at - 1], "ip" | "ip6"))
            .collect();
        let source = match &*sources {
            [] => return Err(admits.then_some(Left::NoSource)),
            [source] => source + 1,
            _ => return Err(Some(Left::Form)),
        };
        let is_not = words.get(source) == Some(&"!=");
        match (admits, refuses, is_not) {
            (true, false, false) | (false, true, true) => {}
            (false, true, false) => return Err(Some(Left::Refuses)),
            _ => return Err(Some(Left::Form)),
        }
        match self.is_for(rule) {
            Some(true) => {}
            Some(false) => return Err(Some(Left::OtherPorts)),
            None => return Err(Some(Left::Form)),
        }
        let has_operator = is_not || words.get(source) == Some(&"==");
        let values = match rule.parts.get(source + usize::from(has_operator)) {
            Some(Part::Values(values)) => Some(values.clone()),
            Some(Part::Word(word)) => self.named(&rule.block, word),
            None => None,
        };
        let mut found = Vec::new();
        for value in values.ok_or(Some(Left::Form))? {
            match value.first().and_then(|word| self.sets.get(word)) {
                Some(values) => found.extend(values.iter().cloned()),
                None => found.push(value),
            }
        }
        Ok(found)
    }

    /// The values of a word: those of the set or variable that it names, or itself.
    fn named(&self, block: &Block, word: &str) -> Option<Vec<Vec<String>>> {
        match (word.strip_prefix('@'), block) {
            (Some(set), Block::Chain(table)) => {
                Some(self.sets.get(&format!("{table} {set}")).cloned().unwrap_or_default())
            }
            (Some(_), _) => None,
            (None, _) if word.starts_with('$') => self.sets.get(word).cloned(),
            (None, _) => Some(vec![vec![word.to_owned()]]),
        }
    }

    /// Whether a rule is for the port asked about; `None`: its ports cannot be read.
    fn is_for(&self, rule: &Statement) -> Option<bool> {
        let Some(asked) = self.port else { return Some(true) };
        let mut all = true;
        for at in (0..rule.parts.len()).filter(|at| rule.parts[*at].word() == "dport") {
            let udp = match at.checked_sub(1).map(|before| rule.parts[before].word()) {
                Some("tcp") => Some(false),
                Some("udp") => Some(true),
                Some("th") => None,
                _ => return None,
            };
            let values = match rule.parts.get(at + 1)? {
                Part::Values(values) => values.clone(),
                Part::Word(word) => self.named(&rule.block, word)?,
            };
            let mut one = false;
            for value in values.iter().filter_map(|words| words.first()) {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                for protocol in [false, true] {
                    let range = PortRange::new(protocol, first.parse().ok()?, last.parse().ok()?)?;
                    one |= udp.is_none_or(|udp| udp == protocol) && asked.is_about(&range);
                }
            }
            all &= one;
        }
        Some(all)
    }
}

/// A value of a set, as a rule that admits it.
fn import(value: &[String], note: &str) -> Option<Imported> {
    let (first, rest) = value.split_first()?;
    Some(match rest.iter().any(|word| word == "timeout") {
        true => Imported::Left { what: format!("{first}, {note}"), why: Left::Temporary },
        false => Imported::of_text(first, note),
    })
}

fn take(parts: &mut Vec<Part>) -> Vec<Part> {
    std::mem::take(parts)
}

/// The block that an open brace begins; `None`: values.
fn opened(outer: &Block, parts: &[Part]) -> Option<Block> {
    let words: Vec<&str> = parts.iter().map(Part::word).collect();
    let words = words.strip_prefix(&["add"]).unwrap_or(&words);
    let table = match outer {
        Block::Table(table) => table.clone(),
        _ => String::new(),
    };
    Some(match words {
        ["table", family, name] => Block::Table(format!("{family} {name}")),
        ["table", name] => Block::Table(format!("ip {name}")),
        ["chain", ..] if !table.is_empty() => Block::Chain(table),
        ["set" | "map", name] => Block::Set(format!("{table} {name}")),
        ["set" | "map", family, table, name] => Block::Set(format!("{family} {table} {name}")),
        ["chain", family, table, _] => Block::Chain(format!("{family} {table}")),
        ["flowtable" | "counter" | "quota" | "limit" | "ct", ..]
            if matches!(outer, Block::Table(_)) =>
        {
            Block::Other
        }
        _ => return None,
    })
}

enum Token {
    Word(String),
    Open,
    Close,
    Comma,
    /// The end of a line, or `;`.
    End,
}

/// The tokens of a text.
struct Words<'a> {
    rest: &'a str,
    line: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            let c = self.rest.chars().next()?;
            let after = &self.rest[c.len_utf8()..];
            match c {
                '\n' => {
                    self.rest = after;
                    self.line += 1;
                    return Some(Token::End);
                }
                '\\' if after.starts_with('\n') => {
                    self.rest = &after[1..];
                    self.line += 1;
                }
                '#' => self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..],
                c if c.is_whitespace() => self.rest = after,
                _ => break,
            }
        }
        let c = self.rest.chars().next()?;
        let token = match c {
            '{' => Token::Open,
            '}' => Token::Close,
            ',' => Token::Comma,
            ';' => Token::End,
            '"' => {
                let text = &self.rest[1..];
                let end = text.find(['"', '\n']).unwrap_or(text.len());
                let quoted = text[..end].to_owned();
                let has_end = text[end..].starts_with('"');
                self.rest = &text[end + usize::from(has_end)..];
                return Some(Token::Word(quoted));
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || "{},;#\"".contains(c);
                let end = self.rest.find(is_end).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(Token::Word(word.to_owned()));
            }
        };
        self.rest = &self.rest[1..];
        Some(token)
    }

    /// The values up to the brace that closes them.
    fn values(&mut self) -> Vec<Vec<String>> {
        let (mut values, mut value, mut depth) = (Vec::new(), Vec::new(), 0usize);
        while let Some(token) = self.next() {
            match token {
                Token::Word(word) => value.push(word),
                Token::Comma => values.push(std::mem::take(&mut value)),
                Token::End => {}
                Token::Open => depth += 1,
                Token::Close if depth == 0 => break,
                Token::Close => depth -= 1,
            }
        }
        values.push(value);
        values.retain(|value| !value.is_empty());
        values
    }
}
