//! `app:`: the addresses an App Platform app connects from, where it has its own.

use std::collections::BTreeMap;

use dbfw_core::{
    answers::{FetchError, Outcome, Part},
    source::Prefix,
};
use dbfw_wire::digitalocean::App;

use super::droplet::{host, invalid};
use crate::{digitalocean::fetch::Sighting, http::clean};

/// The outcome of an `app:` source. An app without addresses of its own shares DigitalOcean's: it
/// cannot be told from others' apps, and is never guessed.
pub(crate) fn outcome(sighting: Sighting<App>) -> Outcome {
    sighting.outcome(parts)
}

/// The prefixes of an app, as far as they can be used.
pub(crate) fn prefixes(app: &App) -> Vec<Prefix> {
    let parts = parts(app);
    parts.values().flat_map(Part::known).copied().collect()
}

fn parts(app: &App) -> BTreeMap<String, Part> {
    let what = format!("app {}", clean(&app.id, 80));
    let mut parts = BTreeMap::new();
    let mut dedicated = Vec::new();
    for (at, ip) in app.dedicated_ips.iter().enumerate() {
        let status = clean(&ip.status, 80);
        match status.as_str() {
            "ASSIGNED" => dedicated.push(host(&what, &format!("dedicated_ips[{at}].ip"), &ip.ip)),
            "ASSIGNING" | "REMOVED" | "UNKNOWN" => {
                let name = [&ip.ip, &ip.id].into_iter().find(|text| !text.is_empty());
                let name = name.map_or_else(|| at.to_string(), |text| clean(text, 80));
                let why = format!("has the status {status}, not ASSIGNED");
                parts.insert(format!("dedicated IP {name}"), Part::Empty(why));
            }
            _ => dedicated.push(Err(invalid(
                &what,
                &format!("dedicated_ips[{at}].status is {status:?}, which dbfw does not know"),
            ))),
        }
    }
    add(&mut parts, "dedicated IPs", dedicated.into_iter());
    let egress = app.vpc.iter().flat_map(|vpc| &vpc.egress_ips).enumerate();
    let egress = egress.map(|(at, ip)| host(&what, &format!("vpc.egress_ips[{at}].ip"), &ip.ip));
    add(&mut parts, "VPC egress IPs", egress);
    if parts.is_empty() {
        let why = "has no dedicated IP address and no VPC egress address, so its addresses are \
                   not known outside DigitalOcean: give it a dedicated IP (egress type \
                   DEDICATED_IP)";
        parts.insert("app".to_owned(), Part::Empty(why.to_owned()));
    }
    parts
}

/// One part for all of a kind: one that cannot be read would otherwise be missing, and what it
/// was before would be lost.
fn add(
    parts: &mut BTreeMap<String, Part>,
    name: &str,
    prefixes: impl Iterator<Item = Result<Prefix, FetchError>>,
) {
    match prefixes.collect::<Result<Vec<_>, _>>() {
        Ok(prefixes) if prefixes.is_empty() => {}
        Ok(prefixes) => {
            parts.insert(name.to_owned(), Part::prefixes(prefixes));
        }
        Err(error) => {
            parts.insert(name.to_owned(), Part::Failed(error));
        }
    }
}

#[cfg(test)]
mod tests;
