use proptest::prelude::*;

use super::*;
use crate::digitalocean::listing::PER_PAGE;

fn key(text: &str) -> SourceKey {
    let (kind, value) = text.split_once(':').unwrap();
    SourceKey::new(kind.parse().unwrap(), value).unwrap()
}

fn want(texts: &[&str]) -> Want {
    let keys: Vec<_> = texts.iter().map(|text| key(text)).collect();
    Want::of(&keys)
}

/// Four fifths of the 250 requests of a minute.
const MOST: u64 = 200;

/// The requests that a way comes to.
fn cost(each: u64, known: Option<u64>, real: u64) -> u64 {
    match way(each, known, MOST) {
        Way::Each => each,
        Way::List => pages(real),
        Way::Probe if goes_on(each, Some(real), MOST) => pages(real),
        Way::Probe => 1 + each,
    }
}

#[test]
fn what_is_wanted() {
    let found = want(&[
        "droplet:12",
        "tag:web",
        "k8s:BD5F-1",
        "app:c2a9",
        "vpc:5a49",
        "ip_addr:10.116.0.0",
    ]);
    let one = |text: &str| BTreeSet::from([text.to_owned()]);
    assert_eq!(
        found,
        Want {
            droplets: [12].into(),
            tags: one("web"),
            clusters: one("bd5f-1"),
            apps: one("c2a9"),
            vpcs: one("5a49"),
            addresses: true,
        }
    );
    assert!(!want(&["ip_addr:10.0.0.0/8"]).addresses);
    assert_eq!(Want::of(&[]), Want::default());
}

#[test]
fn ids_in_answers_and_single_addresses() {
    assert_eq!(parse_droplet_id("205545370"), Some(205_545_370));
    for text in ["+5", "05", "", " 5", "5.0", "18446744073709551616"] {
        assert_eq!(parse_droplet_id(text), None, "{text}");
    }
    assert_eq!(address(&key("ip_addr:10.0.0.0")), Ok("10.0.0.0".parse().unwrap()));
    assert_eq!(
        address(&key("ip_addr:10.0.0.0/8")).unwrap_err().message,
        "DigitalOcean: ip_addr: \"10.0.0.0/8\" is not a single address"
    );
}

#[test]
fn many_tags_and_droplets_cost_pages() {
    // 100 tags, 5,000 droplets.
    assert_eq!(way(100, Some(5000), MOST), Way::List);
    assert_eq!(cost(100, Some(5000), 5000), 25);
    assert_eq!(cost(100, None, 5000), 25);
    // 100 droplets of 300: two pages.
    assert_eq!(cost(100, None, 300), 2);
    // Ten droplets of 100,000 are not worth 500 pages.
    assert_eq!(way(10, Some(100_000), MOST), Way::Each);
    assert_eq!(cost(10, None, 100_000), 11);
    // One or two are asked for without knowing anything.
    let unknown = [1, 2, 3].map(|each| way(each, None, MOST));
    assert_eq!(unknown, [Way::Each, Way::Each, Way::Probe]);
    // A list that the budget of a minute does not hold would never be whole.
    assert_eq!(way(1000, Some(MOST * PER_PAGE), MOST), Way::List);
    assert_eq!(way(1000, Some(MOST * PER_PAGE + 1), MOST), Way::Each);
    assert!(!goes_on(1000, Some(MOST * PER_PAGE + 1), MOST));
}

#[test]
fn tags_cost_their_pages_and_clusters_their_nodes() {
    let mut known = Known::default();
    let wanted = want(&["droplet:1", "tag:a", "tag:b", "k8s:c", "app:x", "vpc:y"]);
    assert_eq!(wanted.each_droplet(&known), 3);
    known.tags.insert("a".to_owned(), 401);
    known.nodes.insert("c".to_owned(), 7);
    assert_eq!(wanted.each_droplet(&known), 1 + 3 + 1 + 7);
    let demand = Demand { sources: [key("tag:b"), key("k8s:C")].into(), ..Demand::default() };
    known.retain(&demand);
    assert_eq!((known.tags.len(), known.nodes.len()), (0, 1));
}

#[test]
fn a_count_is_believed_for_an_hour() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut count = Count::default();
    assert_eq!(count.get(at(0)), None);
    count.set(5000, at(100));
    assert_eq!(count.get(at(100)), Some(5000));
    assert_eq!(count.get(at(3699)), Some(5000));
    assert_eq!(count.get(at(3700)), None);
    // A clock that was set back makes it unknown, not eternal.
    assert_eq!(count.get(at(0)), None);
}

proptest! {
    #[test]
    fn the_cheaper_way_is_taken(each in 0u64..2000, total in 0u64..100_000) {
        let list = pages(total);
        let best = if list <= MOST { each.min(list) } else { each };
        let known = cost(each, Some(total), total);
        prop_assert!(known == best || known <= FEW, "{known} of {best}");
        // Not knowing costs one request at the most.
        prop_assert!(cost(each, None, total) <= best.max(FEW) + 1);
    }

    #[test]
    fn pages_hold_everything(total in 0u64..1_000_000) {
        prop_assert!(pages(total) * PER_PAGE >= total);
        prop_assert!(pages(total) == 1 || (pages(total) - 1) * PER_PAGE < total);
    }

    #[test]
    fn any_key_is_wanted(kind in 0usize..SourceType::ALL.len(), value in "\\PC{0,12}|[0-9a-f-]{0,40}") {
        let Ok(key) = SourceKey::new(SourceType::ALL[kind], &value) else { return Ok(()) };
        let want = Want::of([&key]);
        prop_assert_eq!(want != Want::default(), match key.kind() {
            SourceType::IpAddr => address(&key).is_ok(),
            SourceType::Feed | SourceType::Dns => false,
            _ => true,
        });
        for id in want.clusters.iter().chain(&want.apps).chain(&want.vpcs) {
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        }
    }
}
