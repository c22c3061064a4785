//! A tag that the server resolves, and what packets show of it at a host without a token.

use std::{fs, io::Write as _};

use dbfw_tests::{
    control_plane::ControlPlane,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4},
};

use super::{CLUSTER, joined::joined, pydo};
use crate::providers::{
    common::{digitalocean, server as provider, wait},
    readers::{assert_let_in, assert_refused, source, wait_cut, wait_let_in},
};

#[test]
fn a_tag_of_the_server_lets_its_droplets_in_and_outlives_every_outage() {
    let pair = Pair::new();
    let account = provider(&pair.db);
    let web = account.account(|it| it.add_droplet("web-1", &["backend"], &["10.77.0.2"]));
    let mut server = ControlPlane::set_up(Some(&pair.db), 7443);
    let config = fs::OpenOptions::new().append(true).open(server.config());
    let tables = digitalocean(&account, "poll = \"200ms\"\n") + "[resolve]\ngone_after = \"1s\"\n";
    config.and_then(|mut file| file.write_all(tables.as_bytes())).expect("configure the server");
    server.spawn();
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = joined(&pair, &server, "");
    assert_refused(&host, &pair, TRUSTED4);

    pydo(&server, &["append", CLUSTER, "tag:backend"]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    let shown = source(&host, "tag:backend");
    assert_eq!((&shown["origin"], &shown["state"]), (&"server:orders".into(), &"ok".into()));
    assert!(shown["age_seconds"].is_number(), "{shown}");
    let explained = host.json(&["explain", "10.77.0.2"]).expect("an explanation").to_string();
    assert!(explained.contains("tag:backend"), "{explained}");

    account.account(|it| it.add_droplet("web-2", &["backend"], &["10.77.0.3"]));
    wait_let_in(&host, &pair, FRIEND4);

    // Neither goes with the provider, nor with the server that comes back without it.
    account.down();
    wait(&host, "the server to notice", || server.done(&["resolved", "list"]).contains("stale"));
    assert_let_in(&host, &pair, TRUSTED4);
    server.kill();
    server.spawn();
    wait(&host, "the server to notice again", || {
        server.done(&["resolved", "list"]).contains("stale")
    });
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);

    // A droplet that is really gone is cut.
    account.up();
    account.account(|it| it.remove_droplet(web));
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    pydo(&server, &["remove", CLUSTER, "tag:backend"]);
    wait_cut(&host, &pair, FRIEND4);
}
