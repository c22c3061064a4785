//! An account in which one kind of thing is asked for in exactly one way, and what everything
//! in it stands for.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_tests::{
    pair::{FRIEND4, OTHER_PORT, PORT},
    provider_server::{Account, On, Resource, Server},
};
use serde_json::json;

use super::super::common;
use super::{CLIENT, table::Setting};

/// How the agent asks, and how often: quick, but not so that it only asks.
const HTTP: &str = "poll = \"250ms\"\ntimeout = \"700ms\"";

/// The same where an answer has hundreds of machines.
const HTTP_LONG: &str = "poll = \"600ms\"\ntimeout = \"5s\"";

/// Machines that fill the first page.
const FILLERS: usize = 205;

/// Aptible's number of the list.
const VHOST: u64 = 123;

/// What is asked for, and what it stands for.
#[derive(Debug)]
pub(super) struct Estate {
    setting: Setting,
    /// The list's provider, as the configuration has it.
    provider: String,
    sources: Vec<String>,
    /// Prefixes by source, of what the target's answers are about.
    subject: BTreeMap<String, BTreeSet<String>>,
    rest: BTreeSet<String>,
    /// The uuids of the database and of the other one.
    orders: String,
    ledger: String,
    /// Machines, apps and networks so far.
    made: u8,
}

impl Estate {
    /// Fills the account of a server. The client's address is the subject's.
    pub(super) fn new(server: &Server, setting: Setting) -> Self {
        let mut estate = Self {
            setting,
            provider: String::new(),
            sources: Vec::new(),
            subject: BTreeMap::new(),
            rest: BTreeSet::new(),
            orders: String::new(),
            ledger: String::new(),
            made: 0,
        };
        let url = server.url();
        server.account(|account| estate.fill(account, &url));
        estate
    }

    fn fill(&mut self, account: &mut Account, url: &str) {
        self.ledger = account.add_database("ledger", &["ip_addr:192.0.2.250"]);
        self.lists(account);
        let fillers = if self.setting.is_long { FILLERS } else { 0 };
        // The subject is on the second page.
        for _ in 0..fillers {
            match self.setting.target {
                Resource::GpuDroplets => account.add_gpu_droplet("filler", &[], &[]),
                Resource::TaggedDroplets => account.add_droplet("filler", &["backend"], &[]),
                _ => account.add_droplet("filler", &[], &[]),
            };
        }
        let count = match self.setting.target {
            Resource::Droplets | Resource::Clusters | Resource::Apps | Resource::Vpcs => 3,
            _ => 1,
        };
        let is_whole = count > 1;
        // More than two droplets, tags and nodes would be asked for as one list.
        match self.setting.target {
            Resource::TaggedDroplets if self.setting.is_long => self.tag(account, "backend", false),
            Resource::GpuDroplets if self.setting.is_long => self.tag(account, "training", true),
            Resource::TaggedDroplets | Resource::GpuDroplets => {
                self.tag(account, "backend", false);
                self.tag(account, "training", true);
            }
            Resource::Cluster => {
                self.droplet(account);
                self.cluster(account);
            }
            _ => {
                (0..count).for_each(|_| self.droplet(account));
                self.tag(account, "backend", false);
                (0..count).filter(|_| is_whole).for_each(|_| self.cluster(account));
            }
        }
        (0..count).for_each(|_| self.app(account));
        (0..count).for_each(|_| self.vpc(account));
        self.feed(account, url);
    }

    /// The list of the database: the friend's and, where it is the target, the client's.
    fn lists(&mut self, account: &mut Account) {
        self.sources.push(format!("ip_addr:{FRIEND4}"));
        self.rest.insert(format!("{FRIEND4}/32"));
        let list = [format!("ip_addr:{CLIENT}"), "ip_addr:198.51.100.64/28".to_owned()];
        let prefixes = [format!("{CLIENT}/32"), "198.51.100.64/28".to_owned()];
        match self.setting.target {
            Resource::Vhost => {
                let values = list.iter().filter_map(|rule| rule.strip_prefix("ip_addr:"));
                account.vhosts.insert(VHOST, values.map(str::to_owned).collect());
                self.provider = format!("{{ kind = \"aptible\", vhost = {VHOST} }}");
                self.subject.insert("the list".to_owned(), prefixes.into());
            }
            Resource::Firewall => {
                self.orders = account.add_database("orders", &[&list[0], &list[1]]);
                self.provider = digitalocean(&self.orders);
                self.subject.insert("the list".to_owned(), prefixes.into());
            }
            _ => {
                self.orders = account.add_database("orders", &[&list[1]]);
                self.provider = digitalocean(&self.orders);
                self.rest.insert("198.51.100.64/28".to_owned());
            }
        }
    }

    fn droplet(&mut self, account: &mut Account) {
        let addresses = self.machine(&[Resource::Droplet, Resource::Droplets]);
        let id = account.add_droplet("machine", &[], &refs(&addresses));
        self.machine_source(format!("droplet:{id}"), addresses, Resource::Droplet);
    }

    fn tag(&mut self, account: &mut Account, tag: &str, gpu: bool) {
        let target = if gpu { Resource::GpuDroplets } else { Resource::TaggedDroplets };
        let addresses = self.machine(&[target]);
        match gpu {
            true => account.add_gpu_droplet("trainer", &[tag], &refs(&addresses)),
            false => account.add_droplet("backend", &[tag], &refs(&addresses)),
        };
        // Those that fill pages may have it too.
        let machines = account.droplets.iter().chain(&account.gpu_droplets);
        let tagged = machines.filter(|machine| machine.tags.iter().any(|known| known == tag));
        let addresses = tagged.flat_map(|machine| account.addresses_of(machine.id)).collect();
        self.machine_source(format!("tag:{tag}"), addresses, target);
    }

