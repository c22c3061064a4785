//! What clients get at the ports of the database host, over both families and both protocols.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use dbfw_tests::{
    netns::Netns,
    site::{Answer, Ends, Line, PATIENCE, answer},
    traffic::{Echo, UdpEcho, datagram},
};

/// The protected port, TCP and UDP.
pub(crate) const PORT: u16 = 5432;

/// A port of nobody.
pub(crate) const OTHER: u16 = 8080;

/// How long silence must last to be believed: an emulated machine answers late.
const SILENCE: Duration = Duration::from_secs(4);

/// Servers at both ports, for both protocols.
#[derive(Debug)]
pub(crate) struct Servers(
    #[expect(dead_code, reason = "they serve as long as they are there")] [(Echo, UdpEcho); 2],
);

impl Servers {
    pub(crate) fn start(netns: &Netns) -> Self {
        Self([PORT, OTHER].map(|port| (Echo::start(netns, port), UdpEcho::start(netns, port))))
    }
}

/// The database `orders` on [`PORT`] that trusts the trusted ends of the lines.
pub(crate) fn orders(lines: &[&Line<'_>]) -> String {
    let trusted: Vec<String> = lines.iter().map(|line| line.trusted_sources()).collect();
    format!(
        "[[database]]\nname = \"orders\"\nports = [{PORT}, \"udp/{PORT}\"]\n\
         trusted_sources = [{}]",
        trusted.join(", ")
    )
}

/// Asserts that trusted clients are served and strangers get `stranger`, over TCP and UDP and
/// both families, and that everybody is served at the port of nobody.
#[track_caller]
pub(crate) fn assert_filtered(line: &Line<'_>, stranger: Answer) {
    assert_ends_filtered(line.client, &line.ends(), stranger);
}

/// The same for ends of any kind.
#[track_caller]
pub(crate) fn assert_ends_filtered(client: &Netns, ends: &[Ends], stranger: Answer) {
    let attempts: Vec<(IpAddr, SocketAddr, Answer)> = ends
        .iter()
        .flat_map(|ends| {
            let at = |port| SocketAddr::new(ends.server, port);
            [
                (ends.trusted, at(PORT), Answer::Served),
                (ends.stranger, at(PORT), stranger),
                (ends.stranger, at(OTHER), Answer::Served),
            ]
        })
        .collect();
    let wrong: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = attempts
            .iter()
            .flat_map(|&(source, target, expected)| {
                let patience = patience(expected);
                let tcp = move || answer(client, source, target, patience);
                let udp = move || udp_answer(client, source, target, patience);
                [
                    ("TCP", source, target, expected, scope.spawn(tcp)),
                    ("UDP", source, target, expected, scope.spawn(udp)),
                ]
            })
            .collect();
        asking
            .into_iter()
            .filter_map(|(protocol, source, target, expected, asking)| {
                let given = asking.join().expect("an answer");
                (given != expected).then(|| {
                    format!("{source} at {target} over {protocol}: {given:?}, not {expected:?}")
                })
            })
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn patience(expected: Answer) -> Duration {
    if expected == Answer::Silent { SILENCE } else { PATIENCE }
}

fn udp_answer(client: &Netns, source: IpAddr, target: SocketAddr, patience: Duration) -> Answer {
    match datagram(client, source, target, 32, patience).map_err(|error| error.kind()) {
        Ok(()) => Answer::Served,
        Err(ErrorKind::ConnectionRefused) => Answer::Refused,
        Err(ErrorKind::TimedOut) => Answer::Silent,
        Err(other) => panic!("{source} could not send to {target}: {other}"),
    }
}
