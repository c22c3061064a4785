//! Truth of the documentation: every example loads, every default is the default, every key
//! is in its table.

use std::{collections::BTreeSet, path::Path};

use dbfw_provider::list;

use super::{Config, Dir, good::SHORT};

const CONFIGURATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"));
const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
const PACKAGED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/dbfw.toml"));

/// A fenced block, and the line of prose before it.
struct Block {
    language: String,
    intro: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut intro) = (false, String::new());
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                let (language, intro) = (language.to_owned(), intro.clone());
                blocks.push(Block { language, intro, text: String::new() });
                open = true;
            }
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None if line.is_empty() => {}
            None => line.clone_into(&mut intro),
        }
    }
    blocks
}

fn toml_blocks() -> Vec<Block> {
    let documents = [CONFIGURATION, README];
    let all = documents.into_iter().flat_map(blocks);
    all.filter(|block| block.language == "toml").collect()
}

#[track_caller]
fn load(text: &str) -> Config {
    let dir = Dir::new(text);
    let config = dir.load().unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    assert_eq!(dir.warnings(), [""; 0], "{text}");
    config
}

#[test]
fn every_example_loads() {
    let blocks = toml_blocks();
    assert!(blocks.len() >= 12, "{}", blocks.len());
    for block in blocks {
        if block.text.starts_with("trusted_sources") {
            list::parse(Path::new("l.toml"), block.text.as_bytes()).unwrap();
        } else {
            load(&block.text);
        }
    }
    let lists = plain_lists();
    assert_eq!(lists.len(), 2);
    for block in lists {
        list::parse(Path::new("l"), block.text.as_bytes()).unwrap();
    }
}

/// Plain lists begin with a comment that says whose they are.
fn plain_lists() -> Vec<Block> {
    let all = [CONFIGURATION, README].into_iter().flat_map(blocks);
    all.filter(|block| block.text.starts_with("# Who may reach")).collect()
}

#[test]
fn documented_defaults_are_the_defaults() {
    let mut seen = 0;
    for block in toml_blocks().iter().filter(|block| block.intro.ends_with("the defaults:")) {
        let (tables, database) = block.text.split_once("[[database]]").unwrap();
        let header = tables.lines().next().unwrap();
        assert!(header.starts_with('['), "{header}");
        let empty = load(&format!("{header}\n[[database]]{database}"));
        assert_eq!(without_files(load(&block.text)), without_files(empty), "{}", block.text);
        // Every key but those without a default is there.
        let name = header.trim_matches(['[', ']']);
        for key in keys_of(name) {
            let optional = ["token_file", "ca_file", "servers"].contains(&key.as_str());
            let written = tables.lines().any(|line| line.split([' ', '=']).next() == Some(&key));
            assert_eq!(written, !optional, "{name}.{key}");
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
}

fn without_files(config: Config) -> Config {
    Config { files: Vec::new(), ..config }
}

/// The keys of a table, as the problem with an unknown one lists them.
fn keys_of(table: &str) -> Vec<String> {
    let text = match table {
        "database" => SHORT.replace("name =", "zzzzzzzzzz = 1\nname ="),
        _ => format!("{SHORT}[{table}]\nzzzzzzzzzz = 1\n"),
    };
    let problems = Dir::new(text).load().unwrap_err();
    let (_, known) = problems[0].split_once("(known here: ").unwrap();
    known.trim_end_matches(')').split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented() {
    for table in ["agent", "database", "digitalocean", "aptible", "server", "feeds", "dns"] {
        let heading = if table == "database" {
            "\n## `[[database]]`\n"
        } else {
            &format!("\n## `[{table}]`\n")
        };
        let (_, section) = CONFIGURATION.split_once(heading).unwrap();
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        for key in keys_of(table) {
            assert!(section.contains(&format!("\n| `{key}` | ")), "{table}.{key}");
        }
    }
}

/// A setting behind "#" without a space has its default in the packaged file.
#[test]
fn the_packaged_file_has_every_default() {
    load(PACKAGED);
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let text: Vec<String> = PACKAGED.lines().map(setting).collect();
    let packaged = load(&text.join("\n"));
    let plain = load(&PACKAGED.replace("#[", "["));
    assert_eq!(without_files(packaged), without_files(plain));
    let mut table = "";
    let mut written = BTreeSet::new();
    for line in &text {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        } else if let Some(key) = line.trim_start_matches("# ").split([' ', '=']).next() {
            written.insert((table, key));
        }
    }
    for table in ["agent", "digitalocean", "aptible", "server", "feeds", "dns", "database"] {
        for key in keys_of(table) {
            assert!(written.contains(&(table, key.as_str())), "{table}.{key}");
        }
    }
}

#[test]
fn the_pins_that_are_documented_are_of_this_version() {
    const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
    let current = format!("v{}", dbfw_common::ABI_VERSION);
    let named: Vec<&str> = OPERATIONS
        .split("/sys/fs/bpf/dbfw/")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap())
        .collect();
    assert!(named.len() > 2 && named.iter().all(|name| *name == current), "{named:?}");
}