    fn cluster(&mut self, account: &mut Account) {
        let addresses = self.machine(&[Resource::Cluster, Resource::Clusters]);
        let id = account.add_cluster("cluster");
        account.reserve(&refs(&addresses));
        account.add_pool(&id, "pool", 1);
        self.machine_source(format!("k8s:{id}"), addresses, Resource::Cluster);
    }

    fn app(&mut self, account: &mut Account) {
        let number = self.number();
        let egress = self.first(&[Resource::App, Resource::Apps], format!("10.200.0.{number}"));
        let dedicated = format!("198.51.100.{number}");
        let id = account.add_app("app", &[&dedicated], &[&egress]);
        let prefixes = BTreeSet::from([format!("{egress}/32"), format!("{dedicated}/32")]);
        let mine = matches!(self.setting.target, Resource::App | Resource::Apps);
        self.source(format!("app:{id}"), prefixes, mine);
    }

    fn vpc(&mut self, account: &mut Account) {
        let number = self.number();
        let range = match self.first(&[Resource::Vpc, Resource::Vpcs], String::new()).as_str() {
            "" => format!("10.{}.0.0/20", 100 + number),
            _ => "10.77.0.16/28".to_owned(),
        };
        let id = account.add_vpc("net", &range);
        let mine = matches!(self.setting.target, Resource::Vpc | Resource::Vpcs);
        self.source(format!("vpc:{id}"), [range].into(), mine);
    }

    fn feed(&mut self, account: &mut Account, url: &str) {
        let address = self.first(&[Resource::Feed], "203.0.113.77".to_owned());
        let body = json!({ "addresses": ["203.0.113.0/28", address] });
        account.set_feed("office", "application/json", body.to_string());
        let prefixes = BTreeSet::from(["203.0.113.0/28".to_owned(), format!("{address}/32")]);
        let mine = self.setting.target == Resource::Feed;
        self.source(format!("feed:{url}/feed/office#$.addresses[*]"), prefixes, mine);
    }

    /// Addresses of a machine; of the first that is a subject, the client's.
    fn machine(&mut self, targets: &[Resource]) -> Vec<String> {
        let number = self.number();
        vec![
            self.first(targets, format!("10.201.0.{number}")),
            format!("198.18.201.{number}"),
            format!("2001:db8:201::{number:x}"),
        ]
    }

    fn machine_source(&mut self, source: String, addresses: Vec<String>, kind: Resource) {
        let prefix = |address: String| match address.contains(':') {
            true => format!("{address}/128"),
            false => format!("{address}/32"),
        };
        let mine = match self.setting.target {
            // All machines are in it, but for those with GPUs.
            Resource::Droplets => true,
            Resource::Clusters => kind == Resource::Cluster,
            target => kind == target,
        };
        self.source(source, addresses.into_iter().map(prefix).collect(), mine);
    }

    fn source(&mut self, source: String, prefixes: BTreeSet<String>, mine: bool) {
        self.sources.push(source.clone());
        match mine {
            true => _ = self.subject.insert(source, prefixes),
            false => self.rest.extend(prefixes),
        }
    }

    /// The client's address for the first subject, else this one.
    fn first(&self, targets: &[Resource], other: String) -> String {
        let is_first = targets.contains(&self.setting.target) && self.subject.is_empty();
        if is_first { CLIENT.to_string() } else { other }
    }

    fn number(&mut self) -> u8 {
        self.made += 1;
        self.made
    }

    /// Everything but the `[agent]` table.
    pub(super) fn config(&self, server: &Server) -> String {
        let http = if self.setting.is_long { HTTP_LONG } else { HTTP };
        let aptible = match self.setting.target {
            Resource::Vhost => common::aptible(server, http),
            _ => String::new(),
        };
        let sources: Vec<String> = self.sources.iter().map(|s| format!("\"{s}\"")).collect();
        format!(
            "{}{aptible}{}[[database]]\nname = \"orders\"\nports = [{PORT}]\nprovider = {}\n\
             trusted_sources = [{}]\nmax_shrink = \"off\"\non_empty = \"{}\"\n\
             [[database]]\nname = \"ledger\"\nports = [{OTHER_PORT}]\nprovider = {}\n\
             max_shrink = \"off\"\n",
            common::digitalocean(server, http),
            common::feeds(server, &format!("{http}\nmax_bytes = 1048576")),
            self.provider,
            sources.join(", "),
            self.setting.on_empty,
            digitalocean(&self.ledger),
        )
    }

    /// The requests for the target.
    pub(super) fn requests(&self) -> On {
        let on = On::resource(self.setting.target);
        match self.setting.target {
            Resource::Firewall => on.below(&format!("/v2/databases/{}/", self.orders)),
            Resource::TaggedDroplets => on.query("tag_name", "backend"),
            _ => on,
        }
    }

    /// What the target's answers are about: prefixes by source. A list of rules is one.
    pub(super) fn subject(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.subject
    }

    /// What has nothing to do with the target.
    pub(super) fn rest(&self) -> &BTreeSet<String> {
        &self.rest
    }

    /// Everything.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.subject.values().flatten().chain(&self.rest).cloned().collect()
    }
}

fn digitalocean(uuid: &str) -> String {
    format!("{{ kind = \"digitalocean\", cluster = \"{uuid}\" }}")
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
