//! An account at random, what the API shows of it, and a reading of it that takes no short
//! cut.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_core::source::{Prefix, SourceKey, SourceType};
use dbfw_wire::digitalocean::{
    self as wire, Address, AppVpc, DedicatedIp, Droplet, EgressIp, FirewallRule, Networks,
};
use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use crate::digitalocean::{
    AddressKinds,
    tests::fleet::{Fleet, cluster, droplet, node, vpc},
};

const TAGS: [&str; 3] = ["web", "db", "k8s:worker"];

/// Droplets 1 to this may exist, those above the half as GPU droplets.
const MACHINES: u64 = 10;

/// So many clusters, apps and networks may exist.
const OTHERS: u64 = 4;

#[derive(Clone, Debug)]
pub(super) struct Account {
    machines: BTreeMap<u64, Machine>,
    clusters: BTreeMap<u64, Cluster>,
    apps: BTreeMap<u64, App>,
    /// Third octet of each network's range.
    vpcs: BTreeMap<u64, u8>,
    /// Droplets that no rule is about.
    crowd: u64,
}

#[derive(Clone, Debug)]
struct Machine {
    /// How many addresses of each kind.
    private: u8,
    public: u8,
    v6: u8,
    tags: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Cluster {
    /// Droplets; `None`: still being created.
    nodes: Vec<Option<u64>>,
    subnet: bool,
}

#[derive(Clone, Debug)]
struct App {
    /// Dedicated addresses, and whether each is assigned.
    dedicated: Vec<bool>,
    egress: u8,
}

/// What of an account counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) kinds: AddressKinds,
    pub(super) pods: bool,
}

/// What a source consists of; `None`: there is no such thing, or nothing in it.
pub(super) type Parts = Option<BTreeMap<String, BTreeSet<Prefix>>>;

pub(super) fn uuid(kind: &str, number: u64) -> String {
    let first: u64 = kind.bytes().map(u64::from).sum();
    format!("{first:08x}-a1b2-4000-8000-00000000000{number}")
}

pub(super) fn counts() -> impl Strategy<Value = Counts> {
    let some = || prop::bool::weighted(0.8);
    (some(), some(), some(), any::<bool>()).prop_map(|(private, public, v6, pods)| Counts {
        kinds: AddressKinds { private, public, v6 },
        pods,
    })
}

pub(super) fn account() -> impl Strategy<Value = Account> {
    let machine = (0_u8..=2, 0_u8..=1, 0_u8..=1, subsequence(TAGS.to_vec(), 0..=3))
        .prop_map(|(private, public, v6, tags)| Machine { private, public, v6, tags });
    let node = prop_oneof![4 => (1..=MACHINES).prop_map(Some), 1 => Just(None)];
    let cluster =
        (vec(node, 0..6), any::<bool>()).prop_map(|(nodes, subnet)| Cluster { nodes, subnet });
    let app = (vec(prop::bool::weighted(0.7), 0..3), 0_u8..3)
        .prop_map(|(dedicated, egress)| App { dedicated, egress });
    // From what is cheaper as a list to what is cheaper one by one.
    let crowd = prop_oneof![2 => Just(0_u64), 1 => Just(190), 1 => 191_u64..420, 1 => Just(900)];
    let things = (
        some_of(MACHINES, machine),
        some_of(OTHERS, cluster),
        some_of(OTHERS, app),
        some_of(OTHERS, 0_u8..3),
        crowd,
    );
    things.prop_map(|(machines, clusters, apps, vpcs, crowd)| Account {
        machines,
        clusters,
        apps,
        vpcs,
        crowd,
    })
}

/// Some of the things 1 to `count`.
fn some_of<T: std::fmt::Debug + Clone>(
    count: u64,
    thing: impl Strategy<Value = T>,
) -> impl Strategy<Value = BTreeMap<u64, T>> {
    let things = vec(option::weighted(0.7, thing), usize::try_from(count).unwrap());
    things.prop_map(|things| {
        things.into_iter().zip(1..).filter_map(|(thing, id)| Some((id, thing?))).collect()
    })
}

