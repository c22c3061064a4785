use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
};

use super::*;

fn ports<const N: usize>(listeners: [&TcpListener; N]) -> BTreeSet<u16> {
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// A connection to the listener, both ends kept open.
fn connect(listener: &TcpListener, to: &str) -> (TcpStream, TcpStream) {
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((to, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn completed_ones(ports: &BTreeSet<u16>) -> Vec<Connection> {
    completed(ports).unwrap().into_iter().map(|completed| completed.connection).collect()
}

fn seen(client: &TcpStream) -> Connection {
    let (local, peer) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    Connection { local, peer, interface: None }
}

#[test]
fn open_connections_are_found_by_their_local_port() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = [&first, &first, &second, &other].map(|listener| connect(listener, "127.0.0.1"));
    let mut expected = vec![seen(&kept[0].0), seen(&kept[1].0)];
    expected.sort_unstable();
    assert_eq!(established(&ports([&first])).unwrap(), expected);
    assert_eq!(completed_ones(&ports([&first])), expected);
    expected.push(seen(&kept[2].0));
    expected.sort_unstable();
    assert_eq!(established(&ports([&first, &second])).unwrap(), expected);
    assert_eq!(established(&BTreeSet::new()).unwrap(), []);
}

#[test]
fn a_connection_that_ended_is_not_live() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, server) = connect(&listener, "127.0.0.1");
    assert_eq!(established(&ports([&listener])).unwrap().len(), 1);
    let expected = seen(&client);
    drop(client);
    assert_eq!(established(&ports([&listener])).unwrap(), []);
    assert_eq!(completed_ones(&ports([&listener])), [expected], "this host has not closed it");
    drop(server);
    assert_eq!(completed(&ports([&listener])).unwrap(), []);
}

/// A connection on which the client speaks is silent for less long than one on which it does not.
#[test]
fn a_peer_is_silent_until_it_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [(mut talks, _talks_to), (quiet, _quiet_to)] =
        [0, 1].map(|_| connect(&listener, "127.0.0.1"));
    std::thread::sleep(Duration::from_millis(600));
    talks.write_all(b"hello").unwrap();
    let silence = |of: &TcpStream| {
        let found = completed(&ports([&listener])).unwrap();
        found.iter().find(|completed| completed.connection == seen(of)).unwrap().silent
    };
    // Whatever the machine is busy with, the one that spoke last was silent for less long.
    assert!(silence(&quiet) >= Duration::from_millis(500), "{:?}", silence(&quiet));
    assert!(silence(&talks) + Duration::from_millis(300) < silence(&quiet));
}

#[test]
fn ipv4_behind_an_ipv6_socket_is_ipv4() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let (v4, _v4_server) = connect(&listener, "127.0.0.1");
    let (v6, _v6_server) = connect(&listener, "::1");
    let mut expected = [seen(&v4), seen(&v6)];
    expected.sort_unstable();
    assert!(v4.local_addr().unwrap().is_ipv4());
    assert_eq!(established(&ports([&listener])).unwrap(), expected);
}

/// As many as a page of the answer does not hold.
#[test]
fn an_answer_of_many_parts_is_read_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept: Vec<_> = (0..600).map(|_| connect(&listener, "127.0.0.1")).collect();
    let expected: BTreeSet<_> = kept.iter().map(|(client, _)| seen(client)).collect();
    let found = established(&ports([&listener])).unwrap();
    assert_eq!(found, Vec::from_iter(expected));
}

#[test]
fn an_answer_cut_short_is_an_error_and_never_a_panic() {
    let whole = request(AF_INET6, 5432, StateFlags::ESTABLISHED, ExtensionFlags::INFO);
    for length in 0..whole.len() {
        let _ = take(&whole[..length], &mut |_| {});
    }
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0xff;
        let _ = take(&bad, &mut |_| {});
    }
    assert!(!take(&[], &mut |_| {}).unwrap());
    assert!(take(&whole[..10], &mut |_| {}).is_err());
}

/// The connections that ended within a second, on the listeners' ports.
fn ended(watch: &EndedConnections, listeners: &[&TcpListener], count: usize) -> Vec<Connection> {
    let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    let mut found = BTreeSet::new();
    for _ in 0..100 {
        found.extend(watch.take(&ports).unwrap());
        if found.len() >= count {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    found.into_iter().collect()
}

#[test]
fn a_connection_is_told_when_it_ends_however_short_it_was() {
    let watch = EndedConnections::watch().unwrap();
    let listener = TcpListener::bind("[::]:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = connect(&listener, "127.0.0.1");
    let mut expected = Vec::new();
    for (to, client_first) in [("127.0.0.1", true), ("127.0.0.1", false), ("::1", true)] {
        let (client, server) = connect(&listener, to);
        expected.push(seen(&client));
        if client_first {
            drop(client);
            drop(server);
        } else {
            drop(server);
            drop(client);
        }
    }
    drop(connect(&other, "127.0.0.1"));
    expected.sort_unstable();
    assert_eq!(ended(&watch, &[&listener], 3), expected);
    assert_eq!(ended(&watch, &[&listener], 1), [], "each is told once");
    drop(kept);
    assert_eq!(ended(&watch, &[&listener], 1).len(), 1);
}
