//! Database clusters, Aptible's endpoints, and their lists.

use dbfw_wire::digitalocean::FirewallRule;

use super::Account;

/// A managed database cluster.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// Its name; the API asks by uuid.
    pub name: String,
    /// Its trusted sources, in order.
    pub rules: Vec<FirewallRule>,
}

impl Account {
    /// Adds a database cluster with a list of `type:value`; returns its uuid.
    pub fn add_database(&mut self, name: &str, rules: &[&str]) -> String {
        let uuid = self.uuid();
        self.add_database_as(&uuid, name, rules);
        uuid
    }

    /// Adds a database cluster with this uuid.
    pub fn add_database_as(&mut self, uuid: &str, name: &str, rules: &[&str]) {
        let database = Database { name: name.to_owned(), rules: Vec::new() };
        self.databases.insert(uuid.to_owned(), database);
        for rule in rules {
            let (kind, value) =
                rule.split_once(':').unwrap_or_else(|| panic!("{rule} is not type:value"));
            self.add_rule(uuid, kind, value);
        }
    }

    /// Adds a rule at the end of a list. `database` is a uuid or a name. Nothing is checked:
    /// what the API would refuse can be put into its answers this way.
    pub fn add_rule(&mut self, database: &str, kind: &str, value: &str) {
        let uuid = self.database_uuid(database);
        let rule = FirewallRule {
            uuid: self.uuid(),
            cluster_uuid: uuid.clone(),
            kind: kind.to_owned(),
            value: value.to_owned(),
            created_at: self.written_now(),
            ..FirewallRule::default()
        };
        self.rules_mut(&uuid).push(rule);
    }

    /// Removes every rule with this type and value; whether there was one.
    pub fn remove_rule(&mut self, database: &str, kind: &str, value: &str) -> bool {
        let rules = self.rules_mut(database);
        let before = rules.len();
        rules.retain(|rule| (rule.kind.as_str(), rule.value.as_str()) != (kind, value));
        rules.len() < before
    }

    /// The rules of a database, by uuid or name.
    pub fn rules_mut(&mut self, database: &str) -> &mut Vec<FirewallRule> {
        let uuid = self.database_uuid(database);
        let database = self.databases.get_mut(&uuid);
        &mut database.unwrap_or_else(|| panic!("the account has no database {uuid}")).rules
    }

    /// Every rule of a database as `type:value`, in order.
    pub fn rules(&self, database: &str) -> Vec<String> {
        let uuid = self.database_uuid(database);
        let rules = self.databases.get(&uuid).map(|database| database.rules.as_slice());
        rules
            .unwrap_or_default()
            .iter()
            .map(|rule| format!("{}:{}", rule.kind, rule.value))
            .collect()
    }

    /// Replaces a list as a PUT does: a rule keeps uuid and date where its uuid, or its type
    /// and value, are those of one that is there; and its description where the new one has
    /// none. Lists that clients send back lack descriptions (digitalocean/doctl#1869).
    pub(crate) fn replace_rules(&mut self, uuid: &str, wanted: Vec<FirewallRule>) {
        let mut known = std::mem::take(self.rules_mut(uuid));
        for mut rule in wanted {
            let found = known
                .iter()
                .position(|old| !rule.uuid.is_empty() && old.uuid == rule.uuid)
                .or_else(|| {
                    known
                        .iter()
                        .position(|old| (&old.kind, &old.value) == (&rule.kind, &rule.value))
                });
            rule.cluster_uuid = uuid.to_owned();
            match found.map(|at| known.remove(at)) {
                Some(old) => {
                    rule.uuid = old.uuid;
                    rule.created_at = old.created_at;
                    rule.description = rule.description.or(old.description);
                }
                None => {
                    rule.uuid = self.uuid();
                    rule.created_at = self.written_now();
                }
            }
            // An empty one takes it away.
            rule.description = rule.description.filter(|text| !text.is_empty());
            self.rules_mut(uuid).push(rule);
        }
    }

    fn database_uuid(&self, database: &str) -> String {
        let named = |(_, named): &(&String, &Database)| named.name == database;
        match self.databases.iter().find(named) {
            Some((uuid, _)) => uuid.clone(),
            None => database.to_owned(),
        }
    }
}
