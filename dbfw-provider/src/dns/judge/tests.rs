use super::*;

const NAME: &str = "db.example";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config() -> DnsConfig {
    DnsConfig {
        servers: Vec::new(),
        timeout: seconds(1),
        grace: seconds(300),
        min_ttl: seconds(5),
        max_ttl: seconds(3600),
    }
}

fn addresses(list: &[&str], ttl: u64) -> FamilyAnswer {
    FamilyAnswer::Addresses(list.iter().map(|text| text.parse().unwrap()).collect(), seconds(ttl))
}

fn failed(cause: Cause, text: &str) -> FamilyAnswer {
    FamilyAnswer::Failed(FetchError::new(cause, text))
}

fn judged(v4: FamilyAnswer, v6: FamilyAnswer) -> (Outcome, NextQuery) {
    judge(NAME, v4, v6, &config())
}

/// An answer's parts in one line each.
fn parts(outcome: &Outcome) -> Vec<String> {
    let Outcome::Answer(answer) = outcome else { panic!("no answer: {outcome:?}") };
    assert_eq!(answer.grace, seconds(300));
    let part = |(name, part): (&String, &Part)| match part {
        Part::Prefixes(prefixes) => {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            format!("{name} {}", prefixes.join(" "))
        }
        Part::Failed(error) => format!("{name} failed: {error}"),
        Part::Empty(why) => format!("{name} empty: {why}"),
    };
    answer.parts.iter().map(part).collect()
}

fn failure(outcome: &Outcome) -> (Cause, String) {
    let Outcome::Failed(error) = outcome else { panic!("not failed: {outcome:?}") };
    (error.cause, error.to_string())
}

fn held(ttl: u64) -> NextQuery {
    NextQuery { ttl: Some(seconds(ttl)), failure: None }
}

#[test]
fn both_families_and_the_lowest_ttl() {
    let (outcome, next) =
        judged(addresses(&["192.0.2.1", "10.0.0.1"], 60), addresses(&["2001:db8::1"], 30));
    assert_eq!(parts(&outcome), ["A 10.0.0.1/32 192.0.2.1/32", "AAAA 2001:db8::1/128"]);
    assert_eq!(next, held(30));
    for (ttl, wait) in [(0, 5), (5, 5), (6, 6), (3600, 3600), (u64::from(u32::MAX), 3600)] {
        assert_eq!(judged(addresses(&["10.0.0.1"], ttl), FamilyAnswer::None(None)).1, held(wait));
    }
}

#[test]
fn a_family_without_addresses_is_no_trouble() {
    for absent in
        [FamilyAnswer::None(Some(seconds(1))), FamilyAnswer::None(None), FamilyAnswer::NoName(None)]
    {
        let (outcome, next) = judged(addresses(&["10.0.0.1"], 60), absent.clone());
        assert_eq!(parts(&outcome), ["A 10.0.0.1/32"]);
        assert_eq!(next, held(60));
        let (outcome, _) = judged(absent, addresses(&["2001:db8::1"], 60));
        assert_eq!(parts(&outcome), ["AAAA 2001:db8::1/128"]);
    }
}

#[test]
fn a_name_without_addresses_is_empty_and_one_that_is_not_is_gone() {
    let none = |ttl| FamilyAnswer::None(Some(seconds(ttl)));
    let (outcome, next) = judged(none(30), none(40));
    assert_eq!(parts(&outcome), Vec::<String>::new());
    assert_eq!(next, held(30));
    // NXDOMAIN to one family alone means "no address".
    let (outcome, _) = judged(none(30), FamilyAnswer::NoName(None));
    assert_eq!(parts(&outcome), Vec::<String>::new());

    let (outcome, next) =
        judged(FamilyAnswer::NoName(Some(seconds(7200))), FamilyAnswer::NoName(None));
    let why = "there is no such name, NXDOMAIN (dns:db.example)";
    assert_eq!(outcome, Outcome::Gone(why.to_owned()));
    // Soon, however long the absence is said to hold.
    assert_eq!(next, held(60));
    assert_eq!(judged(FamilyAnswer::NoName(None), FamilyAnswer::NoName(None)).1, held(5));
}

