//! What an account holds, as the API shows it and as tests change it.

mod addresses;
mod databases;
mod droplets;
mod feeds;
mod kubernetes;
mod networks;

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

pub use databases::Database;
use dbfw_wire::digitalocean as wire;
pub use feeds::Feed;
use jiff::Timestamp;

use super::rate::Limits;

/// An account at DigitalOcean, with the endpoints of Aptible's and the feeds beside it.
///
/// Everything may be read and changed directly; the methods do what needs more than one step.
#[derive(Debug)]
pub struct Account {
    /// The token that is taken. Not in the request log, and in no answer.
    pub token: String,
    /// Database clusters by uuid.
    pub databases: BTreeMap<String, Database>,
    /// Droplets, in the order lists show them; worker nodes are among them.
    pub droplets: Vec<wire::Droplet>,
    /// GPU droplets, which only `type=gpus` lists.
    pub gpu_droplets: Vec<wire::Droplet>,
    /// Kubernetes clusters.
    pub clusters: Vec<wire::Cluster>,
    /// Apps.
    pub apps: Vec<wire::App>,
    /// VPCs; the first is the default one, where new machines are.
    pub vpcs: Vec<wire::Vpc>,
    /// Tags that exist, with or without resources.
    pub tags: Vec<String>,
    /// Aptible's database endpoints: `ip_whitelist` by id.
    pub vhosts: BTreeMap<u64, Vec<String>>,
    /// What `/feed/{name}` answers.
    pub feeds: BTreeMap<String, Feed>,
    /// How many requests are allowed.
    pub limits: Limits,
    /// Whether answers carry an ETag and `If-None-Match` is honoured. Off, as at DigitalOcean.
    pub etags: bool,
    /// How long a new node has no droplet. None: until [`Account::finish_provisioning`].
    pub provisioning: Option<Duration>,
    /// Nodes that have no droplet yet.
    pending: Vec<kubernetes::Pending>,
    /// Addresses that the next machines get.
    reserved: VecDeque<Vec<String>>,
    /// What ids are counted from.
    made: u64,
    /// The server's clock.
    now: Timestamp,
}

impl Account {
    /// An account with a default VPC and nothing in it.
    pub(super) fn new(token: Option<&str>, now: Timestamp) -> Self {
        let mut account = Self {
            token: token.map_or_else(random_token, str::to_owned),
            databases: BTreeMap::new(),
            droplets: Vec::new(),
            gpu_droplets: Vec::new(),
            clusters: Vec::new(),
            apps: Vec::new(),
            vpcs: Vec::new(),
            tags: Vec::new(),
            vhosts: BTreeMap::new(),
            feeds: BTreeMap::new(),
            limits: Limits::default(),
            etags: false,
            provisioning: Some(Duration::ZERO),
            pending: Vec::new(),
            reserved: VecDeque::new(),
            made: 0,
            now,
        };
        account.add_vpc("default-fra1", "10.116.0.0/16");
        account
    }

    /// Tells the account what time it is, and lets happen what is due.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        self.now = now;
        self.finish_due_provisioning(now);
    }

    /// The server's clock, as the API writes it.
    fn written_now(&self) -> String {
        let seconds = self.now.as_second();
        Timestamp::from_second(seconds).unwrap_or(self.now).to_string()
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// A uuid nothing else has. The same calls give the same ids in every run.
    fn uuid(&mut self) -> String {
        format!("dbf00000-0000-4000-8000-{:012x}", self.number())
    }
}

/// A token in the form of personal access tokens.
fn random_token() -> String {
    let hex = (0..4).map(|_| format!("{:016x}", RandomState::new().build_hasher().finish()));
    format!("dop_v1_{}", hex.collect::<String>())
}

/// The place of what has this id, or a panic that names it: a test that errs is to fail.
fn expect_index<T>(items: &[T], what: &str, id: &str, is: impl Fn(&T) -> bool) -> usize {
    items.iter().position(is).unwrap_or_else(|| panic!("the account has no {what} {id}"))
}
