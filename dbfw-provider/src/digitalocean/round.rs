//! One round: everything wanted is asked for, and reported on.

use std::collections::BTreeSet;

use dbfw_core::{
    answers::{Cause, ClusterId, FetchError, ListId, ListOutcome, Outcome},
    source::{SourceKey, SourceType},
};
use dbfw_wire::digitalocean::{App, Cluster, Firewall, Vpc};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};

use super::{
    Account,
    api::lock,
    facts::{Droplets, Facts, Missed},
    outcome_cache::OutcomeCache,
    plan::{self, Want},
    rules,
    session::{Course, Request, Session},
    sources::{app, droplet, k8s, tag, vpc},
};
use crate::worker::{Demand, Report, ReportSender};

/// Bytes the rules of a cluster may have: at most a few hundred are legal.
const MAX_RULES: u64 = 8 << 20;

/// Reports in a batch.
const BATCH: usize = 256;

/// Asks for all of `demand`. Reports go out as they become known.
pub(crate) async fn run(
    account: &Account,
    demand: &Demand,
    careful: bool,
    reports: &ReportSender,
) -> Course {
    if *demand == Demand::default() {
        return Course { answered: true, ..Course::default() };
    }
    let round = Round { account, demand, reports };
    match account.api.session(careful) {
        Ok(session) => {
            round.all(&session).await;
            let course = session.course();
            if course.broken.as_ref().is_some_and(|error| error.cause == Cause::RateLimited) {
                lock(&account.cursor).turn();
            }
            course
        }
        Err(error) => {
            round.fail(&error).await;
            Course { broken: Some(error.clone()), failure: Some(error), ..Course::default() }
        }
    }
}

struct Round<'a> {
    account: &'a Account,
    demand: &'a Demand,
    reports: &'a ReportSender,
}

