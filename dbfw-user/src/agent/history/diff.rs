//! Differences between two policies, source by source.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use dbfw_core::{
    policy::DatabasePolicy,
    source::{Origin, Prefix, Rule, RuleKind},
};

/// Sources of one change that get an entry of their own; the rest share one.
const MAX_SOURCES: usize = 100;

/// The change of one source of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceChange {
    pub(super) database: String,
    /// `None`: of all further sources of the change together.
    pub(super) source: Option<(RuleKind, Origin)>,
    pub(super) added: Vec<Prefix>,
    pub(super) removed: Vec<Prefix>,
}

/// The sources whose prefixes differ between two policies.
pub(super) fn changes(old: &[DatabasePolicy], new: &[DatabasePolicy]) -> Vec<SourceChange> {
    let (mut before, after) = (by_name(old), by_name(new));
    let mut all = Vec::new();
    for (name, rules) in after {
        all.extend(of_database(name, before.remove(name).unwrap_or_default(), rules));
    }
    for (name, rules) in before {
        all.extend(of_database(name, rules, &[]));
    }
    all
}

fn by_name(databases: &[DatabasePolicy]) -> BTreeMap<&str, &[Rule]> {
    databases.iter().map(|database| (&*database.name, &*database.rules)).collect()
}

fn of_database(name: &str, old: &[Rule], new: &[Rule]) -> Vec<SourceChange> {
    type Prefixes = Arc<[Prefix]>;
    let mut before: HashMap<(String, &Origin), (&Rule, Prefixes)> = HashMap::new();
    for rule in old {
        let prefixes = Arc::clone(&rule.prefixes);
        before.insert((rule.kind.to_string(), &rule.origin), (rule, prefixes));
    }
    let mut changed = Vec::new();
    let mut push = |rule: &Rule, added: Vec<Prefix>, removed: Vec<Prefix>| {
        if !added.is_empty() || !removed.is_empty() {
            let source = Some((rule.kind.clone(), rule.origin.clone()));
            changed.push(SourceChange { database: name.to_owned(), source, added, removed });
        }
    };
    for rule in new {
        let was = before.remove(&(rule.kind.to_string(), &rule.origin));
        let was = was.map_or_else(|| Arc::from([]), |(_, prefixes)| prefixes);
        if was != rule.prefixes {
            push(rule, minus(&rule.prefixes, &was), minus(&was, &rule.prefixes));
        }
    }
    for (rule, prefixes) in before.into_values() {
        push(rule, Vec::new(), prefixes.to_vec());
    }
    if changed.len() > MAX_SOURCES {
        let rest = changed.split_off(MAX_SOURCES);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for change in rest {
            added.extend(change.added);
            removed.extend(change.removed);
        }
        changed.push(SourceChange { database: name.to_owned(), source: None, added, removed });
    }
    changed
}

/// The prefixes of one sorted list that another does not have.
fn minus(from: &[Prefix], what: &[Prefix]) -> Vec<Prefix> {
    from.iter().filter(|prefix| what.binary_search(prefix).is_err()).copied().collect()
}

#[cfg(test)]
mod tests {
    use dbfw_core::source::TrustedSource;

    use super::*;

    fn rule(text: &str, prefixes: &[&str]) -> Rule {
        let source: TrustedSource = text.parse().unwrap();
        let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        Rule::of_source(source.into(), Origin::Config, prefixes)
    }

    fn policy(name: &str, rules: Vec<Rule>) -> DatabasePolicy {
        DatabasePolicy { id: 1, name: name.to_owned(), rules }
    }

    fn told(old: &[DatabasePolicy], new: &[DatabasePolicy]) -> Vec<String> {
        let line = |change: SourceChange| {
            let kind = change.source.map(|(kind, _)| kind.to_string());
            let source = kind.unwrap_or_else(|| "rest".to_owned());
            format!(
                "{} {source} +{} -{}",
                change.database,
                change.added.len(),
                change.removed.len()
            )
        };
        let mut lines: Vec<String> = changes(old, new).into_iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn tells_what_came_and_went_by_source() {
        let old = [
            policy(
                "a",
                vec![rule("tag:x", &["10.0.0.1", "10.0.0.2"]), rule("tag:y", &["10.0.0.9"])],
            ),
            policy("b", vec![rule("ip_addr:10.1.0.0/16", &["10.1.0.0/16"])]),
        ];
        let new = [policy("a", vec![rule("tag:x", &["10.0.0.2", "10.0.0.3", "10.0.0.4"])])];
        assert_eq!(
            told(&old, &new),
            ["a tag:x +2 -1", "a tag:y +0 -1", "b ip_addr:10.1.0.0/16 +0 -1"]
        );
        assert_eq!(told(&new, &new), [""; 0]);
    }

    #[test]
    fn a_long_list_is_summed_up() {
        let rules = |range: std::ops::Range<u32>| {
            range
                .map(|i| {
                    let address = std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string();
                    rule(&format!("ip_addr:{address}"), &[&address])
                })
                .collect()
        };
        let told = told(&[], &[policy("a", rules(0..5000))]);
        assert_eq!(told.len(), 101);
        assert!(told.contains(&"a rest +4900 -0".to_owned()), "{told:?}");
    }
}
