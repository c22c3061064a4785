//! Versions, package fields and lints are written once, in the root's Cargo.toml.

use super::{File, Finding};

/// Package fields every member inherits.
const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

/// Fields a member may write itself, and why.
const OWN: [(&str, &str); 1] = [
    // The kernel lends its helpers only to programs under a licence it accepts.
    ("dbfw-ebpf/Cargo.toml", "license"),
];

/// Members that write what they should inherit, and dependencies of the workspace that take
/// features they do not name.
pub(super) fn inherited(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        if file.path == "Cargo.toml" {
            findings.extend(root(file));
        } else {
            findings.extend(member(file));
        }
    }
    findings
}

fn root(file: &File) -> Vec<Finding> {
    entries(&file.text)
        .into_iter()
        .filter(|entry| entry.table == "workspace.dependencies")
        .filter(|entry| !entry.value.contains("path =") && !entry.value.contains("path="))
        .filter(|entry| !entry.value.contains("default-features = false"))
        .map(|entry| {
            let message = format!(
                "{}: add `default-features = false`, and name the features that are used",
                entry.key
            );
            file.finding(entry.line, message)
        })
        .collect()
}

fn member(file: &File) -> Vec<Finding> {
    let entries = entries(&file.text);
    let mut findings = Vec::new();
    for entry in &entries {
        let is_dependency = entry.table.ends_with("dependencies");
        let nested = ["dependencies.", "dev-dependencies.", "build-dependencies."];
        if is_dependency && !entry.is_inherited() {
            let message = format!("{}: take it with `workspace = true`", entry.key);
            findings.push(file.finding(entry.line, message));
        } else if nested.iter().any(|table| entry.table.starts_with(table)) {
            let message = format!("[{}]: write the dependency in one line", entry.table);
            findings.push(file.finding(entry.line, message));
        }
    }
    for field in INHERITED {
        let is_own = OWN.contains(&(file.path.as_str(), field));
        let entry = entries
            .iter()
            .find(|entry| entry.table == "package" && entry.key.split('.').next() == Some(field));
        match entry {
            Some(entry) if is_own || entry.is_inherited() => {}
            Some(entry) => {
                let message = format!("{field}: inherit it, `{field}.workspace = true`");
                findings.push(file.finding(entry.line, message));
            }
            None => findings.push(file.finding(1, format!("add `{field}.workspace = true`"))),
        }
    }
    if !entries.iter().any(|entry| entry.table == "lints" && entry.is_inherited()) {
        findings.push(file.finding(1, "add [lints] `workspace = true`"));
    }
    findings
}

/// `key = value` of a manifest.
struct Entry {
    line: usize,
    table: String,
    key: String,
    value: String,
}

impl Entry {
    fn is_inherited(&self) -> bool {
        let dotted = self.key.ends_with(".workspace") || self.key == "workspace";
        (dotted && self.value == "true") || self.value.contains("workspace = true")
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut table = String::new();
    let mut open = 0_usize;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if open > 0 {
            if let Some(entry) = found.last_mut() {
                entry.value.push_str(text);
            }
        } else if text.starts_with('[') {
            table = text.trim_matches(['[', ']']).to_owned();
            continue;
        } else if let Some((key, value)) = text.split_once('=') {
            found.push(Entry {
                line,
                table: table.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        }
        let count = |brackets: [char; 2]| text.matches(brackets).count();
        open = (open + count(['[', '{'])).saturating_sub(count([']', '}']));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    const GOOD: &str = "[package]\nname = \"x\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\n\
        [dependencies]\na = { workspace = true, features = [\n    \"b\",\n] }\nc.workspace = true\n\n\
        [lints]\nworkspace = true\n";

    fn messages(path: &str, text: &str) -> Vec<String> {
        inherited(&[file(path, text)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_inherit() {
        assert_eq!(messages("x/Cargo.toml", GOOD), Vec::<String>::new());
        let versioned = GOOD.replace("c.workspace = true", "c = \"1.0\"");
        assert_eq!(
            messages("x/Cargo.toml", &versioned),
            ["x/Cargo.toml:12: c: take it with `workspace = true`"]
        );
        let own = GOOD.replace("license.workspace = true", "license = \"MIT\"");
        assert_eq!(messages("x/Cargo.toml", &own).len(), 1);
        assert_eq!(messages("dbfw-ebpf/Cargo.toml", &own), Vec::<String>::new());
        let bare = GOOD.replace("[lints]\nworkspace = true\n", "");
        assert_eq!(
            messages("x/Cargo.toml", &bare),
            ["x/Cargo.toml:1: add [lints] `workspace = true`"]
        );
        let table = format!("{GOOD}[dependencies.d]\nversion = \"1\"\n");
        assert_eq!(messages("x/Cargo.toml", &table).len(), 1);
    }

    #[test]
    fn the_workspace_names_features() {
        let text = "[workspace.dependencies]\nown = { path = \"own\" }\n\
                    a = { version = \"1\", default-features = false }\nb = \"2\"\n";
        assert_eq!(messages("Cargo.toml", text).len(), 1);
    }
}
