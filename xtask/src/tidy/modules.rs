//! Modules without a description.

use super::{File, Finding};

/// Public modules and crate roots that do not begin with what they are for.
pub(super) fn undocumented(files: &[File]) -> Vec<Finding> {
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
    fn public_modules_say_what_they_are_for() {
        let files = [
            file("x/src/lib.rs", "//! X.\npub mod a;\nmod b;\npub mod c;\n"),
            file("x/src/a.rs", "pub mod deep;\n"),
            file("x/src/a/deep.rs", "//! Deep.\n"),
            file("x/src/b.rs", "fn b() {}\n"),
            file("x/src/c/mod.rs", "//! C.\n"),
            file("y/src/main.rs", "fn main() {}\n"),
        ];
        let found: Vec<_> = undocumented(&files).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["x/src/a.rs", "y/src/main.rs"]);
    }
}
