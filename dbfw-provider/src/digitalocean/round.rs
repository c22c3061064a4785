//! One round: everything wanted is asked for, and reported on.

use std::collections::BTreeSet;

use dbfw_core::{
    answers::{ClusterId, FetchError, ListId, ListOutcome, Outcome},
    source::{SourceKey, SourceType},
};
use dbfw_wire::digitalocean::{App, Cluster, Firewall, Vpc};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use tokio::task::spawn_blocking;

use super::{
    fetch::{Droplets, Facts},
    firewall,
    sources::{app, droplet, k8s, tag, vpc},
};
use crate::{
    api::{Client, GetError, Progress, Session},
    worker::{Demand, Report, ReportSender},
};

/// Bytes the rules of a cluster may have: at most a few hundred are legal.
const MAX_RULES: u64 = 8 << 20;

/// Asks for all of `demand`. Reports go out as they become known. If the budget does not pay
/// for all of it, what comes first gets its answers: that is another kind in every `round`.
pub(crate) async fn run(
    client: &Client,
    demand: &Demand,
    round: usize,
    options: k8s::Options,
    reports: &ReportSender,
) -> Progress {
    if *demand == Demand::default() {
        return Progress { answered: true, ..Progress::default() };
    }
    let session = match client.session() {
        Ok(session) => session,
        Err(error) => {
            fail(demand, &error, reports).await;
            return Progress { broken: Some(error), ..Progress::default() };
        }
    };
    let this = Round { session: &session, demand, options, reports };
    let mut kinds: [BoxFuture<'_, ()>; 4] = [
        this.lists().boxed(),
        this.apps().boxed(),
        this.networks().boxed(),
        this.machines().boxed(),
    ];
    let first = round % kinds.len();
    kinds.rotate_left(first);
    join_all(kinds).await;
    session.progress()
}

struct Round<'a> {
    session: &'a Session<'a>,
    demand: &'a Demand,
    options: k8s::Options,
    reports: &'a ReportSender,
}

impl Round<'_> {
    async fn lists(&self) {
        let cluster = |list: &ListId| match list {
            ListId::DigitalOcean(cluster) => Some(cluster.clone()),
            ListId::File(_) | ListId::Aptible(_) | ListId::Server(_) => None,
        };
        let clusters: BTreeSet<ClusterId> = self.demand.lists.iter().filter_map(cluster).collect();
        let clusters = self.session.client().by_age(&clusters, firewall_path);
        join_all(clusters.into_iter().map(|cluster| self.list(cluster))).await;
    }

    async fn list(&self, cluster: &ClusterId) {
        let list = ListId::DigitalOcean(cluster.clone());
        let named = list.clone();
        let read = move |rules: Firewall| firewall::outcome(&named, &rules);
        let answer = self.session.get(&firewall_path(cluster), MAX_RULES, read).await;
        let outcome = answer.map_or_else(ListOutcome::from, |outcome| (*outcome).clone());
        send(self.reports, vec![Report::List { list, outcome }]).await;
    }

    async fn apps(&self) {
        let apps: Facts<App> = self.session.fetch(&self.ids(SourceType::App)).await;
        let of_app = |key: &SourceKey| app::outcome(apps.find(&id(key)));
        self.report(SourceType::App, of_app).await;
    }

    /// VPC networks, and the addresses to compare with them.
    async fn networks(&self) {
        let vpcs: Facts<Vpc> = self.session.fetch(&self.ids(SourceType::Vpc)).await;
        self.report(SourceType::Vpc, |key| vpc::outcome(vpcs.find(&id(key)))).await;
        if self.keys(SourceType::IpAddr).next().is_none() {
            return;
        }
        let all = match vpcs {
            Facts::List(list) => list,
            Facts::Each(_) => self.session.list(None).await.map_err(GetError::into_error),
        };
        let all = all.as_ref().ok();
        self.report(SourceType::IpAddr, |key| vpc::address_outcome(key, all)).await;
    }

    /// Droplets, tags and Kubernetes clusters.
    async fn machines(&self) {
        let clusters: Facts<Cluster> = self.session.fetch(&self.ids(SourceType::K8s)).await;
        let mut ids = self.ids(SourceType::Droplet);
        for key in self.keys(SourceType::K8s) {
            let cluster = clusters.find(&id(key)).found.ok();
            let nodes = cluster.and_then(|cluster| k8s::droplets(&cluster).ok());
            ids.extend(nodes.into_iter().flatten().map(|id| id.to_string()));
        }
        let tags = self.keys(SourceType::Tag).map(|key| key.value().to_owned()).collect();
        let droplets = self.session.droplets(&ids, &tags).await;
        let kinds = [SourceType::Droplet, SourceType::Tag, SourceType::K8s];
        let keys: Vec<SourceKey> =
            kinds.into_iter().flat_map(|kind| self.keys(kind)).cloned().collect();
        let options = self.options;
        // There may be tens of thousands of droplets: not on the thread of the agent's loop.
        let reports = spawn_blocking(move || {
            let report = |key| {
                let outcome = of_machines(&key, &clusters, &droplets, options);
                Report::Source { key, outcome }
            };
            keys.into_iter().map(report).collect()
        });
        send(self.reports, reports.await.unwrap_or_default()).await;
    }

    fn keys(&self, kind: SourceType) -> impl Iterator<Item = &SourceKey> {
        self.demand.sources.iter().filter(move |key| key.kind() == kind)
    }

    fn ids(&self, kind: SourceType) -> BTreeSet<String> {
        self.keys(kind).map(id).collect()
    }

    /// Reports on every wanted source of a kind.
    async fn report(&self, kind: SourceType, outcome: impl Fn(&SourceKey) -> Outcome) {
        let report = |key: &SourceKey| Report::Source { key: key.clone(), outcome: outcome(key) };
        send(self.reports, self.keys(kind).map(report).collect()).await;
    }
}

