//! Warnings about what is legal but hardly meant.

use super::{Dir, good::SHORT};

#[test]
fn what_is_doubtful_is_a_warning() {
    let dir = Dir::new(
        r#"[agent]
metrics_listen = "0.0.0.0:9787"

[[database]]
name = "closed"
ports = [1]

[[database]]
name = "orders"
ports = [2]
trusted_sources = [
  "ip_addr:10.0.0.0/8",
  { type = "ip_addr", value = "10.0.0.0-10.255.255.255" },
  "ip_addr:::/0",
  { type = "ip_addr", value = "10.0.0.1", expires_at = 2020-01-01T00:00:00Z },
]
"#,
    );
    assert_eq!(
        dir.warnings(),
        [
            "@/dbfw.toml:2: agent.metrics_listen: anyone who can reach 0.0.0.0:9787 can read \
             the metrics without a password: use 127.0.0.1, or make sure that only the scraper \
             can reach it",
            "@/dbfw.toml:4: database.closed: has neither trusted_sources nor a provider: nobody \
             may connect: add trusted_sources with the addresses of its clients, or mode = \
             \"observe\" to see first who they are",
            "@/dbfw.toml:13: database.orders.trusted_sources[1]: ip_addr:10.0.0.0-10.255.255.255 \
             is already listed (@/dbfw.toml:12): remove one",
            "@/dbfw.toml:14: database.orders.trusted_sources[2]: ip_addr:::/0 opens the database \
             to everyone: list only the networks that need it",
            "@/dbfw.toml:15: database.orders.trusted_sources[3]: ip_addr:10.0.0.1 expired at \
             2020-01-01T00:00:00Z: it is not trusted: remove it, or move expires_at",
        ]
    );
    // Only what is in force in the end counts.
    dir.write("conf.d/a.toml", "agent.metrics_listen = \"127.0.0.1:1\"");
    assert_eq!(dir.warnings().len(), 4);
}

#[test]
fn a_max_stale_that_allows_no_second_try_is_a_warning() {
    let text = |max_stale: &str| {
        let text = SHORT.replace("ip_addr:10.0.0.0/8", "feed:/a");
        format!("agent.max_stale = \"{max_stale}\"\n[digitalocean]\n[aptible]\n{text}")
    };
    assert_eq!(
        Dir::new(text("29s")).warnings(),
        [
            "@/dbfw.toml:1: agent.max_stale: a single failed request would cut off clients: \
             [aptible] polls every 1m: make it several times that, or \"off\"",
            "@/dbfw.toml:1: agent.max_stale: a single failed request would cut off clients: \
             [digitalocean] polls every 15s: make it several times that, or \"off\"",
            "@/dbfw.toml:1: agent.max_stale: a single failed request would cut off clients: \
             [feeds] polls every 5m: make it several times that, or \"off\"",
        ]
    );
    for enough in ["10m", "off"] {
        assert_eq!(Dir::new(text(enough)).warnings(), [""; 0]);
    }
}

#[test]
fn one_name_in_two_spellings_is_listed_twice() {
    let sources = r#"["dns:DB.example", "dns:db.example.", "dns:db.example.org"]"#;
    assert_eq!(
        Dir::new(SHORT.replace(r#"["ip_addr:10.0.0.0/8"]"#, sources)).warnings(),
        ["@/dbfw.toml:4: database.a.trusted_sources[1]: dns:db.example. is already listed \
          (@/dbfw.toml:4): remove one"]
    );
}

#[test]
fn a_name_that_can_match_no_interface_is_a_warning() {
    let text = |names: &str| format!("agent.interfaces = [{names}]\n{SHORT}");
    let dir = Dir::new(text(r#""eth0:1", "eth0", "eth0@if2", "lo", "l*""#));
    assert_eq!(
        dir.warnings(),
        [
            "@/dbfw.toml:1: agent.interfaces[0]: \"eth0:1\" covers nothing: not an interface, but \
             the label of an address of eth0: write \"eth0\"",
            "@/dbfw.toml:1: agent.interfaces[2]: \"eth0@if2\" covers nothing: not an interface, \
             but how ip link shows eth0: write \"eth0\"",
            "@/dbfw.toml:1: agent.interfaces[3]: \"lo\" covers nothing: no program fits this kind \
             of link, which is loopback: leave it out: traffic within this host is not filtered",
        ]
    );
    // Only what is in force in the end counts.
    dir.write("conf.d/a.toml", "agent.interfaces = [\"eth0\"]");
    assert_eq!(dir.warnings(), [""; 0]);
}

/// Everybody is let in: who they are is what the mode is for.
#[test]
fn a_database_that_trusts_nobody_is_doubtful_only_if_that_closes_it() {
    for (mode, warnings) in
        [("", 1), ("mode = \"enforce\"", 1), ("mode = \"observe\"", 0), ("mode = \"off\"", 0)]
    {
        let empty = SHORT.replace(r#"["ip_addr:10.0.0.0/8"]"#, "[]");
        let found = Dir::new(format!("{empty}{mode}\n")).warnings();
        assert_eq!(found.len(), warnings, "{mode}: {found:?}");
        // A hurried reader pastes what a hint names: it must not name a whole network.
        assert!(found.iter().all(|warning| !warning.contains("/8")), "{found:?}");
    }
}
