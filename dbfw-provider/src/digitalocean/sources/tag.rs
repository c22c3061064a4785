//! `tag:`: every droplet with a tag, Kubernetes nodes and GPU droplets among them.

use dbfw_core::answers::{Answer, Outcome, Unanswered};
use dbfw_wire::digitalocean::Droplet;

use super::droplet::{invalid, part, part_name};
use crate::{
    api::GetError,
    digitalocean::{AddressKinds, fetch::Tagged},
};

/// Prefix of the names of parts that only the list of GPU droplets has: when it cannot be
/// read, it is known which parts that is about.
const GPU: &str = "GPU droplet";

/// The outcome of a `tag:` source. No part: no droplet has the tag.
pub(crate) fn outcome(
    tag: &str,
    tagged: Result<Tagged<'_>, GetError>,
    kinds: AddressKinds,
) -> Outcome {
    let tagged = match tagged {
        Ok(tagged) => tagged,
        Err(missed) => return missed.into(),
    };
    // Else a server that does not look at `tag_name` would have every droplet trusted.
    let has_tag = |droplet: &&Droplet| droplet.tags.iter().any(|name| name == tag);
    if let Some(stranger) = tagged.droplets.iter().find(|droplet| !has_tag(droplet)) {
        return Outcome::Failed(invalid(
            &tagged.from,
            &format!(
                "lists droplet {}, which does not have the tag {tag:?}: write the tag exactly as \
                 DigitalOcean shows it",
                stranger.id
            ),
        ));
    }
    let droplets = tagged.droplets.iter().map(|droplet| (part_name(droplet.id), *droplet));
    let gpus = tagged.gpus.as_deref().unwrap_or_default();
    let gpus = gpus.iter().map(|droplet| (format!("{GPU} {}", droplet.id), *droplet));
    let parts = droplets.chain(gpus).map(|(name, droplet)| (name, part(droplet, kinds))).collect();
    let unanswered = tagged.gpus.err().map(|error| Unanswered { parts: GPU, error });
    Answer { parts, unanswered, from: tagged.from, ..Answer::default() }.into()
}

#[cfg(test)]
mod tests;