fn of_machines(
    key: &SourceKey,
    clusters: &Facts<Cluster>,
    droplets: &Droplets,
    options: k8s::Options,
) -> Outcome {
    match key.kind() {
        SourceType::K8s => {
            let find = |id: u64| droplets.find(&id.to_string());
            k8s::outcome(clusters.find(&id(key)), find, options)
        }
        SourceType::Tag => tag::outcome(key.value(), droplets.tagged(key.value()), options.kinds),
        _ => droplet::outcome(key.value(), droplets.find(key.value()), options.kinds),
    }
}

/// Reports that nothing can be asked for. An address is itself, whoever answers.
async fn fail(demand: &Demand, error: &FetchError, reports: &ReportSender) {
    let about =
        |what: &dyn std::fmt::Display| error.clone().not_asked(&format!("DigitalOcean: {what}"));
    let lists = demand
        .lists
        .iter()
        .map(|list| Report::List { list: list.clone(), outcome: ListOutcome::Failed(about(list)) });
    let sources = demand.sources.iter().map(|key| Report::Source {
        key: key.clone(),
        outcome: match key.kind() {
            SourceType::IpAddr => vpc::address_outcome(key, None),
            _ => Outcome::Failed(about(key)),
        },
    });
    send(reports, lists.chain(sources).collect()).await;
}

/// An agent that does not listen any more has ended, and ends this worker next.
async fn send(to: &ReportSender, reports: Vec<Report>) {
    if !reports.is_empty() {
        let _ = to.send(reports).await;
    }
}

/// An id as answers have it: in small letters.
fn id(key: &SourceKey) -> String {
    key.value().to_ascii_lowercase()
}

fn firewall_path(cluster: &ClusterId) -> String {
    format!("/v2/databases/{cluster}/firewall")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_are_safe_in_a_path(value in "\\PC{0,12}|[0-9A-Fa-f-]{0,40}") {
            for kind in [SourceType::K8s, SourceType::App, SourceType::Vpc] {
                let Ok(key) = SourceKey::new(kind, &value) else { continue };
                let is_safe = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
                prop_assert!(id(&key).bytes().all(is_safe));
            }
        }
    }
}
