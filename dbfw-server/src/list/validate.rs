//! Checks of what a client wants: fields of a rule, and the list as a whole.

use std::{collections::HashSet, fmt};

use dbfw_core::{
    misleads,
    policy::{USUAL_MIN_LEN, check_width},
    source::{Expiry, Location, PrefixUnion, SourceKey, SourceType},
};
use jiff::Timestamp;

use super::rule::{Rule, Setting, Wanted};

/// Rules of a database, unless the configuration says otherwise.
pub const MAX_RULES: usize = 1000;

/// Bytes of a value.
pub const MAX_VALUE: usize = 256;

/// Bytes of a description.
pub const MAX_DESCRIPTION: usize = 512;

/// The limits of a database's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most rules.
    pub rules: usize,
    /// Whether it may trust everybody.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
    /// URLs that a feed's may begin with.
    pub feeds: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rules: MAX_RULES, allow_any: false, min_prefix: USUAL_MIN_LEN, feeds: Vec::new() }
    }
}

/// The part of a request that a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The list as a whole.
    Rules,
    /// The type of a rule.
    Type,
    /// Its value.
    Value,
    /// Its description.
    Description,
    /// Its expiry.
    ExpiresAt,
}

impl Field {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Type => "type",
            Self::Value => "value",
            Self::Description => "description",
            Self::ExpiresAt => "expires_at",
        }
    }
}

/// A rule that cannot be in the list, or a list that cannot be: why, and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The place of the rule among those that were sent, from 0; `None`: the list as a whole, or
    /// the only rule.
    pub at: Option<usize>,
    /// The part of it.
    pub field: Field,
    /// The reason.
    pub reason: String,
    /// The fix.
    pub fix: String,
}

impl Violation {
    /// A violation in a rule of which the place is not known yet.
    pub fn new(field: Field, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at: None, field, reason: reason.into(), fix: fix.into() }
    }

    /// The same in the rule at this place.
    pub fn in_rule(self, at: usize) -> Self {
        Self { at: Some(at), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            write!(f, "rules[{at}].")?;
        }
        write!(f, "{}: {}; {}", self.field.as_str(), self.reason, self.fix)
    }
}

/// The source that a rule's texts are, at the time `now`.
///
/// # Errors
/// The text that cannot be used.
pub fn read(
    kind: &str,
    value: &str,
    description: Setting<String>,
    expires_at: &Setting<String>,
) -> Result<Wanted, Violation> {
    let kind: SourceType = kind.parse().map_err(|error: dbfw_core::source::ParseError| {
        Violation::new(Field::Type, error.to_string(), error.fix())
    })?;
    if value.len() > MAX_VALUE {
        let reason = format!("has {} bytes", value.len());
        return Err(Violation::new(Field::Value, reason, format!("use at most {MAX_VALUE}")));
    }
    let key = SourceKey::new(kind, value)
        .map_err(|error| Violation::new(Field::Value, error.to_string(), error.fix()))?;
    Ok(Wanted {
        key,
        description: read_description(description)?,
        expires_at: read_expiry(expires_at)?,
    })
}

/// The description that a text is.
///
/// # Errors
/// It is too long, or has characters that would deceive a reader.
pub fn read_description(said: Setting<String>) -> Result<Setting<String>, Violation> {
    let Setting::Set(text) = said else { return Ok(said) };
    if text.is_empty() {
        return Ok(Setting::Clear);
    }
    let violation =
        |reason: String, fix: &str| Err(Violation::new(Field::Description, reason, fix));
    if text.len() > MAX_DESCRIPTION {
        return violation(format!("has {} bytes", text.len()), "use at most 512");
    }
    if text.chars().any(|c| c.is_control() || misleads(c)) {
        let reason = "has characters that are not seen, or break or turn the line";
        return violation(reason.to_owned(), "remove them");
    }
    Ok(Setting::Set(text))
}

/// The expiry that a text is.
///
/// # Errors
/// It is no time.
pub fn read_expiry(said: &Setting<String>) -> Result<Setting<Timestamp>, Violation> {
    let text = match said {
        Setting::Keep => return Ok(Setting::Keep),
        Setting::Clear => return Ok(Setting::Clear),
        Setting::Set(text) if text.is_empty() => return Ok(Setting::Clear),
        Setting::Set(text) => text,
    };
    match text.parse::<Expiry>() {
        Ok(expiry) => Ok(expiry.moment().map_or(Setting::Clear, Setting::Set)),
        Err(error) => Err(Violation::new(Field::ExpiresAt, error.to_string(), error.fix())),
    }
}

/// Checks what the client wants against the limits. What is in `current` was checked when it
/// came: it is no reason to refuse a change of something else, least of all a removal.
///
/// # Errors
/// Everything that is wrong with what is new.
pub fn validate(
    current: &[Rule],
    wanted: &[Wanted],
    limits: &Limits,
    now: Timestamp,
) -> Result<(), Vec<Violation>> {
    let known: HashSet<&SourceKey> = current.iter().map(|rule| &rule.key).collect();
    let mut violations = Vec::new();
    if wanted.len() > limits.rules && wanted.len() > current.len() {
        let reason = format!("would be {} trusted sources", wanted.len());
        let fix = format!("a database can have {}: put addresses together as CIDRs", limits.rules);
        violations.push(Violation::new(Field::Rules, reason, fix));
    }
    for (at, new) in wanted.iter().enumerate() {
        if let Setting::Set(expiry) = new.expires_at
            && expiry <= now
            && !current.iter().any(|r| r.key == new.key && r.details.expires_at == Some(expiry))
        {
            let reason = format!("{expiry} has passed");
            let violation = Violation::new(Field::ExpiresAt, reason, "name a time to come");
            violations.push(violation.in_rule(at));
        }
        if !known.contains(&new.key) {
            let found =
                check_feed(&new.key, &limits.feeds).or_else(|| check_prefixes(&new.key, limits));
            violations.extend(found.map(|violation| violation.in_rule(at)));
        }
    }
    if violations.is_empty() {
        violations.extend(check_sum(current, wanted, limits));
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

fn check_feed(key: &SourceKey, allowed: &[String]) -> Option<Violation> {
    let reason = match &key.feed()?.location {
        Location::Path(_) => "names a file, which would be one of the server",
        Location::Url(url) => {
            let is_below = |prefix: &String| {
                let rest = url.as_str().strip_prefix(prefix.as_str());
                rest.is_some_and(|rest| {
                    prefix.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?'])
                })
            };
            if allowed.iter().any(is_below) {
                return None;
            }
            "is not below a URL that the server allows"
        }
    };
    Some(Violation::new(Field::Value, reason, "use a URL below one of [feeds] allow"))
}

fn check_prefixes(key: &SourceKey, limits: &Limits) -> Option<Violation> {
    let union: PrefixUnion = [key.prefixes()?].into_iter().collect();
    let refusal = check_width(&union, limits.allow_any, limits.min_prefix).err()?;
    Some(Violation::new(Field::Value, refusal.to_string(), refusal.setting()))
}

/// Refuses a list that in all pieces together is too wide, unless it was before.
fn check_sum(current: &[Rule], wanted: &[Wanted], limits: &Limits) -> Option<Violation> {
    let check = |sum: PrefixUnion| check_width(&sum, limits.allow_any, limits.min_prefix);
    let refusal =
        check(wanted.iter().filter_map(|wanted| wanted.key.prefixes()).collect()).err()?;
    check(current.iter().filter_map(|rule| rule.key.prefixes()).collect()).ok()?;
    Some(Violation::new(Field::Rules, refusal.to_string(), refusal.setting()))
}
