//! `droplet:`: a droplet's addresses.

use std::{fmt::Display, net::IpAddr};

use dbfw_core::{
    answers::{Cause, FetchError, Outcome, Part},
    source::{Prefix, unusable_source},
};
use dbfw_wire::digitalocean::{Address, Droplet};

use crate::{
    digitalocean::{AddressKinds, fetch::Sighting},
    http::clean,
};

/// Characters of a provider's text that an error repeats.
const MAX_SHOWN: usize = 80;

/// The outcome of a `droplet:` source.
pub(crate) fn outcome(id: &str, sighting: Sighting<Droplet>, kinds: AddressKinds) -> Outcome {
    sighting.outcome(|droplet| [(part_name(id), part(droplet, kinds))].into())
}

/// The name of a part that is a droplet: the same whatever the droplet's name.
pub(crate) fn part_name(id: impl Display) -> String {
    format!("droplet {id}")
}

/// A droplet's addresses, each a prefix of its own: a netmask is about its link, not about
/// who else is trusted.
pub(crate) fn part(droplet: &Droplet, kinds: AddressKinds) -> Part {
    match addresses(droplet, kinds) {
        Ok(prefixes) if !prefixes.is_empty() => Part::prefixes(prefixes),
        Ok(_) => Part::Empty(why_empty(droplet)),
        Err(error) => Part::Failed(error),
    }
}

fn addresses(droplet: &Droplet, kinds: AddressKinds) -> Result<Vec<Prefix>, FetchError> {
    let what = format!("droplet {}", droplet.id);
    let Some(networks) = &droplet.networks else {
        if matches!(droplet.status.as_str(), "new" | "archive") {
            return Ok(Vec::new());
        }
        return Err(invalid(&what, "networks is missing, though it is not being created"));
    };
    let mut prefixes = Vec::new();
    for (at, address) in networks.v4.iter().enumerate() {
        let counts = match address.kind.as_str() {
            "private" => kinds.private,
            "public" => kinds.public,
            other => {
                let other = clean(other, MAX_SHOWN);
                let text =
                    format!("networks.v4[{at}].type is {other:?}, neither public nor private");
                return Err(invalid(&what, &text));
            }
        };
        if counts {
            prefixes.push(of_droplet(&what, "v4", at, address)?);
        }
    }
    if kinds.v6 {
        for (at, address) in networks.v6.iter().enumerate() {
            prefixes.push(of_droplet(&what, "v6", at, address)?);
        }
    }
    Ok(prefixes)
}

fn of_droplet(
    what: &str,
    family: &str,
    at: usize,
    address: &Address,
) -> Result<Prefix, FetchError> {
    let field = format!("networks.{family}[{at}].ip_address");
    let prefix = host(what, &field, &address.ip_address)?;
    if prefix.is_v4() != (family == "v4") {
        return Err(invalid(what, &format!("{field} is {prefix}, of the other family")));
    }
    Ok(prefix)
}

/// A single address that a machine can have, out of a provider's answer.
///
/// # Errors
/// [`Cause::Invalid`], naming the field.
pub(crate) fn host(what: &str, field: &str, text: &str) -> Result<Prefix, FetchError> {
    let shown = clean(text, MAX_SHOWN);
    let address: IpAddr = text
        .parse()
        .map_err(|_| invalid(what, &format!("{field}: {shown:?} is not an address")))?;
    let address = address.to_canonical();
    // Droplets are not on one link with a database.
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if is_link_local || unusable_source(address).is_some() {
        return Err(invalid(what, &format!("{field}: no machine connects from {address}")));
    }
    Ok(Prefix::host(address))
}

/// A CIDR out of a provider's answer.
///
/// # Errors
/// [`Cause::Invalid`], naming the field.
pub(crate) fn network(what: &str, field: &str, text: &str) -> Result<Prefix, FetchError> {
    text.parse().map_err(|error| invalid(what, &format!("{field}: {error}")))
}

/// Something in an answer that cannot be used.
pub(crate) fn invalid(what: &str, text: &str) -> FetchError {
    FetchError::new(Cause::Invalid, text).about(format!("DigitalOcean: {what}"))
}

fn why_empty(droplet: &Droplet) -> String {
    let empty = droplet.networks.as_ref().is_none_or(|n| n.v4.is_empty() && n.v6.is_empty());
    match droplet.status.as_str() {
        "new" if empty => "is still being created".to_owned(),
        _ if empty => "has no address".to_owned(),
        _ => "has no address of the kinds in use (`addresses` in [digitalocean])".to_owned(),
    }
}

#[cfg(test)]
mod tests;
