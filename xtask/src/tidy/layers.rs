//! Which part of the workspace may name what.

use super::{
    File, Finding,
    code::{code_only, names, used_paths},
};

/// Directories that only compute.
const PURE: [&str; 2] = ["dbfw-user/src/source", "dbfw-user/src/policy"];

/// Crates that do IO.
const IO_CRATES: [&str; 4] = ["aya", "aya_obj", "tokio", "reqwest"];

/// Parts of the standard library that do IO.
const IO_PATHS: [&str; 5] =
    ["std::fs", "std::net::Tcp", "std::net::Udp", "std::os::unix::net", "std::process"];

/// Crates of the kernel side.
const AYA: [&str; 6] = ["aya", "aya_build", "aya_ebpf", "aya_log", "aya_log_ebpf", "aya_obj"];

/// Where those may be named.
const AYA_HOMES: [&str; 5] =
    ["dbfw-common/", "dbfw-ebpf/", "dbfw-user/build.rs", "dbfw-user/src/datapath", "tests/"];

/// Source and policy do no IO.
pub(super) fn pure(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_rust(file) && is_in(file, &PURE)) {
        let code = code_only(&file.text);
        let mut found: Vec<(usize, String)> = used_paths(&code)
            .into_iter()
            .filter(|(_, path)| IO_PATHS.iter().any(|io| path.starts_with(io)))
            .collect();
        for (line, text) in (1..).zip(code.lines()) {
            let crates = names(text).filter(|name| IO_CRATES.contains(name));
            let paths = IO_PATHS.into_iter().filter(|path| text.contains(path));
            found.extend(crates.chain(paths).map(|name| (line, name.to_owned())));
        }
        found.sort();
        found.dedup_by_key(|(line, _)| *line);
        findings.extend(found.into_iter().map(|(line, name)| {
            let message = format!("names {name}: source and policy compute, and do no IO");
            file.finding(line, message)
        }));
    }
    findings
}

/// Only the datapath talks to the kernel's BPF side.
pub(super) fn kernel_side(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_rust(file) && !is_in(file, &AYA_HOMES)) {
        for (line, text) in (1..).zip(code_only(&file.text).lines()) {
            if let Some(name) = names(text).find(|name| AYA.contains(name)) {
                let message = format!("names {name}: only dbfw-user/src/datapath does");
                findings.push(file.finding(line, message));
            }
        }
    }
    findings
}

fn is_rust(file: &File) -> bool {
    file.is_a(&["rs"])
}

fn is_in(file: &File, places: &[&str]) -> bool {
    places.iter().any(|place| file.path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn policy_names_nothing_that_does_io() {
        let text = "//! Neither aya nor std::fs.\n\
                    use std::{collections::BTreeMap, fs};\n\
                    use std::net::{IpAddr, TcpStream};\n\
                    fn f() { std::process::exit(1) }\n\
                    async fn g() { tokio::time::sleep(x).await }\n\
                    const S: &str = \"std::fs\";\n";
        let findings = pure(&[file("dbfw-user/src/policy/plan.rs", text)]);
        assert_eq!(lines(findings), [2, 3, 4, 5]);
        assert_eq!(pure(&[file("dbfw-user/src/provider/file.rs", text)]), []);
    }

    #[test]
    fn aya_is_named_only_where_it_may_be() {
        let text = "use aya::Ebpf;\nlet x: aya_obj::Object;\nlet aya_like = 1;\n";
        assert_eq!(lines(kernel_side(&[file("dbfw-user/src/agent/mod.rs", text)])), [1, 2]);
        assert_eq!(kernel_side(&[file("dbfw-user/src/datapath/maps.rs", text)]), []);
        assert_eq!(kernel_side(&[file("docs/notes.md", text)]), []);
    }
}
