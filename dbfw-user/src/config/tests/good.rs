use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dbfw_common::Mode;
use dbfw_core::{
    answers::{ClusterId, ListId},
    trust::OnEmpty,
};
use dbfw_datapath::{Attach, Interfaces};
use glob::Pattern;

use super::{super::*, Dir};

/// Every key there is.
pub(super) const FULL: &str = r#"[agent]
interfaces     = ["eth0", "enp*"]
attach         = "native"
backstop       = false
exempt_interfaces = ["docker0"]
fragments      = "drop"
metrics_listen = "[::1]:9999"
state_dir      = "/state"
run_dir        = "/run/x"
pin_dir        = "/sys/fs/bpf/x"
events_per_second = 0
gone_after     = "0s"
max_stale      = "7d12h"

[digitalocean]
token_file  = "/etc/dbfw/do-token"
api_url     = "https://API.example:8443/"
poll        = "500ms"
timeout     = "1m30s"
ca_file     = "/etc/dbfw/ca.pem"
allow_http  = ["API.internal", "192.0.2.1", "2001:DB8::1", "[2001:db8::2]"]
addresses   = ["v6", "private"]
pod_subnets = true
requests_per_hour   = 2500
requests_per_minute = 100

[aptible]
token_file = "/etc/dbfw/aptible-token"
api_url    = "http://127.0.0.1:8080"
poll       = "1h"
timeout    = "100ms"
ca_file    = "/ca"
allow_http = []

[feeds]
poll       = "24h"
max_bytes  = 1_000
timeout    = "5m"
ca_file    = "/ca"
allow_http = ["feeds.internal"]

[dns]
servers = ["192.0.2.53", "192.0.2.54:5353", "2001:db8::53", "[2001:db8::54]", "[2001:db8::55]:5353"]
timeout = "2s"
grace   = "0s"
min_ttl = "100ms"
max_ttl = "24h"

[[database]]
name  = "orders"
ports = [5432, 6432, "tcp/7432", "udp/5432"]
mode  = "observe"
trusted_sources = [
  "ip_addr:10.10.0.0/16",
  "ip_addr:2001:db8::/32",
  { type = "ip_addr", value = "203.0.113.7", description = "CI runner", expires_at = "2126-12-01T00:00:00Z" },
  { type = "ip_addr", value = "203.0.113.8", expires_at = 2126-12-01T01:00:00+01:00 },
]
provider   = { kind = "file", path = "/etc/dbfw/orders.list" }
on_empty   = "close"
max_shrink = "75%"
allow_any  = true
audit      = { socket = "/run/s", user = "audit", password_file = "/etc/p" }

[[database]]
name = "cache.1_a-b"
ports = [6379]
max_shrink = "off"
provider.kind = "file"
provider.path = "/etc/dbfw/cache.toml"
min_prefix = { ipv6 = 32 }

[[database]]
name  = "users"
ports = [5433]
trusted_sources = [
  "droplet:3164494",
  "tag:env:prod_1",
  "k8s:bd5f5959-5e1e-4205-a714-a914373942af",
  { type = "app", value = "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf" },
  "vpc:5a4981aa-9653-4bd1-bef5-d6bff52042e4",
  "feed:https://ip-ranges.amazonaws.com/ip-ranges.json#$.prefixes[?@.service=='EC2' && @.region=='eu-central-1'].ip_prefix",
  "feed:http://feeds.internal/list.csv#csv:network",
  "dns:Build.example.com.",
]
provider   = { kind = "digitalocean", cluster = "9CC10173-e9ea-4176-9dbc-a4cee4c4ff30" }
min_prefix = { ipv4 = 16, ipv6 = 48 }

[[database]]
name     = "logs"
ports    = [5434]
provider = { kind = "aptible", vhost = 123 }

[[database]]
name     = "audit"
ports    = [5435]
provider = { kind = "aptible", vhost = "18446744073709551615" }
"#;