#[test]
fn one_family_that_failed_keeps_what_it_had() {
    let error = || failed(Cause::Server, "192.0.2.53:53 answered SERVFAIL");
    let (outcome, next) = judged(addresses(&["10.0.0.1"], 60), error());
    assert_eq!(
        parts(&outcome),
        ["A 10.0.0.1/32", "AAAA failed: 192.0.2.53:53 answered SERVFAIL (AAAA of dns:db.example)"]
    );
    assert_eq!(next, NextQuery { ttl: Some(seconds(60)), failure: Some(Cause::Server) });
}

#[test]
fn nothing_is_taken_away_on_half_a_word() {
    for absent in [FamilyAnswer::None(None), FamilyAnswer::NoName(None)] {
        let (outcome, next) = judged(failed(Cause::Timeout, "no answer"), absent);
        assert_eq!(
            failure(&outcome),
            (Cause::Timeout, "no answer (A of dns:db.example)".to_owned())
        );
        assert_eq!(next, NextQuery { ttl: None, failure: Some(Cause::Timeout) });
    }
    let (outcome, _) =
        judged(failed(Cause::Timeout, "no answer"), failed(Cause::Timeout, "no answer"));
    assert_eq!(failure(&outcome).1, "no answer (A and AAAA of dns:db.example)");
    let (outcome, _) =
        judged(failed(Cause::Timeout, "no answer"), failed(Cause::Server, "SERVFAIL"));
    assert_eq!(
        failure(&outcome),
        (Cause::Timeout, "A: no answer; AAAA: SERVFAIL (dns:db.example)".to_owned())
    );
}

#[test]
fn addresses_that_no_other_machine_has_are_refused() {
    for (address, kind) in [
        ("127.0.0.1", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("0.1.2.3", "an address of \"this network\" (0.0.0.0/8)"),
        ("224.0.0.1", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
    ] {
        let (outcome, _) = judged(addresses(&["10.0.0.1", address], 60), FamilyAnswer::None(None));
        assert_eq!(
            failure(&outcome),
            (
                Cause::Invalid,
                format!(
                    "{address} is {kind}, which no other machine has (DNS rebinding?): the answer \
                     is not used (A of dns:db.example)"
                )
            )
        );
    }
    for address in ["::", "::1", "ff02::1", "::ffff:127.0.0.1"] {
        let (outcome, _) = judged(addresses(&["10.0.0.1"], 60), addresses(&[address], 60));
        let parts = parts(&outcome);
        assert_eq!(parts[0], "A 10.0.0.1/32");
        assert!(parts[1].contains("DNS rebinding"), "{parts:?}");
    }
    for address in ["10.0.0.1", "169.254.0.1", "192.168.0.1", "100.64.0.1"] {
        let (outcome, _) = judged(addresses(&[address], 60), FamilyAnswer::None(None));
        assert_eq!(parts(&outcome).len(), 1, "{address}");
    }
}

#[test]
fn too_many_addresses_are_refused() {
    let list = |count: u32| {
        let addresses = (0..count).map(|i| std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).into());
        FamilyAnswer::Addresses(addresses.collect(), seconds(60))
    };
    assert_eq!(parts(&judged(list(256), FamilyAnswer::None(None)).0).len(), 1);
    let (cause, message) = failure(&judged(list(257), FamilyAnswer::None(None)).0);
    assert_eq!(cause, Cause::TooLarge);
    assert!(message.contains("257 addresses, more than 256"), "{message}");
}

#[test]
fn ttls_that_contradict_each_other_do_not_panic() {
    let config = DnsConfig { min_ttl: seconds(60), max_ttl: seconds(5), ..config() };
    let (_, next) = judge(NAME, addresses(&["10.0.0.1"], 30), FamilyAnswer::None(None), &config);
    assert_eq!(next, held(60));
}
