//! A database host and the lines to it: what the end-to-end tests connect over.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    agent::Host,
    netns::{Netns, finish},
    traffic::{SILENCE, connect, round_trip},
};

/// How long a client that must be served waits: a loaded machine is no reason to fail.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a client that connects and sends a byte gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The byte back.
    Served,
    /// A reset.
    Refused,
    /// Nothing at all.
    Silent,
}

/// The addresses at both ends of a line, of one family.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The database host.
    pub server: IpAddr,
    /// The client, as a trusted source.
    pub trusted: IpAddr,
    /// The client, as a stranger.
    pub stranger: IpAddr,
}

/// A veth pair from a database host to a client that has a trusted and an untrusted
/// address of each family. Its networks are `10.90.<number>.0/24` and `fd90:<number>::/64`.
#[derive(Debug)]
pub struct Line<'a> {
    /// The client's namespace.
    pub client: &'a Netns,
    /// IPv4.
    pub v4: Ends,
    /// IPv6.
    pub v6: Ends,
}

impl<'a> Line<'a> {
    /// Joins `server` and `client`, and sets both ends up.
    pub fn new(server: (&Netns, &str), client: (&'a Netns, &str), number: u8) -> Self {
        let line = Self::down(server, client, number);
        line.up(server);
        line
    }

    /// Joins `server` and `client`; the server's end stays down, without addresses.
    pub fn down(server: (&Netns, &str), client: (&'a Netns, &str), number: u8) -> Self {
        let (host, interface) = server;
        let (netns, peer) = client;
        host.ip(&format!(
            "link add name {interface} type veth peer name {peer} netns {}",
            netns.name()
        ));
        Self::over(client, number)
    }

    /// Takes the client's end of a pair that is there, and sets it up.
    pub fn over(client: (&'a Netns, &str), number: u8) -> Self {
        let (netns, peer) = client;
        let line = Self {
            client: netns,
            v4: Ends {
                server: IpAddr::from([10, 90, number, 1]),
                trusted: IpAddr::from([10, 90, number, 2]),
                stranger: IpAddr::from([10, 90, number, 3]),
            },
            v6: Ends { server: v6(number, 1), trusted: v6(number, 2), stranger: v6(number, 3) },
        };
        netns.up(peer);
        for ends in line.ends() {
            netns.address(peer, &in_network(ends.trusted));
            netns.address(peer, &in_network(ends.stranger));
        }
        line
    }

    /// Sets the server's end up and gives it its addresses.
    pub fn up(&self, server: (&Netns, &str)) {
        let (host, interface) = server;
        host.up(interface);
        for ends in self.ends() {
            host.address(interface, &in_network(ends.server));
        }
    }

    /// Both families.
    pub fn ends(&self) -> [Ends; 2] {
        [self.v4, self.v6]
    }

    /// The trusted addresses as elements of `trusted_sources`.
    pub fn trusted_sources(&self) -> String {
        format!("\"ip_addr:{}\", \"ip_addr:{}\"", self.v4.trusted, self.v6.trusted)
    }

    /// Asserts what the trusted and the untrusted address get at `port`, over both families.
    #[track_caller]
    pub fn assert_answers(&self, port: u16, trusted: Answer, stranger: Answer) {
        let attempts = self.ends().into_iter().flat_map(|ends| {
            let target = SocketAddr::new(ends.server, port);
            [(ends.trusted, target, trusted), (ends.stranger, target, stranger)]
        });
        let given = thread::scope(|scope| {
            let attempts: Vec<_> = attempts
                .map(|(source, target, expected)| {
                    let patience = patience(expected);
                    let ask = move || answer(self.client, source, target, patience);
                    (source, target, expected, scope.spawn(ask))
                })
                .collect();
            attempts
                .into_iter()
                .map(|(source, target, expected, asking)| {
                    let given = asking.join().expect("an answer");
                    (source, target, expected, given)
                })
                .collect::<Vec<_>>()
        });
        for (source, target, expected, given) in given {
            assert_eq!(given, expected, "{source} at {target}");
        }
    }
}

/// What `source`, an address of the namespace, gets at `target` within `patience`.
pub fn answer(client: &Netns, source: IpAddr, target: SocketAddr, patience: Duration) -> Answer {
    let result = connect(client, source, target, patience)
        .and_then(|mut stream| round_trip(&mut stream, patience));
    match result.map_err(|error| error.kind()) {
        Ok(()) => Answer::Served,
        Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Answer::Refused,
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Answer::Silent,
        Err(other) => panic!("{source} could not try {target}: {other}"),
    }
}

/// Asserts what `source` gets at `target`.
#[track_caller]
pub fn assert_answer(client: &Netns, source: IpAddr, target: SocketAddr, expected: Answer) {
    let given = answer(client, source, target, patience(expected));
    assert_eq!(given, expected, "{source} at {target}");
}

/// Only who expects silence waits for a short time.
fn patience(expected: Answer) -> Duration {
    if expected == Answer::Silent { SILENCE } else { PATIENCE }
}

/// The status line of an interface, if there is one.
pub fn interface(host: &Host<'_>, name: &str) -> Option<Value> {
    let status = host.json(&["status"])?;
    status["interfaces"].as_array()?.iter().find(|interface| interface["name"] == name).cloned()
}

/// Waits until the agent says that `name` is filtered, and returns its status line.
pub fn wait_for_interface(host: &Host<'_>, name: &str) -> Value {
    let mut found = Value::Null;
    host.wait(&format!("{name} to be attached"), |host| {
        found = interface(host, name).unwrap_or_default();
        found["healthy"] == true
    });
    found
}

/// Waits until the agent does not list `name` any more.
pub fn wait_until_gone(host: &Host<'_>, name: &str) {
    host.wait(&format!("{name} to be forgotten"), |host| {
        host.json(&["status"]).is_some() && interface(host, name).is_none()
    });
}

/// The value of a sample of `dbfw metrics`; `sample` is its name with all labels.
pub fn metric(host: &Host<'_>, sample: &str) -> f64 {
    let output = host.dbfw(&["metrics"]);
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no sample {sample} in\n{text}"))
}

/// Packets that database `orders` dropped for a reason, by `family` ("ipv4", "ipv6").
pub fn dropped(host: &Host<'_>, family: &str, reason: &str) -> f64 {
    metric(
        host,
        &format!(
            "dbfw_dropped_packets_total{{database=\"orders\",family=\"{family}\",reason=\"{reason}\"}}"
        ),
    )
}

/// How XDP is attached to an interface, by `ip`, not by dbfw: "native" or "generic", and
/// the program's id.
pub fn xdp_of(netns: &Netns, interface: &str) -> Option<(&'static str, u64)> {
    let xdp = link(netns, interface)["xdp"].clone();
    let mode = match xdp["mode"].as_u64()? {
        1 => "native",
        2 => "generic",
        other => panic!("XDP mode {other} on {interface}"),
    };
    Some((mode, xdp["prog"]["id"].as_u64()?))
}

/// What `ip` tells of an interface.
pub fn link(netns: &Netns, interface: &str) -> Value {
    let text = finish(netns.command("ip").args(["-json", "link", "show", "dev", interface]));
    let links: Value = serde_json::from_str(&text).expect("ip writes JSON");
    links[0].clone()
}

fn v6(number: u8, host: u16) -> IpAddr {
    IpAddr::from([0xfd90, u16::from(number), 0, 0, 0, 0, 0, host])
}

fn in_network(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 })
}
