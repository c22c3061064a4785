use dbfw_wire::control::FailureKind;

use super::*;
use crate::cli::exit::failure;

#[test]
fn check() {
    let checked = Checked {
        files: vec!["/etc/dbfw/dbfw.toml".to_owned(), "/etc/dbfw/conf.d/reports.toml".to_owned()],
        interfaces: vec!["eth*".to_owned()],
        attach: "auto".to_owned(),
        backstop: true,
        databases: vec![CheckedDatabase {
            name: "orders".to_owned(),
            ports: vec!["tcp/5432".to_owned(), "udp/1234".to_owned()],
            addresses: vec!["local".to_owned(), "172.17.0.2".to_owned()],
            mode: Mode::Enforce,
            sources: vec!["ip_addr:10.10.0.0/16".to_owned()],
            provider: Some("file:/etc/dbfw/orders.list".to_owned()),
        }],
        warnings: vec!["dbfw.toml:3: interfaces: nothing matches".to_owned()],
    };
    insta::assert_snapshot!(table(&checked), @"
    The configuration is valid. This would be enforced:
      files       /etc/dbfw/dbfw.toml, /etc/dbfw/conf.d/reports.toml
      interfaces  eth*
      attach      auto
      backstop    on

    DATABASE  PORTS                                  MODE     SOURCES  PROVIDER
    orders    tcp/5432,udp/1234 at local,172.17.0.2  enforce        1  file:/etc/dbfw/orders.list
    ");
    insta::assert_snapshot!(for_scripts(&checked), @r#"
    file→/etc/dbfw/dbfw.toml
    file→/etc/dbfw/conf.d/reports.toml
    agent→eth*→auto→on
    database→orders→tcp/5432,udp/1234→enforce→ip_addr:10.10.0.0/16→file:/etc/dbfw/orders.list→local,172.17.0.2
    warning→dbfw.toml:3: interfaces: nothing matches
    {
      "files": [
        "/etc/dbfw/dbfw.toml",
        "/etc/dbfw/conf.d/reports.toml"
      ],
      "interfaces": [
        "eth*"
      ],
      "attach": "auto",
      "backstop": true,
      "databases": [
        {
          "name": "orders",
          "ports": [
            "tcp/5432",
            "udp/1234"
          ],
          "addresses": [
            "local",
            "172.17.0.2"
          ],
          "mode": "enforce",
          "sources": [
            "ip_addr:10.10.0.0/16"
          ],
          "provider": "file:/etc/dbfw/orders.list"
        }
      ],
      "warnings": [
        "dbfw.toml:3: interfaces: nothing matches"
      ]
    }
    "#);
}

#[test]
fn check_of_a_bad_configuration() {
    let problems = ConfigProblems {
        error: failure(FailureKind::BadConfig, "2 problems".to_owned()),
        problems: vec![
            ConfigProblem {
                file: "/etc/dbfw/dbfw.toml".to_owned(),
                line: Some(3),
                key: Some("agent.attach".to_owned()),
                message: "\"xdp\" is not an attach mode".to_owned(),
                fix: Some("use \"auto\"".to_owned()),
            },
            ConfigProblem {
                file: "/etc/dbfw/dbfw.toml".to_owned(),
                line: None,
                key: None,
                message: "cannot be read".to_owned(),
                fix: None,
            },
        ],
    };
    assert_eq!(table(&problems), "", "people read them on standard error");
    insta::assert_snapshot!(for_scripts(&problems), @r#"
    problem→/etc/dbfw/dbfw.toml→3→agent.attach→"xdp" is not an attach mode→use "auto"
    problem→/etc/dbfw/dbfw.toml→→→cannot be read→
    {
      "error": {
        "kind": "bad_config",
        "message": "2 problems",
        "exit": 78
      },
      "problems": [
        {
          "file": "/etc/dbfw/dbfw.toml",
          "line": 3,
          "key": "agent.attach",
          "message": "\"xdp\" is not an attach mode",
          "fix": "use \"auto\""
        },
        {
          "file": "/etc/dbfw/dbfw.toml",
          "line": null,
          "key": null,
          "message": "cannot be read",
          "fix": null
        }
      ]
    }
    "#);
}

#[test]
fn check_of_a_list() {
    let list = CheckedList {
        file: "orders.list".to_owned(),
        sources: 3,
        prefixes: 1,
        warnings: vec!["orders.list:2: 192.0.2.1 is already listed".to_owned()],
    };
    insta::assert_snapshot!(table(&list), @"orders.list is a valid list: 3 sources, 1 prefix in them.");
    insta::assert_snapshot!(for_scripts(&list), @r#"
    list→orders.list→3→1
    warning→orders.list:2: 192.0.2.1 is already listed
    {
      "file": "orders.list",
      "sources": 3,
      "prefixes": 1,
      "warnings": [
        "orders.list:2: 192.0.2.1 is already listed"
      ]
    }
    "#);
}
