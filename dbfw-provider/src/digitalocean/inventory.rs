//! The account's machines and networks, for `dbfw suggest`.

use std::collections::HashMap;

use dbfw_core::{
    answers::{Cause, FetchError},
    source::{SourceKey, SourceType},
};
use dbfw_wire::digitalocean::{App, Cluster, Droplet, Vpc};

use super::{
    fetch::GPUS,
    paging::{Listing, Resource},
    sources::{app, droplet, k8s, vpc},
};
use crate::{
    api::{Client, GetError, Session},
    inventory::{Inventory, Machine, Network},
};

/// Lists everything. What the token may not see is left out, except droplets.
///
/// # Errors
/// Droplets, or another list that may be seen, could not be read.
pub(crate) async fn take(client: &Client, options: k8s::Options) -> Result<Inventory, FetchError> {
    let session = client.session()?;
    let (droplets, gpus, clusters, apps, vpcs) = tokio::join!(
        session.list::<Droplet>(None),
        session.list::<Droplet>(Some(GPUS)),
        list::<Cluster>(&session),
        list::<App>(&session),
        list::<Vpc>(&session),
    );
    let droplets = droplets.map_err(GetError::into_error)?;
    let gpus = gpus.map_err(GetError::into_error)?;
    let gpus = gpus.iter().filter(|gpu| droplets.get(&gpu.id()).is_none());
    // What no rule can name is left out.
    let key = |kind, value: &str| SourceKey::new(kind, value).ok();
    let mut inventory = Inventory::default();
    let mut cluster_of: HashMap<u64, SourceKey> = HashMap::new();
    for cluster in clusters?.iter().flat_map(Listing::iter) {
        let Some(source) = key(SourceType::K8s, &cluster.id) else { continue };
        let nodes = k8s::droplets(cluster).unwrap_or_default();
        cluster_of.extend(nodes.into_iter().map(|id| (id, source.clone())));
        if let Some(range) = k8s::pods(cluster).filter(|_| options.pod_subnets) {
            let name = cluster.name.clone();
            inventory.networks.push(Network { name, key: source, range });
        }
    }
    for droplet in droplets.iter().chain(gpus) {
        let tags = droplet.tags.iter().filter_map(|tag| key(SourceType::Tag, tag));
        let Some(source) = key(SourceType::Droplet, &droplet.id()) else { continue };
        inventory.machines.push(Machine {
            name: droplet.name.clone(),
            key: source,
            groups: tags.chain(cluster_of.get(&droplet.id).cloned()).collect(),
            prefixes: droplet::part(droplet, options.kinds).known().to_vec(),
        });
    }
    for app in apps?.iter().flat_map(Listing::iter) {
        let Some(source) = key(SourceType::App, &app.id) else { continue };
        inventory.machines.push(Machine {
            name: app.spec.name.clone(),
            key: source,
            groups: Vec::new(),
            prefixes: app::prefixes(app),
        });
    }
    for vpc in vpcs?.iter().flat_map(Listing::iter) {
        if let (Ok(range), Some(source)) = (vpc::range(vpc), key(SourceType::Vpc, &vpc.id)) {
            inventory.networks.push(Network { name: vpc.name.clone(), key: source, range });
        }
    }
    inventory.machines.retain(|machine| !machine.prefixes.is_empty());
    Ok(inventory)
}

/// A list, unless it may not be read.
async fn list<R: Resource>(session: &Session<'_>) -> Result<Option<Listing<R>>, FetchError> {
    match session.list(None).await {
        Ok(list) => Ok(Some(list)),
        Err(GetError::Failed(error)) if error.cause == Cause::Permission => Ok(None),
        Err(missed) => Err(missed.into_error()),
    }
}
