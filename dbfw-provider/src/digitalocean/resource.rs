//! The kinds of things that are asked for by id or as a whole list.

use std::{
    fmt::{Debug, Display},
    hash::Hash,
};

use dbfw_wire::digitalocean::{
    App, AppPage, Cluster, ClusterPage, Droplet, DropletPage, Links, Meta, OneApp, OneCluster,
    OneDroplet, OneVpc, Vpc, VpcPage,
};
use serde::de::DeserializeOwned;

/// A kind of thing.
pub(crate) trait Resource: Debug + Sized + Send + Sync + 'static {
    /// The name of one.
    type Id: Clone + Debug + Display + Hash + Ord + Send + Sync;
    /// The answer for one.
    type One: Debug + DeserializeOwned + Send + Sync + 'static;
    /// A page of a list.
    type Page: Debug + DeserializeOwned + Send + Sync + 'static;

    /// Path of the list; of one, with its id behind.
    const PATH: &'static str;
    /// For people.
    const NOUN: &'static str;
    /// Bytes an answer may have: a page of 200 as large as is plausible, several times over
    /// (a droplet takes 4 KiB, a cluster of 500 nodes 130 KiB).
    const MAX_BYTES: u64;

    fn id(&self) -> Self::Id;
    fn tags(&self) -> &[String] {
        &[]
    }
    fn one(one: &Self::One) -> &Self;
    fn page(page: &Self::Page) -> PageView<'_, Self>;
}

/// A page of a list, whatever it lists.
#[derive(Debug)]
pub(crate) struct PageView<'a, R> {
    /// `None`: the answer has no such field.
    pub(crate) items: Option<&'a [R]>,
    links: Option<&'a Links>,
    meta: Option<&'a Meta>,
}

impl<R> PageView<'_, R> {
    /// The number of things on the whole list.
    pub(crate) fn total(&self) -> Option<u64> {
        self.meta?.total
    }

    /// The next page.
    pub(crate) fn next(&self) -> Option<&str> {
        self.links?.pages.as_ref()?.next.as_deref().filter(|next| !next.is_empty())
    }
}

/// The shapes of a kind's answers.
macro_rules! answers {
    ($one:ident.$field:ident, $page:ident.$list:ident) => {
        type One = $one;
        type Page = $page;

        fn one(one: &$one) -> &Self {
            &one.$field
        }

        fn page(page: &$page) -> PageView<'_, Self> {
            PageView {
                items: page.$list.as_deref(),
                links: page.links.as_ref(),
                meta: page.meta.as_ref(),
            }
        }
    };
}

impl Resource for Droplet {
    type Id = u64;
    const PATH: &'static str = "/v2/droplets";
    const NOUN: &'static str = "droplet";
    const MAX_BYTES: u64 = 8 << 20;
    answers!(OneDroplet.droplet, DropletPage.droplets);

    fn id(&self) -> u64 {
        self.id
    }

    fn tags(&self) -> &[String] {
        &self.tags
    }
}

impl Resource for Cluster {
    type Id = String;
    const PATH: &'static str = "/v2/kubernetes/clusters";
    const NOUN: &'static str = "Kubernetes cluster";
    const MAX_BYTES: u64 = 32 << 20;
    answers!(OneCluster.kubernetes_cluster, ClusterPage.kubernetes_clusters);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}

impl Resource for App {
    type Id = String;
    const PATH: &'static str = "/v2/apps";
    const NOUN: &'static str = "app";
    const MAX_BYTES: u64 = 32 << 20;
    answers!(OneApp.app, AppPage.apps);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}

impl Resource for Vpc {
    type Id = String;
    const PATH: &'static str = "/v2/vpcs";
    const NOUN: &'static str = "VPC network";
    const MAX_BYTES: u64 = 8 << 20;
    answers!(OneVpc.vpc, VpcPage.vpcs);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}