/// The shortest that says nothing doubtful.
pub(super) const SHORT: &str =
    "[[database]]\nname = \"a\"\nports = [5432]\ntrusted_sources = [\"ip_addr:10.0.0.0/8\"]\n";

fn globs(names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|name| Pattern::new(name).unwrap()).collect()
}

#[test]
fn every_key_is_read() {
    let dir = Dir::new(FULL);
    let config = dir.load().unwrap();
    assert_eq!(
        config.agent,
        AgentConfig {
            interfaces: Interfaces::Matching(globs(&["eth0", "enp*"])),
            attach: Attach::Native,
            backstop: false,
            exempt_interfaces: globs(&["docker0"]),
            fragments: Fragments::Drop,
            metrics_listen: Some("[::1]:9999".parse().unwrap()),
            state_dir: "/state".into(),
            run_dir: "/run/x".into(),
            pin_dir: "/sys/fs/bpf/x".into(),
            events_per_second: 0,
            gone_after: Duration::ZERO,
            max_stale: Some(Duration::from_secs(180 * 3600)),
        }
    );
    let [orders, cache, users, logs, audit] = &config.databases[..] else {
        panic!("{:?}", config.databases)
    };
    assert_eq!(orders.name, "orders");
    assert_eq!(orders.ports.texts(), ["tcp/5432", "tcp/6432", "tcp/7432", "udp/5432"]);
    assert_eq!(orders.mode, Mode::Observe);
    let sources: Vec<String> = orders.trusted_sources.iter().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "ip_addr:10.10.0.0/16",
            "ip_addr:2001:db8::/32",
            "ip_addr:203.0.113.7",
            "ip_addr:203.0.113.8"
        ]
    );
    assert_eq!(orders.trusted_sources[2].description.as_deref(), Some("CI runner"));
    let expiry = Some("2126-12-01T00:00:00Z".parse().unwrap());
    assert_eq!(orders.trusted_sources[2].expires_at, expiry);
    assert_eq!(orders.trusted_sources[3].expires_at, expiry);
    let path = PathBuf::from("/etc/dbfw/orders.list");
    assert_eq!(orders.provider, Some(ListId::File(path)));
    assert_eq!((orders.on_empty, orders.max_shrink), (OnEmpty::Close, 75));
    assert!(orders.allow_any);
    assert_eq!(
        orders.audit,
        AuditLogin {
            socket: Some("/run/s".into()),
            user: Some("audit".to_owned()),
            password_file: Some("/etc/p".into()),
        }
    );
    assert_eq!((cache.name.as_str(), cache.max_shrink), ("cache.1_a-b", 100));
    let path = PathBuf::from("/etc/dbfw/cache.toml");
    assert_eq!(cache.provider, Some(ListId::File(path)));
    assert_eq!(cache.min_prefix, [8, 32]);
    let sources: Vec<String> = users.trusted_sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources.len(), 8);
    assert_eq!(sources[1], "tag:env:prod_1");
    assert_eq!(sources[7], "dns:Build.example.com.");
    let cluster = ClusterId::new("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30").unwrap();
    assert_eq!(users.provider, Some(ListId::DigitalOcean(cluster)));
    assert_eq!(users.min_prefix, [16, 48]);
    assert_eq!(logs.provider, Some(ListId::Aptible(123)));
    assert_eq!(audit.provider, Some(ListId::Aptible(u64::MAX)));
    assert_eq!(paths(&config), [dir.path("dbfw.toml")]);
    assert_eq!(dir.warnings(), [""; 0]);
}

