//! SPDX licence expressions: `AND`, `OR`, `WITH`, parentheses, and the old `A/B`.

use std::collections::BTreeSet;

/// A parsed expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A licence, with its exception if it has one (`Apache-2.0 WITH LLVM-exception`).
    Licence(String),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Whether some choice of licences that are all allowed fulfils the expression.
    pub(super) fn is_satisfied(&self, allowed: &BTreeSet<String>) -> bool {
        match self {
            Self::Licence(name) => allowed.contains(name),
            Self::And(left, right) => left.is_satisfied(allowed) && right.is_satisfied(allowed),
            Self::Or(left, right) => left.is_satisfied(allowed) || right.is_satisfied(allowed),
        }
    }

    /// Every licence the expression names.
    pub(super) fn for_each(&self, visit: &mut impl FnMut(&str)) {
        match self {
            Self::Licence(name) => visit(name),
            Self::And(left, right) | Self::Or(left, right) => {
                left.for_each(visit);
                right.for_each(visit);
            }
        }
    }
}

/// Parses an expression; the error says what was expected.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " / ");
    let mut parser = Parser { words: spaced.split_whitespace().peekable() };
    let expression = parser.or()?;
    match parser.words.next() {
        None => Ok(expression),
        Some(word) => Err(format!("{word} is one word too many")),
    }
}

struct Parser<'a, I: Iterator<Item = &'a str>> {
    words: std::iter::Peekable<I>,
}

impl<'a, I: Iterator<Item = &'a str>> Parser<'a, I> {
    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.words.next_if(|word| matches!(*word, "OR" | "/")).is_some() {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.licence()?;
        while self.words.next_if_eq(&"AND").is_some() {
            left = Expression::And(Box::new(left), Box::new(self.licence()?));
        }
        Ok(left)
    }

    fn licence(&mut self) -> Result<Expression, String> {
        if self.words.next_if_eq(&"(").is_some() {
            let inner = self.or()?;
            return match self.words.next() {
                Some(")") => Ok(inner),
                _ => Err("a parenthesis is not closed".to_owned()),
            };
        }
        let name = self.name()?;
        if self.words.next_if_eq(&"WITH").is_some() {
            return Ok(Expression::Licence(format!("{name} WITH {}", self.name()?)));
        }
        Ok(Expression::Licence(name.to_owned()))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        match self.words.next() {
            Some(word @ ("AND" | "OR" | "WITH" | "/" | "(" | ")")) => {
                Err(format!("{word} stands where a licence should"))
            }
            Some(word) => Ok(word),
            None => Err("it ends where a licence should stand".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_satisfied_by_allowed_licences_alone() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "BSD-3-Clause"];
        let allowed = allowed.map(str::to_owned).into_iter().collect();
        let cases = [
            ("MIT", true),
            ("GPL-2.0-only", false),
            ("MIT OR GPL-2.0-only", true),
            ("GPL-2.0-only OR MIT", true),
            ("MIT AND GPL-2.0-only", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 / MIT", true),
            ("(MIT OR GPL-2.0-only) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
            // AND binds tighter than OR.
            ("MIT OR Apache-2.0 AND GPL-2.0-only", true),
            ("GPL-2.0-only AND MIT OR Apache-2.0", true),
            ("GPL-2.0-only AND (MIT OR Apache-2.0)", false),
            // An exception is a licence of its own in the list, as cargo-deny has it.
            ("Apache-2.0 WITH LLVM-exception", false),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("((MIT))", true),
        ];
        for (text, expected) in cases {
            let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(expression.is_satisfied(&allowed), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_an_error() {
        for text in ["", "AND", "MIT OR", "MIT Apache-2.0", "(MIT", "MIT)", "MIT WITH", "()", "/"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
