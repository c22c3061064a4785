//! A real PostgreSQL behind the agent.

use dbfw_tests::{
    agent::Host,
    netns::Netns,
    postgres::{Postgres, query},
    site::{Line, dropped},
};

const PORT: u16 = 5432;

#[test]
fn queries_run_from_trusted_sources_alone() {
    let (db, app, other) = (Netns::new("db"), Netns::new("app"), Netns::new("other"));
    let near = Line::new((&db, "to-app"), (&app, "link"), 1);
    let far = Line::new((&db, "to-other"), (&other, "link"), 2);
    for (line, address) in [(&near, near.v4.stranger), (&near, near.v6.stranger)] {
        // psql cannot choose its address: leave it the trusted one.
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        line.client.ip(&format!("address del {address}/{prefix} dev link"));
    }
    let postgres = Postgres::start(&db, PORT);
    let mut host = Host::new(&db);
    host.configure(
        "interfaces = [\"to-*\"]",
        &format!(
            "[[database]]\nname = \"orders\"\nports = [{PORT}]\ntrusted_sources = [{}]",
            near.trusted_sources()
        ),
    );
    host.start();

    for (near, far) in near.ends().into_iter().zip(far.ends()) {
        let sql = "select host(inet_client_addr()), length(string_agg(n::text, ' ')) \
                   from generate_series(1, 100000) n";
        let answer = query(&app, &near.server.to_string(), PORT, sql);
        let printed = String::from_utf8_lossy(&answer.stdout);
        let printed = printed.trim();
        assert_eq!(printed, format!("{}|588894", near.trusted), "{answer:?}\n{}", host.log());

        let answer = query(&other, &far.server.to_string(), PORT, "select 1");
        let error = String::from_utf8_lossy(&answer.stderr);
        assert!(error.contains("timeout expired"), "{answer:?}\n{}", host.log());
        assert_eq!(answer.status.code(), Some(2), "psql lost its connection, or had one");
    }
    for family in ["ipv4", "ipv6"] {
        assert!(dropped(&host, family, "untrusted") >= 1.0, "nothing dropped over {family}");
        assert_eq!(dropped(&host, family, "backstop"), 0.0, "a packet passed the interface");
    }
    let log = postgres.log();
    for trusted in [near.v4.trusted, near.v6.trusted] {
        assert!(log.contains(&format!("host={trusted} ")), "{trusted} is not in\n{log}");
    }
    assert!(!log.contains("host=10.90.2.") && !log.contains("host=fd90:2:"), "a stranger:\n{log}");

    // The strangers were kept out by dbfw and nothing else.
    assert!(host.dbfw(&["detach", "--yes"]).status.success(), "detach\n{}", host.log());
    let answer = query(&other, &far.v4.server.to_string(), PORT, "select 1");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "1", "{answer:?}");
}

/// A query that is over in milliseconds, and a client of observe mode is known by it.
#[test]
fn a_query_makes_a_client() {
    let (db, app) = (Netns::new("db"), Netns::new("app"));
    let line = Line::new((&db, "to-app"), (&app, "link"), 1);
    let _postgres = Postgres::start(&db, PORT);
    let mut host = Host::new(&db);
    host.configure(
        "interfaces = [\"to-*\"]",
        &format!("[[database]]\nname = \"orders\"\nports = [{PORT}]\nmode = \"observe\""),
    );
    host.start();
    let answer = query(&app, &line.v4.server.to_string(), PORT, "select 1");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "1", "{answer:?}");
    host.wait("the client to be known", |host| {
        let found = host.json(&["suggest"]).unwrap_or_default();
        let client = &found["suggestions"][0];
        client["looks_like"] == "client" && client["established"] == true
    });
    let found = host.json(&["suggest"]).unwrap_or_default();
    let address = &found["suggestions"][0]["addresses"][0];
    assert_eq!(address["belongs_to"]["interface"], "to-app", "{found:#}");
}
