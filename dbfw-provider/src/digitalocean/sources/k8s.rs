//! `k8s:`: the nodes of a Kubernetes cluster, and by configuration its pods.

use std::collections::BTreeMap;

use dbfw_core::{
    answers::{Answer, FetchError, Outcome, Part},
    source::Prefix,
};
use dbfw_wire::digitalocean::{Cluster, Droplet, Node};

use super::droplet::{invalid, network, part};
use crate::{
    api::GetError,
    digitalocean::{AddressKinds, fetch::Sighting},
    http::clean,
};

/// The addresses of a cluster that count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Of its nodes.
    pub(crate) kinds: AddressKinds,
    /// The pods too: on a VPC-native cluster the database sees their addresses.
    pub(crate) pod_subnets: bool,
}

/// The outcome of a `k8s:` source. `find` looks up its nodes' droplets.
pub(crate) fn outcome(
    sighting: Sighting<Cluster>,
    find: impl Fn(u64) -> Sighting<Droplet>,
    options: Options,
) -> Outcome {
    let cluster = match sighting.found {
        Ok(cluster) => cluster,
        Err(missed) => return missed.into(),
    };
    let mut from = vec![sighting.from];
    match parts(&cluster, find, options, &mut from) {
        Ok(parts) => Answer { parts, from: from.join(", "), ..Answer::default() }.into(),
        Err(error) => Outcome::Failed(error),
    }
}

/// The droplets of a cluster's nodes.
///
/// # Errors
/// An id that is none, or none though the node runs: which node that was is then not to be
/// told, so the cluster's last answer has to stay.
pub(crate) fn droplets(cluster: &Cluster) -> Result<Vec<u64>, FetchError> {
    nodes(cluster)
        .filter_map(|(field, node)| droplet_of(cluster, &field, node).transpose())
        .collect()
}

fn parts(
    cluster: &Cluster,
    find: impl Fn(u64) -> Sighting<Droplet>,
    options: Options,
    from: &mut Vec<String>,
) -> Result<BTreeMap<String, Part>, FetchError> {
    let mut parts = BTreeMap::new();
    for (field, node) in nodes(cluster) {
        let Some(id) = droplet_of(cluster, &field, node)? else {
            let name = if node.id.is_empty() { &field } else { &node.id };
            let why = "is still being created: it has no droplet yet".to_owned();
            parts.insert(format!("node {}", clean(name, 80)), Part::Empty(why));
            continue;
        };
        let sighting = find(id);
        let part = match sighting.found {
            Ok(droplet) => part(&droplet, options.kinds),
            Err(GetError::Gone(message)) => Part::Empty(message),
            Err(GetError::Failed(error)) => Part::Failed(error),
        };
        parts.insert(format!("node droplet {id}"), part);
        // One request each is not worth telling of.
        if sighting.is_listed && !from.contains(&sighting.from) {
            from.push(sighting.from);
        }
    }
    if options.pod_subnets {
        parts.insert("pod subnet".to_owned(), pod_subnet(cluster));
    }
    Ok(parts)
}

/// The pods' range, if the cluster has one that can be used.
pub(crate) fn pods(cluster: &Cluster) -> Option<Prefix> {
    network(&name(cluster), "cluster_subnet", &cluster.cluster_subnet).ok()
}

fn pod_subnet(cluster: &Cluster) -> Part {
    if cluster.cluster_subnet.is_empty() {
        return Part::Empty("the cluster has no cluster_subnet".to_owned());
    }
    match network(&name(cluster), "cluster_subnet", &cluster.cluster_subnet) {
        Ok(prefix) => Part::prefixes(vec![prefix]),
        Err(error) => Part::Failed(error),
    }
}

fn nodes(cluster: &Cluster) -> impl Iterator<Item = (String, &Node)> {
    cluster.node_pools.iter().enumerate().flat_map(|(pool, nodes)| {
        nodes
            .nodes
            .iter()
            .enumerate()
            .map(move |(at, node)| (format!("node_pools[{pool}].nodes[{at}]"), node))
    })
}

fn droplet_of(cluster: &Cluster, field: &str, node: &Node) -> Result<Option<u64>, FetchError> {
    let text = node.droplet_id.trim();
    if text.is_empty() {
        if node.status.state == "running" {
            let text = format!("{field}.droplet_id is empty, though the node runs");
            return Err(invalid(&name(cluster), &text));
        }
        return Ok(None);
    }
    let id = parse_droplet_id(text).ok_or_else(|| {
        let shown = clean(text, 80);
        invalid(&name(cluster), &format!("{field}.droplet_id: {shown:?} is not a droplet's id"))
    })?;
    Ok(Some(id))
}

/// A droplet's id in an answer: a number in its only form.
fn parse_droplet_id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|id: &u64| id.to_string() == text)
}

fn name(cluster: &Cluster) -> String {
    format!("Kubernetes cluster {}", clean(&cluster.id, 80))
}

#[cfg(test)]
mod tests;