#[test]
fn a_list_of_a_server_is_an_operators_word() {
    let text = r#"
[server]
urls = ["https://a.example.com:7443", "http://127.0.0.1:7443"]
within = ["10.0.0.0/8"]
[[database]]
name = "orders"
ports = [5432]
provider = { kind = "server", database = "orders" }
[[database]]
name = "careful"
ports = [5433]
provider = { kind = "server", database = "orders" }
on_empty = "keep"
max_shrink = "20%"
[[database]]
name = "own"
ports = [5434]
provider = { kind = "file", path = "/etc/dbfw/own.list" }
"#;
    let config = Dir::new(text).load().unwrap();
    let server = config.server.as_ref();
    let [orders, careful, own] = &config.databases[..] else { panic!() };
    assert_eq!(orders.provider, Some(ListId::Server("orders".into())));
    assert_eq!((orders.on_empty, orders.max_shrink), (OnEmpty::Close, 100));
    assert_eq!((careful.on_empty, careful.max_shrink), (OnEmpty::Keep, 20));
    assert_eq!((own.on_empty, own.max_shrink), (OnEmpty::Keep, 50));
    let within = |database: &DatabaseConfig| database.guards(server).within;
    assert_eq!(within(orders), Some(["10.0.0.0/8".parse().unwrap()].into()));
    assert_eq!(within(own), None, "it is about the server alone");
    assert_eq!(server.unwrap().urls.len(), 2);
    assert!(server.unwrap().http.only_ca_file);
}

#[test]
fn defaults() {
    let config = Dir::new(SHORT).load().unwrap();
    assert_eq!(config.agent, AgentConfig::default());
    assert_eq!(
        config.agent,
        AgentConfig {
            interfaces: Interfaces::Auto,
            attach: Attach::Auto,
            backstop: true,
            exempt_interfaces: Vec::new(),
            fragments: Fragments::Pass,
            metrics_listen: Some("127.0.0.1:9787".parse().unwrap()),
            state_dir: "/var/lib/dbfw".into(),
            run_dir: "/run/dbfw".into(),
            pin_dir: "/sys/fs/bpf/dbfw".into(),
            events_per_second: 1000,
            gone_after: Duration::from_secs(120),
            max_stale: None,
        }
    );
    let database = &config.databases[0];
    assert_eq!((database.mode, database.on_empty), (Mode::Enforce, OnEmpty::Keep));
    assert_eq!((database.max_shrink, database.allow_any), (50, false));
    assert_eq!(database.min_prefix, [8, 19]);
    assert_eq!((config.digitalocean, config.aptible), (None, None));
    assert_eq!(database.provider, None);
    assert_eq!(config.warnings, []);
}

#[test]
fn words_for_what_is_off() {
    let agent = "[agent]\ninterfaces = \"auto\"\nmetrics_listen = \"off\"\n";
    let config = Dir::new(format!("\u{feff}{agent}{SHORT}").replace('\n', "\r\n")).load().unwrap();
    assert_eq!(config.agent.metrics_listen, None);
    assert_eq!(config.agent.interfaces, Interfaces::Auto);
}

#[test]
fn drop_ins_add_databases_and_replace_agent_keys() {
    let dir = Dir::new(format!("[agent]\nstate_dir = \"/a\"\nrun_dir = \"/a\"\n{SHORT}"));
    dir.write("conf.d/20.toml", "agent.state_dir = \"/c\"\n");
    let second = SHORT.replace("\"a\"", "\"b\"").replace("5432", "5433");
    dir.write("conf.d/10.toml", format!("[agent]\nstate_dir = \"/b\"\npin_dir = \"/b\"\n{second}"));
    dir.write("conf.d/ignored.conf", "?");
    dir.write("conf.d/.#10.toml", "?");
    let config = dir.load().unwrap();
    assert_eq!(config.agent.state_dir, Path::new("/c"));
    assert_eq!(config.agent.run_dir, Path::new("/a"));
    assert_eq!(config.agent.pin_dir, Path::new("/b"));
    let names: Vec<&str> = config.databases.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        paths(&config),
        ["dbfw.toml", "conf.d/10.toml", "conf.d/20.toml"].map(|name| dir.path(name))
    );
    assert_eq!(dir.agent(), config.agent);
}

#[test]
fn the_databases_may_all_be_in_drop_ins() {
    let dir = Dir::new("");
    dir.write("conf.d/a.toml", SHORT);
    assert_eq!(dir.load().unwrap().databases.len(), 1);
}