/// Every source that may exist, and some that never do.
pub(super) fn keys() -> Vec<SourceKey> {
    let key = |kind, value: String| SourceKey::new(kind, &value).unwrap();
    let mut keys: Vec<_> =
        (1..=MACHINES + 1).map(|id| key(SourceType::Droplet, id.to_string())).collect();
    keys.extend(TAGS.iter().map(|tag| key(SourceType::Tag, (*tag).to_owned())));
    keys.push(key(SourceType::Tag, "nobody".to_owned()));
    for number in 1..=OTHERS + 1 {
        keys.push(key(SourceType::K8s, uuid("k8s", number)));
        keys.push(key(SourceType::App, uuid("app", number)));
        keys.push(key(SourceType::Vpc, uuid("vpc", number)));
    }
    // Written otherwise, it is the same cluster.
    keys.push(key(SourceType::K8s, uuid("k8s", 1).to_uppercase()));
    keys.push(key(SourceType::IpAddr, "10.116.1.0".to_owned()));
    keys
}

fn is_gpu(id: u64) -> bool {
    id > MACHINES / 2
}

fn number_of(kind: &str, value: &str) -> Option<u64> {
    (1..=OTHERS).find(|number| uuid(kind, *number) == value.to_ascii_lowercase())
}

fn prefix(text: String) -> Prefix {
    text.parse().unwrap()
}

impl Machine {
    /// Its addresses by kind.
    fn addresses(&self, id: u64) -> Vec<(&'static str, String)> {
        let private = (1..=self.private).map(|at| ("private", format!("10.100.{id}.{at}")));
        let public = (1..=self.public).map(|at| ("public", format!("203.0.{id}.{at}")));
        let v6 = (1..=self.v6).map(|at| ("v6", format!("2001:db8:{id}::{at}")));
        private.chain(public).chain(v6).collect()
    }

    fn counted(&self, id: u64, kinds: AddressKinds) -> BTreeSet<Prefix> {
        let counts = |kind: &str| match kind {
            "private" => kinds.private,
            "public" => kinds.public,
            _ => kinds.v6,
        };
        let addresses = self.addresses(id).into_iter().filter(|(kind, _)| counts(kind));
        addresses.map(|(_, address)| prefix(address)).collect()
    }

    fn shown(&self, id: u64) -> Droplet {
        let addresses = self.addresses(id);
        let of = |v6: bool| -> Vec<Address> {
            let those = addresses.iter().filter(|(kind, _)| (*kind == "v6") == v6);
            let kind = |kind: &'static str| if kind == "v6" { "public" } else { kind };
            those
                .map(|(of, at)| Address { ip_address: at.clone(), kind: kind(of).to_owned() })
                .collect()
        };
        Droplet {
            id,
            name: format!("m-{id}"),
            status: if addresses.is_empty() { "new" } else { "active" }.to_owned(),
            networks: Some(Networks { v4: of(false), v6: of(true) }),
            tags: self.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Droplet::default()
        }
    }
}

impl Cluster {
    fn shown(&self, number: u64) -> wire::Cluster {
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.map(|(at, droplet)| node(&format!("n{at}"), *droplet)).collect();
        let cluster_subnet =
            if self.subnet { format!("10.24{number}.0.0/16") } else { String::new() };
        wire::Cluster { cluster_subnet, ..cluster(&uuid("k8s", number), nodes) }
    }
}

impl App {
    fn dedicated(&self, number: u64) -> impl Iterator<Item = (bool, String)> {
        let addresses = self.dedicated.iter().enumerate();
        addresses.map(move |(at, assigned)| (*assigned, format!("192.0.{number}.{at}")))
    }

    fn egress(&self, number: u64) -> impl Iterator<Item = String> + use<> {
        (0..self.egress).map(move |at| format!("10.50.{number}.{at}"))
    }

    fn shown(&self, number: u64) -> wire::App {
        let dedicated = |(assigned, ip): (bool, String)| {
            let status = if assigned { "ASSIGNED" } else { "ASSIGNING" }.to_owned();
            DedicatedIp { ip, status, ..DedicatedIp::default() }
        };
        let egress_ips = self.egress(number).map(|ip| EgressIp { ip }).collect();
        wire::App {
            id: uuid("app", number),
            dedicated_ips: self.dedicated(number).map(dedicated).collect(),
            vpc: Some(AppVpc { egress_ips, ..AppVpc::default() }),
            ..wire::App::default()
        }
    }

