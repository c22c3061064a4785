//! The JSON of DigitalOcean's API, as far as dbfw reads it: shapes of its published OpenAPI
//! description. Unknown fields are ignored, `null` is an empty list, and text that only
//! people read may be anything; another type where an answer is needed is an error.

mod databases;
mod tolerant;

use serde::{Deserialize, Serialize};

pub use self::databases::{
    Account, Application, Autoscale, Certificate, DatabaseCluster, DatabaseClusters,
    DatabaseConnection, FirewallUpdate, MaintenanceWindow, OneAccount, OneCertificate,
    OneDatabaseCluster, RuleUpdate, StorageAutoscale, Team, TokenInfo,
};

use tolerant::{lenient, lenient_option, nullable, object, present};

/// `GET /v2/databases/{uuid}/firewall`. Without `rules` it is no list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The rules: who may connect.
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<FirewallRule>,
}

/// A trusted source of a database cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRule {
    /// Empty is legal.
    #[serde(default, deserialize_with = "lenient")]
    pub uuid: String,
    /// Empty is legal.
    #[serde(default, deserialize_with = "lenient")]
    pub cluster_uuid: String,
    /// `droplet`, `k8s`, `ip_addr`, `tag` or `app`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An id, the name of a tag, or an address or CIDR.
    pub value: String,
    /// RFC 3339; what clients send is not always that.
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: String,
    /// A description for people.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// An expiry, RFC 3339, which dbfw's own server knows.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A droplet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Droplet {
    /// Its id.
    pub id: u64,
    /// Its name, for people.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// `new`, `active`, `off` or `archive`.
    #[serde(default, deserialize_with = "nullable")]
    pub status: String,
    /// Its addresses.
    #[serde(default, deserialize_with = "object")]
    pub networks: Option<Networks>,
    /// Names of its tags. Without the field it is no answer.
    #[serde(deserialize_with = "nullable")]
    pub tags: Vec<String>,
    /// The VPC network it is in.
    #[serde(default, deserialize_with = "lenient")]
    pub vpc_uuid: String,
}

/// A droplet's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networks {
    /// IPv4.
    #[serde(default, deserialize_with = "nullable")]
    pub v4: Vec<Address>,
    /// IPv6.
    #[serde(default, deserialize_with = "nullable")]
    pub v6: Vec<Address>,
}

/// An address of a droplet. Its netmask and gateway (which may be `"nil"`) say nothing about
/// who connects from it, and are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Without a netmask.
    #[serde(default, deserialize_with = "nullable")]
    pub ip_address: String,
    /// `public` or `private`.
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    pub kind: String,
}

/// A Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// The pods' CIDR.
    #[serde(default, deserialize_with = "nullable")]
    pub cluster_subnet: String,
    /// Its nodes, by pool. Without the field it is no answer.
    #[serde(deserialize_with = "nullable")]
    pub node_pools: Vec<NodePool>,
}

/// Nodes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePool {
    /// Its id.
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// Its nodes. Without the field it is no answer.
    #[serde(deserialize_with = "nullable")]
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// For people; empty while it is provisioned.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// The droplet it runs on, a number as text; empty or a blank while it is provisioned.
    #[serde(default, deserialize_with = "nullable")]
    pub droplet_id: String,
    /// Its state.
    #[serde(default, deserialize_with = "nullable")]
    pub status: NodeStatus,
}

/// The state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// `provisioning`, `running`, `draining` or `deleting`.
    #[serde(default, deserialize_with = "lenient")]
    pub state: String,
}

/// An App Platform app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its id.
    pub id: String,
    /// The specification it was made from.
    #[serde(default, deserialize_with = "nullable")]
    pub spec: AppSpec,
    /// Addresses that are this app's alone.
    #[serde(default, deserialize_with = "nullable")]
    pub dedicated_ips: Vec<DedicatedIp>,
    /// The VPC network it is in.
    #[serde(default, deserialize_with = "object")]
    pub vpc: Option<AppVpc>,
}

/// The specification of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Its name, for people.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
}

/// An address that is an app's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedicatedIp {
    /// Empty before it is assigned.
    #[serde(default, deserialize_with = "nullable")]
    pub ip: String,
    /// Its id.
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// `UNKNOWN`, `ASSIGNING`, `ASSIGNED` or `REMOVED`.
    #[serde(default, deserialize_with = "nullable")]
    pub status: String,
}

/// An app's place in a VPC network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppVpc {
    /// The network's id.
    #[serde(default, deserialize_with = "lenient")]
    pub id: String,
    /// The app's source addresses inside it.
    #[serde(default, deserialize_with = "nullable")]
    pub egress_ips: Vec<EgressIp>,
}

/// An address an app connects from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressIp {
    /// Without a netmask.
    #[serde(default, deserialize_with = "nullable")]
    pub ip: String,
}

/// A VPC network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// A CIDR.
    #[serde(default, deserialize_with = "nullable")]
    pub ip_range: String,
}

/// Links to the other pages of a list; `{}`, `{"pages":{}}` or nothing if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// By their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Pages>,
}

/// Absolute URLs of other pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// The first, unless this is it.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The one before this, unless this is the first.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// The one after this, unless this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last, unless this is it.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// About a list as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The number of things on all its pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Every error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// `not_found`, `unauthorized`, …
    pub id: String,
    /// A message for people.
    pub message: String,
    /// For the provider's support.
    #[serde(default, deserialize_with = "lenient_option", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One [`NodePool`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneNodePool {
    /// It.
    pub node_pool: NodePool,
}

/// One thing under the name of its kind, and a page of a list of them.
macro_rules! envelopes {
    ($($one:ident { $(#[$alias:meta])? $field:ident: $item:ty }, $page:ident { $list:ident };)*) => {$(
        #[doc = concat!("One [`", stringify!($item), "`].")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $one {
            /// It.
            $(#[$alias])?
            pub $field: $item,
        }

        #[doc = concat!("A page of a list of [`", stringify!($item), "`].")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $page {
            /// Those on the page; `null` is none, and without it this is no list.
            #[serde(default, deserialize_with = "present")]
            pub $list: Option<Vec<$item>>,
            /// Links to the other pages.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub links: Option<Links>,
            /// About all of them.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub meta: Option<Meta>,
        }
    )*};
}

envelopes! {
    OneDroplet { droplet: Droplet }, DropletPage { droplets };
    // The description has an example of one cluster under the list's name.
    OneCluster { #[serde(alias = "kubernetes_clusters")] kubernetes_cluster: Cluster },
    ClusterPage { kubernetes_clusters };
    OneApp { app: App }, AppPage { apps };
    OneVpc { vpc: Vpc }, VpcPage { vpcs };
}

#[cfg(test)]
mod tests;
