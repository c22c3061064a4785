//! Imports between the files of a crate: none in a circle, none of a higher layer.
//!
//! A file imports another if its code, not that of its tests, names an item that the other
//! defines, by whatever path and through whatever re-exports. A parent that declares a module or
//! passes its items on with `pub use` does not import it; a parent that uses them does.

mod graph;
mod source;
mod tokens;

use self::graph::{Graph, circles, imports};
use super::{File, Finding};

/// Folders and files at the top of a crate: each imports only those after it.
const LAYERS: [(&str, &[&str]); 2] = [
    (
        "dbfw-user",
        &[
            "cli",
            "agent",
            "doctor",
            "audit",
            "readers",
            "protection",
            "metrics",
            "control",
            "traffic",
            "state",
            "config",
            "lasting",
            "exposure",
            "nat",
            "sockets",
            "causes",
        ],
    ),
    (
        "dbfw-server",
        &[
            "cli", "serve", "config", "metrics", "panel", "api", "fleet", "resolve", "service",
            "model", "list", "store",
        ],
    ),
];

/// The document that lists the layers too, in the same order.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// Files of the crates that ship which import each other in a circle, or import upward.
pub(super) fn circular_or_upward(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in files.iter().filter(|file| is_root(file, files)) {
        let graph = imports(files, root);
        findings.extend(upward(root, &graph));
        findings.extend(circles(graph.clone()).iter().map(|circle| report(circle, &graph)));
    }
    findings
}

/// Whether the file is the root of one of the crates that ship.
fn is_root(file: &File, files: &[File]) -> bool {
    let Some((package, path)) = file.path.split_once("/src/") else { return false };
    let library = format!("{package}/src/lib.rs");
    let has_library = || files.iter().any(|file| file.path == library);
    package.starts_with("dbfw-") && (path == "lib.rs" || path == "main.rs" && !has_library())
}

/// A circle, with the place of each import.
fn report(circle: &[String], graph: &Graph) -> Finding {
    let line = |at: usize| graph[&circle[at]][&circle[(at + 1) % circle.len()]];
    let way: Vec<_> = (1..circle.len()).map(|at| format!("{}:{}", circle[at], line(at))).collect();
    let message = format!("imports itself through {}", way.join(", "));
    Finding { path: circle[0].clone(), line: line(0), message }
}

/// Imports of a higher layer, and files without a layer.
fn upward(root: &File, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((package, _)) = root.path.split_once("/src/") else { return findings };
    let Some((_, layers)) = LAYERS.iter().find(|(name, _)| *name == package) else {
        return findings;
    };
    let position = |path: &str| {
        let name = path.strip_prefix(package)?.strip_prefix("/src/")?.split(['/', '.']).next()?;
        layers.iter().position(|layer| *layer == name)
    };
    for (from, edges) in graph.iter().filter(|(from, _)| **from != root.path) {
        let Some(layer) = position(from) else {
            let message = format!("a file without a layer: add it here and to {DOCUMENT}");
            findings.push(Finding { path: from.clone(), line: 1, message });
            continue;
        };
        for (to, line) in edges {
            if position(to).is_some_and(|to| to < layer) {
                let message = format!("imports {to}, of a higher layer");
                findings.push(Finding { path: from.clone(), line: *line, message });
            }
        }
    }
    findings
}