    fn parts(&self, number: u64) -> BTreeMap<String, BTreeSet<Prefix>> {
        let assigned = self.dedicated(number).filter(|(assigned, _)| *assigned);
        let dedicated: BTreeSet<_> = assigned.map(|(_, ip)| prefix(ip)).collect();
        let egress: BTreeSet<_> = self.egress(number).map(prefix).collect();
        let mut parts =
            BTreeMap::from([("dedicated".to_owned(), dedicated), ("egress".to_owned(), egress)]);
        parts.retain(|_, prefixes| !prefixes.is_empty());
        if parts.is_empty() {
            parts.insert("none".to_owned(), BTreeSet::new());
        }
        parts
    }
}

impl Account {
    /// What the API shows.
    pub(super) fn fleet(&self, rules: Vec<FirewallRule>) -> Fleet {
        let machines = |gpu: bool| {
            let those = self.machines.iter().filter(move |(id, _)| is_gpu(**id) == gpu);
            those.map(|(id, machine)| machine.shown(*id))
        };
        let crowd = (1000..1000 + self.crowd).map(|id| droplet(id, &[]));
        let vpc = |(number, octet): (&u64, &u8)| {
            vpc(&uuid("vpc", *number), &format!("10.116.{octet}.0/24"))
        };
        Fleet {
            rules,
            droplets: machines(false).chain(crowd).collect(),
            gpus: machines(true).collect(),
            clusters: self.clusters.iter().map(|(number, it)| it.shown(*number)).collect(),
            apps: self.apps.iter().map(|(number, it)| it.shown(*number)).collect(),
            vpcs: self.vpcs.iter().map(vpc).collect(),
        }
    }

    /// What a source is.
    pub(super) fn parts(&self, key: &SourceKey, counts: Counts) -> Parts {
        let machine = |id: u64| match self.machines.get(&id) {
            Some(machine) => machine.counted(id, counts.kinds),
            None => BTreeSet::new(),
        };
        let parts: BTreeMap<String, BTreeSet<Prefix>> = match key.kind() {
            SourceType::Droplet => {
                let id = key.value().parse().ok().filter(|id| self.machines.contains_key(id))?;
                [(key.value().to_owned(), machine(id))].into()
            }
            SourceType::Tag => self
                .machines
                .iter()
                .filter(|(_, machine)| machine.tags.contains(&key.value()))
                .map(|(id, _)| (id.to_string(), machine(*id)))
                .collect(),
            SourceType::K8s => {
                let number = number_of("k8s", key.value())?;
                let cluster = self.clusters.get(&number)?;
                let nodes = cluster.nodes.iter().enumerate();
                let mut parts: BTreeMap<_, _> = nodes
                    .map(|(at, node)| match node {
                        Some(id) => (id.to_string(), machine(*id)),
                        None => (format!("n{at}"), BTreeSet::new()),
                    })
                    .collect();
                if counts.pods {
                    let subnet = cluster.subnet.then(|| prefix(format!("10.24{number}.0.0/16")));
                    parts.insert("pods".to_owned(), subnet.into_iter().collect());
                }
                parts
            }
            SourceType::App => {
                let number = number_of("app", key.value())?;
                self.apps.get(&number)?.parts(number)
            }
            SourceType::Vpc => {
                let octet = self.vpcs.get(&number_of("vpc", key.value())?)?;
                [("range".to_owned(), [prefix(format!("10.116.{octet}.0/24"))].into())].into()
            }
            _ => [("address".to_owned(), [prefix(key.value().to_owned())].into())].into(),
        };
        Some(parts).filter(|parts| !parts.is_empty())
    }

    /// The addresses a source stands for.
    pub(super) fn prefixes(&self, key: &SourceKey, counts: Counts) -> BTreeSet<Prefix> {
        self.parts(key, counts).into_iter().flatten().flat_map(|(_, prefixes)| prefixes).collect()
    }
}
