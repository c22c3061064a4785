//! Doubts about a list before an agent reads it.

use std::path::Path;

use crate::config::check_list;

fn warnings(name: &str, text: &str) -> Vec<String> {
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let listed = check_list(Path::new(name), text.as_bytes(), None, None, now).unwrap();
    listed.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_valid_and_doubtful() {
    assert_eq!(warnings("l", "192.0.2.1 # office\n10.0.0.0/8\ntag:backend\n"), [""; 0]);
    assert_eq!(
        warnings("l", "192.0.2.1\n# again\n192.0.2.1/32\n"),
        ["l:3: ip_addr:192.0.2.1/32 is already listed (l:1): remove one"]
    );
    let expired = r#"trusted_sources = [
        { type = "ip_addr", value = "192.0.2.1", expires_at = "2026-03-01T12:00:00Z" },
        { type = "ip_addr", value = "192.0.2.2", expires_at = "2026-03-01T12:00:01Z" },
    ]"#;
    let told = warnings("l.toml", expired);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("l.toml:2: ") && told[0].contains("expired at"), "{told:?}");
    for empty in ["", "# nobody\n", "\n\n"] {
        let told = warnings("l", empty);
        assert!(told.len() == 1 && told[0].starts_with("l: names nobody"), "{told:?}");
    }
    for (wide, setting) in [
        ("0.0.0.0/0\n", "allow_any = true"),
        ("::/0\n", "allow_any = true"),
        ("10.0.0.0/7\n", "min_prefix"),
    ] {
        let told = warnings("l", wide);
        assert!(told.len() == 1 && told[0].contains(setting), "{told:?}");
    }
}

#[test]
fn every_source_counts_and_each_prefix_once() {
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let many: String = (0..10_000).map(|n| format!("10.{}.{}.1\n", n / 256, n % 256)).collect();
    let text = format!("{many}10.0.0.1\ntag:backend\n10.0.0.4-10.0.0.6\n");
    let listed = check_list(Path::new("l"), text.as_bytes(), None, None, now).unwrap();
    assert_eq!((listed.sources, listed.prefixes.len()), (10_003, 10_002));
    assert_eq!(listed.warnings.len(), 1, "one is there twice");
    let Err(problems) = check_list(Path::new("l"), b"x\n10.0.0.1\ny\n", None, None, now) else {
        panic!("two lines are bad")
    };
    let lines: Vec<_> = problems.0.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [Some(1), Some(3)]);
}
