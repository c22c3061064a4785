use super::*;

#[test]
fn doctor() {
    let finding = |check: &str, state: FindingState, detail: &str, fix: Option<&str>| Finding {
        check: check.to_owned(),
        state,
        detail: detail.to_owned(),
        fix: fix.map(str::to_owned),
    };
    let found = Findings {
        findings: vec![
            finding("kernel", FindingState::Ok, "6.12.43, needs 6.1", None),
            finding(
                "ports",
                FindingState::Warn,
                "5432 is an ephemeral port",
                Some("sysctl -w a=b"),
            ),
            finding(
                "bpffs",
                FindingState::Fail,
                "not mounted",
                Some("mount -t bpf bpf /sys/fs/bpf"),
            ),
        ],
    };
    insta::assert_snapshot!(table(&found), @"
    STATE  CHECK   FOUND
    ok     kernel  6.12.43, needs 6.1
    warn   ports   5432 is an ephemeral port
    fail   bpffs   not mounted

    To fix it:
      ports: sysctl -w a=b
      bpffs: mount -t bpf bpf /sys/fs/bpf
    ");
    insta::assert_snapshot!(for_scripts(&found), @r#"
    ok→kernel→6.12.43, needs 6.1→
    warn→ports→5432 is an ephemeral port→sysctl -w a=b
    fail→bpffs→not mounted→mount -t bpf bpf /sys/fs/bpf
    {
      "findings": [
        {
          "check": "kernel",
          "state": "ok",
          "detail": "6.12.43, needs 6.1",
          "fix": null
        },
        {
          "check": "ports",
          "state": "warn",
          "detail": "5432 is an ephemeral port",
          "fix": "sysctl -w a=b"
        },
        {
          "check": "bpffs",
          "state": "fail",
          "detail": "not mounted",
          "fix": "mount -t bpf bpf /sys/fs/bpf"
        }
      ]
    }
    "#);
}
