use super::*;

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn connection(peer: &str) -> Connection {
    let (local, peer) = ("10.77.0.1:5432".parse().unwrap(), peer.parse().unwrap());
    Connection { local, peer, interface: None }
}

#[test]
fn only_who_loses_everything_is_cut() {
    let connections = [
        connection("10.0.0.1:40000"),
        connection("10.0.0.2:40000"),
        connection("10.0.9.9:40000"),
        connection("127.0.0.1:40000"),
        connection("192.0.2.1:40000"),
        connection("[2001:db8::7]:40000"),
        connection("[2001:db8:1::7]:40000"),
    ];
    let lost = prefixes(&["10.0.0.0/16", "10.0.0.0/24", "127.0.0.0/8", "2001:db8::/48"]);
    let kept = prefixes(&["10.0.0.2"]);
    let cut = cut(&connections, &lost, |peer| kept.iter().any(|prefix| prefix.contains(peer)));
    let told: Vec<_> =
        cut.iter().map(|cut| format!("{} {}", cut.peer, cut.source_prefix)).collect();
    assert_eq!(
        told,
        [
            "10.0.0.1:40000 10.0.0.0/24",
            "10.0.9.9:40000 10.0.0.0/16",
            "[2001:db8::7]:40000 2001:db8::/48",
        ]
    );
}

#[test]
fn nothing_lost_cuts_nobody() {
    assert_eq!(cut(&[connection("10.0.0.1:1")], &[], |_| false), []);
}
