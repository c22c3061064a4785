//! The rules of a database cluster as trusted sources.

use std::collections::HashMap;

use dbfw_core::{
    answers::{Cause, FetchError, ListId, ListOutcome, SourceList, reason_first},
    misleads,
    source::{SourceKey, SourceType, TrustedSource},
};
use dbfw_wire::digitalocean::{Firewall, FirewallRule};

use crate::http::clean;

/// Characters of a description that are kept.
const MAX_DESCRIPTION: usize = 255;

/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 100;

/// Types that DigitalOcean's lists have. A list that names others would have dbfw ask
/// whomever the list wants.
const TYPES: [SourceType; 5] =
    [SourceType::IpAddr, SourceType::Droplet, SourceType::K8s, SourceType::Tag, SourceType::App];

/// The rules that mean something here, each once; the others as problems.
pub(crate) fn outcome(list: &ListId, firewall: &Firewall) -> ListOutcome {
    let mut sources: Vec<TrustedSource> = Vec::new();
    let mut known: HashMap<SourceKey, usize> = HashMap::new();
    let mut problems = Vec::new();
    let mut untold = 0_usize;
    for (at, rule) in firewall.rules.iter().enumerate() {
        match source(rule) {
            Ok(source) => match known.get(source.key()).and_then(|at| sources.get_mut(*at)) {
                Some(first) => first.description = first.description.take().or(source.description),
                None => {
                    known.insert(source.key().clone(), sources.len());
                    sources.push(source);
                }
            },
            Err(problem) if problems.len() < MAX_PROBLEMS => {
                let uuid = match rule.uuid.as_str() {
                    "" => String::new(),
                    uuid => format!(" {}", clean(uuid, 80)),
                };
                problems.push(reason_first(&problem, &format!("{list}, rules[{at}]{uuid}")));
            }
            Err(_) => untold += 1,
        }
    }
    if untold > 0 {
        problems.push(format!("{untold} more rules cannot be used ({list})"));
    }
    match problems.first() {
        // Rules that nobody understands are not the same as no rules.
        Some(problem) if sources.is_empty() => ListOutcome::Failed(FetchError::new(
            Cause::Invalid,
            format!("the list has no rule that can be used, so it is not used: {problem}"),
        )),
        _ => SourceList::new(sources, problems).into(),
    }
}

fn source(rule: &FirewallRule) -> Result<TrustedSource, String> {
    let Some(kind) = rule.kind.parse().ok().filter(|kind| TYPES.contains(kind)) else {
        let names = TYPES.map(SourceType::as_str).join(", ");
        return Err(format!(
            "type: {:?} is not accepted in this list; accepted are {names}",
            clean(&rule.kind, 80)
        ));
    };
    let mut source = TrustedSource::new(kind, &rule.value)
        .map_err(|error| format!("value: {}", clean(&error.with_fix(), 300)))?;
    source.description = rule.description.as_deref().and_then(description);
    Ok(source)
}

/// A description without control characters, cut where it is overlong.
fn description(text: &str) -> Option<String> {
    let text: String =
        text.chars().filter(|c| !c.is_control() && !misleads(*c)).take(MAX_DESCRIPTION).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
