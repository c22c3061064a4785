//! The smallest network: a database host, and a namespace whose addresses are its clients.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::{
    agent::Host,
    netns::{Netns, veth},
    traffic::{self, Echo},
};

/// The protected port.
pub const PORT: u16 = 5432;
/// A port of nobody, with a listener as well.
pub const OTHER_PORT: u16 = 8080;

/// The host.
pub const HOST4: IpAddr = v4(1);
/// The client the tests let in.
pub const TRUSTED4: IpAddr = v4(2);
/// A second client, trusted by some tests.
pub const FRIEND4: IpAddr = v4(3);
/// A client nobody trusts.
pub const STRANGER4: IpAddr = v4(9);
/// The host.
pub const HOST6: IpAddr = v6(1);
/// The client the tests let in.
pub const TRUSTED6: IpAddr = v6(2);
/// A client nobody trusts.
pub const STRANGER6: IpAddr = v6(9);

/// The host's interface.
pub const INTERFACE: &str = "db0";
/// Where the agent of a host configured with [`METRICS`] tells its metrics and health.
const METRICS_ADDRESS: &str = "127.0.0.1:9787";
/// The configuration key for that.
pub const METRICS: &str = "metrics_listen = \"127.0.0.1:9787\"";

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, last))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last))
}

/// The two namespaces, with echo servers on the host.
#[derive(Debug)]
pub struct Pair {
    _servers: [Echo; 2],
    /// The database host.
    pub db: Netns,
    /// Its clients.
    pub clients: Netns,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// Both namespaces, joined, with every address of this module.
    pub fn new() -> Self {
        let (db, clients) = (Netns::new("db"), Netns::new("clients"));
        veth((&db, INTERFACE), (&clients, "cl0"));
        db.address(INTERFACE, &format!("{HOST4}/24"));
        db.address(INTERFACE, &format!("{HOST6}/64"));
        for client in [TRUSTED4, FRIEND4, STRANGER4] {
            clients.address("cl0", &format!("{client}/24"));
        }
        for client in [TRUSTED6, STRANGER6] {
            clients.address("cl0", &format!("{client}/64"));
        }
        Self { _servers: [PORT, OTHER_PORT].map(|port| Echo::start(&db, port)), db, clients }
    }

    /// Whether a client gets an answer from the database port.
    pub fn reaches(&self, source: IpAddr) -> bool {
        self.reaches_port(source, PORT)
    }

    /// Whether a client gets an answer from a port of the host.
    pub fn reaches_port(&self, source: IpAddr, port: u16) -> bool {
        let host = if source.is_ipv4() { HOST4 } else { HOST6 };
        traffic::reaches(&self.clients, source, SocketAddr::new(host, port))
    }

    /// Status code and body of a page of the agent's metrics listener.
    pub fn http(&self, path: &str) -> Option<(u16, String)> {
        self.db.run(|| {
            let address: SocketAddr = METRICS_ADDRESS.parse().ok()?;
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let code = head.split(' ').nth(1)?.parse().ok()?;
            Some((code, body.to_owned()))
        })
    }
}

/// A `[[database]]` table "orders" on [`PORT`] with more keys.
pub fn orders(keys: &str) -> String {
    format!("[[database]]\nname = \"orders\"\nports = [{PORT}]\n{keys}")
}

/// [`orders`] whose list is the file "orders.list" of the host.
pub fn listed(host: &Host<'_>, keys: &str) -> String {
    let path = host.path("orders.list");
    orders(&format!("provider = {{ kind = \"file\", path = \"{}\" }}\n{keys}", path.display()))
}

/// The key that names [`INTERFACE`].
pub fn interfaces() -> String {
    format!("interfaces = [\"{INTERFACE}\"]")
}

/// The problems `dbfw status` tells, one a line.
pub fn problems(host: &Host<'_>) -> String {
    let status = host.json(&["status"]).unwrap_or_default();
    let problems = status["problems"].as_array().into_iter().flatten();
    problems.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

/// What `dbfw status` tells of the one database.
pub fn database(host: &Host<'_>) -> Value {
    host.json(&["status"]).map(|mut status| status["databases"][0].take()).unwrap_or_default()
}

/// The state of the provider of the one database.
pub fn list_state(host: &Host<'_>) -> String {
    database(host)["provider"]["state"].as_str().unwrap_or_default().to_owned()
}

/// A sample of `dbfw metrics`, by name and labels as they are printed.
pub fn metric(host: &Host<'_>, series: &str) -> Option<f64> {
    let text = String::from_utf8(host.dbfw(&["metrics"]).stdout).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    value.parse().ok()
}
