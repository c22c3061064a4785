use dbfw_wire::control::{
    ChangeEffect, ConfigChange, CutOff, FailureKind, Unconfirmed, UnconfirmedPlan,
};

use super::{samples::at, *};
use crate::cli::exit::failure;

#[test]
fn reload() {
    let mut reloaded = Reloaded { generation: 42, added: 3, removed: 1, ..Reloaded::default() };
    insta::assert_snapshot!(table(&reloaded), @"Policy 42 is in force: 3 prefixes added, 1 prefix removed.");
    reloaded.refused = vec!["orders: 60 of 100 prefixes would go, max_shrink is 50%".to_owned()];
    reloaded.confirmable = vec!["1a2b3c4d".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Refused: orders: 60 of 100 prefixes would go, max_shrink is 50%
    `dbfw status` shows what would be lost; `dbfw reload --confirm` lets the refused changes through.
    ");
    insta::assert_snapshot!(for_scripts(&reloaded), @r#"
    policy→42→3→1
    refused→orders: 60 of 100 prefixes would go, max_shrink is 50%
    confirmable→1a2b3c4d
    {
      "generation": 42,
      "added": 3,
      "removed": 1,
      "changes": [],
      "cut_off": [],
      "connections_error": null,
      "refused": [
        "orders: 60 of 100 prefixes would go, max_shrink is 50%"
      ],
      "confirmable": [
        "1a2b3c4d"
      ],
      "unconfirmed": [],
      "failed": [],
      "pending": [],
      "restart": [],
      "trial": null
    }
    "#);
    reloaded.refused.clear();
    reloaded.failed =
        vec!["orders: orders.list:2: no address\norders.list:3: \u{1b}[2J".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @r"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Not read: orders: orders.list:2: no address
      orders.list:3: \u{1b}[2J
    What was in force of them stays in force: nothing, where no list was read yet.
    ");
    reloaded.failed.clear();
    reloaded.pending = vec!["tag:backend".to_owned(), "dns:db\u{1b}.example".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @r"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Being resolved: tag:backend
    Being resolved: dns:db\u{1b}.example
    ");
}

#[test]
fn only_what_can_be_confirmed_is_said_to_be() {
    for (refused, confirmable, says) in [
        (&["a"][..], &[][..], "shows more about what is refused.\n"),
        (&["a", "b"], &[], "shows more about what is refused.\n"),
        (
            &["a", "b"],
            &["00000002"],
            "`dbfw reload --confirm` lets 00000002 through, and no other.\n",
        ),
        (&["a", "b"], &["00000001", "00000002"], "lets the refused changes through.\n"),
    ] {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (refused, confirmable): (Vec<_>, Vec<_>) = (texts(refused), texts(confirmable));
        let shown = table(&Reloaded { refused, confirmable, ..Reloaded::default() });
        assert!(shown.ends_with(says), "{shown}");
        assert_eq!(shown.contains("--confirm"), says.contains("through"), "{shown}");
    }
}

#[test]
fn what_needs_a_restart_and_what_was_not_confirmed() {
    let restart = ["agent.metrics_listen", "agent.state_dir"].map(str::to_owned).to_vec();
    let reloaded = Reloaded { generation: 42, restart, ..Reloaded::default() };
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 42 is in force: 0 prefixes added, 0 prefixes removed.
    Takes effect at a restart of the agent (systemctl restart dbfw): agent.metrics_listen, agent.state_dir
    ");
    assert_eq!(
        reloaded.plain(),
        "policy\t42\t0\t0\nrestart\tagent.metrics_listen\nrestart\tagent.state_dir\n"
    );
    let error = failure(FailureKind::Invalid, "no plan deadbeef".to_owned());
    let plan = UnconfirmedPlan {
        id: "1a2b3c4d".to_owned(),
        database: "orders".to_owned(),
        message: "the list\tcould not be read".to_owned(),
    };
    let still_refused = Reloaded { unconfirmed: vec![plan], ..Reloaded::default() };
    assert_eq!(
        still_refused.plain(),
        "policy\t0\t0\t0\nunconfirmed\torders\t1a2b3c4d\tthe list\\tcould not be read\n"
    );
    let unconfirmed = Unconfirmed { reloaded: Reloaded::default(), error };
    assert_eq!(table(&unconfirmed), table(&Reloaded::default()), "standard error has the reason");
    assert_eq!(unconfirmed.plain(), "policy\t0\t0\t0\nerror\tinvalid\tno plan deadbeef\n");
    let document = serde_json::to_value(&unconfirmed).unwrap();
    assert_eq!(document["generation"], 0);
    assert_eq!(
        document["error"],
        serde_json::json!({ "kind": "invalid", "message": "no plan deadbeef", "exit": 1 })
    );
}

#[test]
fn a_trial_says_until_when_and_how_it_ends() {
    let reloaded =
        Reloaded { generation: 42, trial: Some(samples::trial()), ..Reloaded::default() };
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 42 is in force: 0 prefixes added, 0 prefixes removed.
    The configuration is on trial until 2026-03-01T12:09:58Z (in 9m58s).
      dbfw reload --keep keeps it, dbfw reload --revert goes back at once.
    ");
    assert_eq!(
        reloaded.plain(),
        "policy\t42\t0\t0\ntrial\t2026-03-01T12:09:58Z\t2026-03-01T08:48:00Z\n"
    );
    let mut status = samples::status();
    status.agent.as_mut().unwrap().trial = Some(samples::trial());
    let shown = table(&status);
    assert!(
        shown.contains("\nThe configuration is on trial until 2026-03-01T12:09:58Z (in 9m58s).\n")
    );
    assert!(shown.contains("dbfw reload --keep keeps it"), "{shown}");
    assert!(status.plain().contains("\ntrial\t2026-03-01T12:09:58Z\t"), "{}", status.plain());
    let mut trial = samples::trial();
    for n in 1..=6 {
        trial.changes.push(ConfigChange {
            effect: ChangeEffect::Other,
            database: Some("orders".to_owned()),
            text: format!("orders: trusted: ip_addr:10.0.0.{n}"),
        });
    }
    let shown = table(&Reloaded { trial: Some(trial), ..Reloaded::default() });
    assert!(shown.contains("  Going back: orders: trusted: ip_addr:10.0.0.4\n"), "{shown}");
    assert!(!shown.contains("ip_addr:10.0.0.5"), "{shown}");
    assert!(shown.contains("  Going back: 2 more changes ("), "{shown}");
}

#[test]
fn metrics_and_detach() {
    let metrics = Text { text: "# TYPE dbfw_up gauge\ndbfw_up 1\n".to_owned() };
    insta::assert_snapshot!(table(&metrics), @"
    # TYPE dbfw_up gauge
    dbfw_up 1
    ");
    insta::assert_snapshot!(for_scripts(&metrics), @r##"
    # TYPE dbfw_up gauge
    dbfw_up 1
    {
      "text": "# TYPE dbfw_up gauge\ndbfw_up 1\n"
    }
    "##);
    insta::assert_snapshot!(table(&Text { text: "Detached from eth0.".to_owned() }), @"Detached from eth0.");
}

#[test]
fn what_a_reload_opens_and_whom_it_cuts_off() {
    let change = |effect, text: &str| ConfigChange {
        effect,
        database: Some("shop".to_owned()),
        text: text.to_owned(),
    };
    let cut_off = |last: u8, connections| CutOff {
        database: "shop".to_owned(),
        source: [192, 0, 2, last].into(),
        connections,
        going_on: usize::from(last == 67),
        last_seen: (connections == 0).then(|| at("11:58:00")),
    };
    let reloaded = Reloaded {
        generation: 43,
        added: 0,
        removed: 0,
        changes: vec![change(
            ChangeEffect::Opens,
            "shop: enforce → off: tcp/1 is open to everyone",
        )],
        cut_off: [cut_off(66, 2), cut_off(67, 0)]
            .into_iter()
            .chain((100..121).map(|last| cut_off(last, 0)))
            .collect(),
        ..Reloaded::default()
    };
    let shown = table(&reloaded);
    assert_eq!(shown.lines().count(), 3 + 20 + 1, "{shown}");
    assert!(shown.ends_with("  and 3 more: --output plain shows all\n"), "{shown}");
    assert_eq!(reloaded.plain().lines().count(), 2 + 23, "all of them");
    let mut reloaded = reloaded;
    reloaded.cut_off.truncate(2);
    reloaded.connections_error = Some("no answer".to_owned());
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 43 is in force: 0 prefixes added, 0 prefixes removed.
    shop: enforce → off: tcp/1 is open to everyone
    Cut off, because not trusted: 2 sources
      192.0.2.66 (shop): 2 open connections
      192.0.2.67 (shop): 0 open connections, 1 goes on (an interface that is not covered), last seen 2026-03-01T11:58:00Z
    Open connections are not known: no answer
    ");
    insta::assert_snapshot!(reloaded.plain().replace('\t', "→"), @"
    policy→43→0→0
    change→opens→shop→shop: enforce → off: tcp/1 is open to everyone
    cut_off→shop→192.0.2.66→2→→0
    cut_off→shop→192.0.2.67→0→2026-03-01T11:58:00Z→1
    connections_error→no answer
    ");
}