#[test]
fn the_agent_section_is_found_in_a_bad_file() {
    let dir = Dir::new(
        "[agent]\nstate_dir = \"/a\"\nrun_dir = 7\npin_dir = \"relative\"\nnonsense = 1\n\
         metrics_listen = \"127.0.0.1:1\"\n\n[[database]]\nports = [0]\n\n[x\n",
    );
    assert!(dir.load().is_err());
    let agent = dir.agent();
    assert_eq!(agent.state_dir, Path::new("/a"));
    assert_eq!(agent.metrics_listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(agent.run_dir, AgentConfig::default().run_dir);
    assert_eq!(agent.pin_dir, AgentConfig::default().pin_dir);
}

#[test]
fn the_agent_section_takes_nothing_from_a_broken_line() {
    let dir = Dir::new("[agent]\nrun_dir = \"/a\"\nstate_dir = \"/b\npin_dir = \"/c\"\n");
    let agent = dir.agent();
    assert_eq!(agent.run_dir, Path::new("/a"));
    assert_eq!(agent.state_dir, AgentConfig::default().state_dir);
}

#[test]
fn without_a_file_the_agent_section_has_the_defaults() {
    assert_eq!(Dir::empty().agent(), AgentConfig::default());
    assert_eq!(Dir::new(b"\xff[agent]\nrun_dir = 1").agent(), AgentConfig::default());
    assert_eq!(agent_section(Path::new("/")), AgentConfig::default());
    assert_eq!(agent_section(Path::new("")), AgentConfig::default());
}

fn paths(config: &Config) -> Vec<PathBuf> {
    config.files.iter().map(|file| file.path.clone()).collect()
}

/// As a string and as a TOML date, which has forms that RFC 3339 does not have.
#[test]
fn an_expiry_in_every_form() {
    let at = |text: &str| Some(text.parse().unwrap());
    for (written, expires_at) in [
        ("2126-12-01T00:00:00Z", at("2126-12-01T00:00:00Z")),
        ("2126-12-01t00:00:00z", at("2126-12-01T00:00:00Z")),
        ("2126-12-01 00:00:00-00:00", at("2126-12-01T00:00:00Z")),
        ("2126-12-01T01:00:00.5+01:00", at("2126-12-01T00:00:00.5Z")),
        ("2126-12-01T00:00:00.1234567891Z", at("2126-12-01T00:00:00.123456789Z")),
        ("2126-12-31T23:59:60Z", at("2126-12-31T23:59:59Z")),
        ("9998-12-31T23:59:59-12:00", at("9999-01-01T11:59:59Z")),
        ("9999-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59.999999999Z", None),
        ("9999-12-31 00:00:00-12:00", None),
        ("0001-01-01T00:00:00Z", None),
    ] {
        for quote in ["\"", ""] {
            let source = format!(
                "{{ type = \"ip_addr\", value = \"10.0.0.1\", expires_at = {quote}{written}{quote} }}"
            );
            let text = format!("{SHORT}\n").replace(r#""ip_addr:10.0.0.0/8""#, &source);
            let config =
                Dir::new(text).load().unwrap_or_else(|error| panic!("{source}: {error:?}"));
            let read = &config.databases[0].trusted_sources[0];
            assert_eq!(read.expires_at, expires_at, "{source}");
        }
    }
    for (written, expires_at) in [
        ("2126-12-01T00:00Z", at("2126-12-01T00:00:00Z")),
        ("\"never\"", None),
        ("\"infinity\"", None),
    ] {
        let source =
            format!("{{ type = \"ip_addr\", value = \"10.0.0.1\", expires_at = {written} }}");
        let text = format!("{SHORT}\n").replace(r#""ip_addr:10.0.0.0/8""#, &source);
        let config = Dir::new(text).load().unwrap_or_else(|error| panic!("{source}: {error:?}"));
        assert_eq!(config.databases[0].trusted_sources[0].expires_at, expires_at, "{source}");
    }
}
