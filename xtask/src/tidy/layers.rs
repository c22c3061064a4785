//! Which part of the workspace may name what.

use super::{
    File, Finding,
    code::{code_only, names},
};

/// Crates of the kernel side.
const AYA: [&str; 6] = ["aya", "aya_build", "aya_ebpf", "aya_log", "aya_log_ebpf", "aya_obj"];

/// Where those may be named.
const AYA_HOMES: [&str; 5] =
    ["dbfw-common/", "dbfw-ebpf/", "dbfw-user/build.rs", "dbfw-user/src/datapath", "tests/"];

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
    fn aya_is_named_only_where_it_may_be() {
        let text = "use aya::Ebpf;\nlet x: aya_obj::Object;\nlet aya_like = 1;\n";
        assert_eq!(lines(kernel_side(&[file("dbfw-user/src/agent/mod.rs", text)])), [1, 2]);
        assert_eq!(kernel_side(&[file("dbfw-user/src/datapath/maps.rs", text)]), []);
        assert_eq!(kernel_side(&[file("docs/notes.md", text)]), []);
    }
}
