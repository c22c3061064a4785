//! Expiry: rules go from their lists when their time is over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    Service,
    documents::parse,
    error::ServiceError,
    lists::{Author, Request},
};
use crate::{
    list::{Edit, List},
    model::{By, Via, keys},
    store::{Event, Revision, Watch, Write},
};

/// The clock is asked this often while something is going to expire: it may step.
const TICK: Duration = Duration::from_secs(1);

/// Removes what expires, until it is dropped. Failures are told, and tried again.
pub async fn remove_expired(service: Arc<Service>) {
    loop {
        if let Err(error) = follow(&service).await {
            tracing::error!(%error, "expired sources cannot be removed; trying again");
            sleep(TICK).await;
        }
    }
}

/// The next expiry of each list that has one.
type Expiries = HashMap<Uuid, Timestamp>;

async fn follow(service: &Service) -> Result<(), ServiceError> {
    let (mut expiries, revision) = read(service).await?;
    let mut watch = service.store.watch(keys::LISTS, revision);
    loop {
        remove(service, &mut expiries).await?;
        let event = match expiries.is_empty() {
            true => watch.next().await,
            false => match timeout(TICK, watch.next()).await {
                Ok(event) => event,
                Err(_) => continue,
            },
        };
        match event {
            Some(Event::Batch(batch)) => {
                batch.writes.iter().for_each(|write| note(&mut expiries, write));
            }
            Some(Event::Resync) => (expiries, watch) = again(service).await?,
            None => return Ok(()),
        }
    }
}

async fn again(service: &Service) -> Result<(Expiries, Watch), ServiceError> {
    let (expiries, revision) = read(service).await?;
    Ok((expiries, service.store.watch(keys::LISTS, revision)))
}

/// The expiries of all lists, and of which revision they are.
async fn read(service: &Service) -> Result<(Expiries, Revision), ServiceError> {
    let snapshot = service.store.list(keys::LISTS).await?;
    let mut expiries = Expiries::new();
    for (key, entry) in snapshot.entries {
        note(&mut expiries, &Write::Put(key, entry.value));
    }
    Ok((expiries, snapshot.revision))
}

fn note(expiries: &mut Expiries, write: &Write) {
    let Some(database) = keys::database_of_list(write.key()) else { return };
    expiries.remove(&database);
    let Write::Put(key, value) = write else { return };
    match parse::<List>(key, value) {
        Ok(list) => {
            let next = list.rules.iter().filter_map(|rule| rule.details.expires_at).min();
            expiries.extend(next.map(|next| (database, next)));
        }
        // The other lists go on.
        Err(error) => tracing::error!(%error, "expired sources of a list are not removed"),
    }
}

async fn remove(service: &Service, expiries: &mut Expiries) -> Result<(), ServiceError> {
    let now = Timestamp::now();
    let over: Vec<Uuid> =
        expiries.iter().filter(|(_, at)| **at <= now).map(|(database, _)| *database).collect();
    for database in over {
        let author =
            Author { by: By::Expiry, via: Via::Server, agent: None, from: None, reason: None };
        let request = Request::Edit(Edit::Expire(now));
        match service.change(database, &request, None, &author).await {
            // The watch has the list that it left.
            Ok(_) | Err(ServiceError::NoDatabase) => expiries.remove(&database),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}