impl Round<'_> {
    async fn all(&self, session: &Session<'_>) {
        let want = Want::of(&self.demand.sources);
        let mut kinds: [BoxFuture<'_, ()>; 4] = [
            self.lists(session).boxed(),
            self.apps(session, &want).boxed(),
            self.vpcs(session, &want).boxed(),
            self.machines(session, &want).boxed(),
        ];
        let first = lock(&self.account.cursor).short() % kinds.len();
        kinds.rotate_left(first);
        join_all(kinds).await;
    }

    async fn lists(&self, session: &Session<'_>) {
        let cluster = |list: &ListId| match list {
            ListId::DigitalOcean(cluster) => Some(cluster.clone()),
            ListId::File(_) | ListId::Aptible(_) => None,
        };
        let clusters = self.demand.lists.iter().filter_map(cluster);
        join_all(clusters.map(|cluster| self.list(session, cluster))).await;
    }

    async fn list(&self, session: &Session<'_>, cluster: ClusterId) {
        let path = format!("/v2/databases/{cluster}/firewall");
        let answer = session.get::<Firewall>(&Request { path, max_bytes: MAX_RULES }).await;
        let list = ListId::DigitalOcean(cluster);
        let outcome = match answer {
            Ok(rules) => lock(&self.account.outcomes)
                .list(&list, rules.print, || rules::outcome(&list, &rules.value)),
            Err(Missed::Gone(message)) => ListOutcome::Gone(message),
            Err(Missed::Failed(error)) => ListOutcome::Failed(error),
        };
        self.send(vec![Report::List { list, outcome }]).await;
    }

    async fn apps(&self, session: &Session<'_>, want: &Want) {
        let apps = self.account.fetch(session, &want.apps, |known| &mut known.apps).await;
        self.report(SourceType::App, |key, outcomes| of_app(key, outcomes, &apps)).await;
    }

    async fn vpcs(&self, session: &Session<'_>, want: &Want) {
        let vpcs = self.account.fetch(session, &want.vpcs, |known| &mut known.vpcs).await;
        self.report(SourceType::Vpc, |key, outcomes| of_vpc(key, outcomes, &vpcs)).await;
        self.addresses(Some(session), want, &vpcs).await;
    }

    async fn machines(&self, session: &Session<'_>, want: &Want) {
        let clusters = self.account.fetch(session, &want.clusters, |known| &mut known.clusters);
        let droplets = async {
            let droplets = self.account.droplets(session, want).await;
            self.report(SourceType::Droplet, |key, outcomes| {
                self.of_droplet(key, outcomes, &droplets)
            })
            .await;
            self.report(SourceType::Tag, |key, outcomes| self.of_tag(key, outcomes, &droplets))
                .await;
            droplets
        };
        let clusters_first = (lock(&self.account.cursor).short() / 4).is_multiple_of(2);
        let (clusters, mut droplets) = if clusters_first {
            tokio::join!(clusters, droplets)
        } else {
            let (droplets, clusters) = tokio::join!(droplets, clusters);
            (clusters, droplets)
        };
        let nodes = self.nodes(want, &clusters);
        self.account.nodes(session, &mut droplets, &nodes).await;
        self.report(SourceType::K8s, |key, outcomes| {
            self.of_cluster(key, outcomes, &clusters, &droplets)
        })
        .await;
    }

    /// The droplets of all clusters that are wanted and were found.
    fn nodes(&self, want: &Want, clusters: &Facts<Cluster>) -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        for id in &want.clusters {
            let found = clusters.find(id).found.ok();
            if let Some(nodes) = found.and_then(|cluster| k8s::droplets(cluster).ok()) {
                lock(&self.account.known).nodes.insert(id.clone(), nodes.len() as u64);
                all.extend(nodes);
            }
        }
        all
    }

    /// An address is itself, whoever answers; networks are only for the note.
    async fn addresses(&self, session: Option<&Session<'_>>, want: &Want, vpcs: &Facts<Vpc>) {
        let networks = match want.addresses {
            true => self.account.networks(session, vpcs).await,
            false => None,
        };
        self.report(SourceType::IpAddr, |key, outcomes| {
            let address = match plan::address(key) {
                Ok(address) => address,
                Err(error) => return Outcome::Failed(error),
            };
            let (from, print) = match &networks {
                Some(list) => (list.from.as_str(), list.print),
                None => ("its own text", 0),
            };
            let known = networks.iter().flat_map(|list| list.iter());
            outcomes.source(key, Some(print), || vpc::address(address, known, from).into())
        })
        .await;
    }

    fn of_droplet(
        &self,
        key: &SourceKey,
        outcomes: &mut OutcomeCache,
        droplets: &Droplets,
    ) -> Outcome {
        // Every `droplet` has one, and there is no droplet 0.
        let id = key.droplet().unwrap_or(0);
        let sighting = droplets.find(id);
        let kinds = self.account.api.config.addresses;
        outcomes.source(key, sighting.mark(), || droplet::outcome(id, sighting, kinds))
    }

    fn of_tag(&self, key: &SourceKey, outcomes: &mut OutcomeCache, droplets: &Droplets) -> Outcome {
        let tagged = droplets.tagged(key.value());
        let print = tagged.as_ref().ok().and_then(|tagged| tagged.print);
        let kinds = self.account.api.config.addresses;
        outcomes.source(key, print, || tag::outcome(key.value(), tagged, kinds))
    }

    fn of_cluster(
        &self,
        key: &SourceKey,
        outcomes: &mut OutcomeCache,
        clusters: &Facts<Cluster>,
        droplets: &Droplets,
    ) -> Outcome {
        let sighting = clusters.find(&plan::id(key));
        let print = sighting.mark().and_then(|print| {
            let nodes = k8s::droplets(sighting.found.as_ref().ok()?).ok()?;
            droplets.mark(print, &nodes)
        });
        let config = &self.account.api.config;
        let options = k8s::Options { kinds: config.addresses, pod_subnets: config.pod_subnets };
        outcomes.source(key, print, || k8s::outcome(sighting, |id| droplets.find(id), options))
    }

    /// Nothing can be asked.
    async fn fail(&self, error: &FetchError) {
        let about = |what: &dyn std::fmt::Display| FetchError {
            message: format!("DigitalOcean: {what}: not asked, because {}", error.message),
            ..error.clone()
        };
        let failed = self.demand.lists.iter().map(|list| {
            let outcome = ListOutcome::Failed(about(list));
            Report::List { list: list.clone(), outcome }
        });
        self.send(failed.collect()).await;
        for kind in SourceType::ALL.into_iter().filter(|kind| *kind != SourceType::IpAddr) {
            self.report(kind, |key, _| Outcome::Failed(about(key))).await;
        }
        self.addresses(None, &Want::of(&self.demand.sources), &Facts::default()).await;
    }

    /// Reports on every wanted source of a kind.
    async fn report(
        &self,
        kind: SourceType,
        outcome: impl Fn(&SourceKey, &mut OutcomeCache) -> Outcome,
    ) {
        let keys: Vec<_> = self.demand.sources.iter().filter(|key| key.kind() == kind).collect();
        for keys in keys.chunks(BATCH) {
            let report = |key: &&SourceKey| {
                let outcome = outcome(key, &mut lock(&self.account.outcomes));
                Report::Source { key: (*key).clone(), outcome }
            };
            self.send(keys.iter().map(report).collect()).await;
        }
    }

    /// An agent that does not listen any more has ended, and ends this task next.
    async fn send(&self, reports: Vec<Report>) {
        if !reports.is_empty() {
            let _ = self.reports.send(reports).await;
        }
    }
}

fn of_app(key: &SourceKey, outcomes: &mut OutcomeCache, apps: &Facts<App>) -> Outcome {
    let sighting = apps.find(&plan::id(key));
    outcomes.source(key, sighting.mark(), || app::outcome(sighting))
}

fn of_vpc(key: &SourceKey, outcomes: &mut OutcomeCache, vpcs: &Facts<Vpc>) -> Outcome {
    let sighting = vpcs.find(&plan::id(key));
    outcomes.source(key, sighting.mark(), || vpc::outcome(sighting))
}