/// Layers that the document does not list in this order.
pub(super) fn undocumented_layers(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else { return Vec::new() };
    let text = document.text.split_whitespace().collect::<Vec<_>>().join(" ");
    LAYERS
        .iter()
        .map(|(package, layers)| (package, format!("`{}`", layers.join("`, `"))))
        .filter(|(_, list)| !text.contains(list))
        .map(|(package, list)| document.finding(1, format!("the layers of {package} are {list}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| file(&format!("dbfw-x/src/{path}"), text)).collect();
        let findings = circular_or_upward(&files);
        findings.iter().map(|finding| finding.to_string().replace("dbfw-x/src/", "")).collect()
    }

    #[test]
    fn a_tree_has_no_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\nconst C: u8 = 0;\n"),
            ("a.rs", "use crate::b::B;\npub struct A(B, [u8; crate::C]);\n"),
            ("b.rs", "use std::fmt::Debug;\npub struct B;\n"),
        ];
        assert_eq!(findings(&files), Vec::<String>::new());
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("b.rs", "\npub struct B;\nfn f(a: super::a::A) {}\n"),
        ];
        assert_eq!(findings(&files), ["a.rs:1: imports itself through b.rs:3"]);
    }

    #[test]
    fn three_files_are_a_circle_through_modules_and_re_exports() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\npub use c::deep::D;\n"),
            ("a.rs", "use crate::b;\n\nfn f() {\n    b::run()\n}\npub struct A;\n"),
            ("b.rs", "pub fn run(d: crate::D) {}\n"),
            ("c/mod.rs", "pub mod deep;\n"),
            ("c/deep.rs", "use super::super::a::*;\npub struct D(A);\n"),
        ];
        assert_eq!(findings(&files), ["a.rs:4: imports itself through b.rs:1, c/deep.rs:1"]);
    }

    #[test]
    fn circles_without_an_import_in_common_are_all_found() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "use crate::{b::B, c::C};\npub struct A(B, C);\n"),
            ("b.rs", "pub struct B(crate::a::A);\n"),
            ("c.rs", "pub struct C(crate::a::A);\n"),
        ];
        let expected =
            ["a.rs:1: imports itself through b.rs:1", "a.rs:1: imports itself through c.rs:1"];
        assert_eq!(findings(&files), expected);
    }

    #[test]
    fn a_parent_may_declare_and_pass_on_what_imports_it() {
        let child = ("a/child.rs", "use super::A;\npub struct B(A);\n");
        let root = ("lib.rs", "mod a;\n");
        let passes_on = ("a/mod.rs", "mod child;\npub use child::B;\npub struct A;\n");
        assert_eq!(findings(&[root, passes_on, child]), Vec::<String>::new());
        let uses = ("a/mod.rs", "mod child;\npub use child::B;\npub struct A;\nfn f(b: B) {}\n");
        assert_eq!(
            findings(&[root, uses, child]),
            ["a/child.rs:1: imports itself through a/mod.rs:2"]
        );
        let names = ("a/mod.rs", "mod child;\npub struct A;\nfn f(b: child::B) {}\n");
        assert_eq!(
            findings(&[root, names, child]),
            ["a/child.rs:1: imports itself through a/mod.rs:3"]
        );
    }

    #[test]
    fn tests_may_import_anything() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
            (
                "b.rs",
                "pub struct B;\n#[cfg(test)]\nuse crate::a::A;\n#[cfg(test)]\nmod tests;\n\
                 #[cfg(test)]\nmod more { use crate::a::A; }\n",
            ),
            ("b/tests.rs", "use crate::a::A;\n"),
        ];
        assert_eq!(findings(&files), Vec::<String>::new());
    }

    #[test]
    fn a_module_inside_a_file_is_that_file() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "mod inner {\n    use super::A;\n    use crate::b::B;\n}\npub struct A;\n"),
            ("b.rs", "use crate::a::A;\npub struct B(A);\n"),
        ];
        assert_eq!(findings(&files), ["a.rs:3: imports itself through b.rs:1"]);
    }

    #[test]
    fn imports_run_down_the_layers() {
        let files = [
            file("dbfw-user/src/lib.rs", "mod config;\nmod state;\nmod news;\n"),
            file("dbfw-user/src/config/mod.rs", "\nuse crate::state::S;\nfn f(s: S) {}\n"),
            file("dbfw-user/src/state.rs", "pub struct S;\n"),
            file("dbfw-user/src/news.rs", "pub struct N;\n"),
        ];
        let found: Vec<_> = circular_or_upward(&files)
            .iter()
            .map(|found| (found.path.clone(), found.line))
            .collect();
        let expected = [("dbfw-user/src/config/mod.rs", 2), ("dbfw-user/src/news.rs", 1)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn the_document_lists_the_layers() {
        let lists =
            LAYERS.map(|(_, layers)| format!("From the top: `{}`.\n", layers.join("`,\n`")));
        assert_eq!(undocumented_layers(&[file(DOCUMENT, &lists.concat())]), []);
        assert_eq!(undocumented_layers(&[file(DOCUMENT, &lists[0])]).len(), 1);
        assert_eq!(undocumented_layers(&[file(DOCUMENT, "`cli`, `agent`\n")]).len(), 2);
    }
}
