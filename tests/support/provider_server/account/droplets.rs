//! Droplets and their tags.

use dbfw_wire::digitalocean::Droplet;

use super::{Account, addresses, expect_index};

/// Ids of droplets begin after this.
const FIRST: u64 = 410_000_000;

impl Account {
    /// Adds a running droplet in the default VPC; returns its id. Without `addresses` it gets
    /// a private, a public and an IPv6 address.
    pub fn add_droplet(&mut self, name: &str, tags: &[&str], addresses: &[&str]) -> u64 {
        let droplet = self.new_droplet(name, tags, addresses);
        let id = droplet.id;
        self.droplets.push(droplet);
        id
    }

    /// Adds a GPU droplet, which only `type=gpus` lists.
    pub fn add_gpu_droplet(&mut self, name: &str, tags: &[&str], addresses: &[&str]) -> u64 {
        let droplet = self.new_droplet(name, tags, addresses);
        let id = droplet.id;
        self.gpu_droplets.push(droplet);
        id
    }

    /// A droplet of either kind.
    pub fn droplet(&self, id: u64) -> Option<&Droplet> {
        self.droplets.iter().chain(&self.gpu_droplets).find(|droplet| droplet.id == id)
    }

    /// The same, to be changed. Panics if there is none.
    pub fn droplet_mut(&mut self, id: u64) -> &mut Droplet {
        self.droplets
            .iter_mut()
            .chain(&mut self.gpu_droplets)
            .find(|droplet| droplet.id == id)
            .unwrap_or_else(|| panic!("the account has no droplet {id}"))
    }

    /// Every address of a droplet.
    pub fn addresses_of(&self, id: u64) -> Vec<String> {
        self.droplet(id).map(addresses::of).unwrap_or_default()
    }

    /// Gives a droplet other addresses.
    pub fn readdress(&mut self, id: u64, addresses: &[&str]) {
        self.droplet_mut(id).networks = Some(addresses::networks(addresses.iter().copied()));
    }

    /// Destroys a droplet.
    pub fn remove_droplet(&mut self, id: u64) {
        let gpu = self.gpu_droplets.iter().any(|droplet| droplet.id == id);
        let droplets = if gpu { &mut self.gpu_droplets } else { &mut self.droplets };
        let at = expect_index(droplets, "droplet", &id.to_string(), |droplet| droplet.id == id);
        droplets.remove(at);
    }

    /// Tags a droplet. The tag is made if there is none.
    pub fn tag_droplet(&mut self, id: u64, tag: &str) {
        let tags = &mut self.droplet_mut(id).tags;
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
        self.add_tag(tag);
    }

    /// Takes a tag from a droplet. The tag itself stays.
    pub fn untag_droplet(&mut self, id: u64, tag: &str) {
        self.droplet_mut(id).tags.retain(|known| known != tag);
    }

    /// Makes a tag that nothing has.
    pub fn add_tag(&mut self, tag: &str) {
        if !self.tags.iter().any(|known| known == tag) {
            self.tags.push(tag.to_owned());
        }
    }

    /// Adds a droplet's tag list to the tags that exist, and makes the droplet.
    fn new_droplet(&mut self, name: &str, tags: &[&str], addresses: &[&str]) -> Droplet {
        for tag in tags {
            self.add_tag(tag);
        }
        let number = self.number();
        Droplet {
            id: FIRST + number,
            name: name.to_owned(),
            status: "active".to_owned(),
            networks: Some(self.networks(addresses, number)),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            vpc_uuid: self.default_vpc().to_owned(),
        }
    }
}
