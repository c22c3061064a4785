//! `tag:`: every droplet with a tag, Kubernetes nodes and GPU droplets among them. Pure.

use super::{
    Answer, Outcome, Part,
    droplet::{invalid, part, part_name},
};
use crate::{
    config::AddressKinds,
    provider::digitalocean::facts::{Missed, Tagged},
};

/// What a `tag:` source is. No part: no droplet has the tag.
pub(crate) fn outcome(
    tag: &str,
    tagged: Result<Tagged<'_>, Missed>,
    kinds: AddressKinds,
) -> Outcome {
    let tagged = match tagged {
        Ok(tagged) => tagged,
        Err(missed) => return missed.into(),
    };
    // Else a server that does not look at `tag_name` would have every droplet trusted.
    if let Some(stranger) =
        tagged.droplets.iter().find(|droplet| !droplet.tags.iter().any(|name| name == tag))
    {
        return Outcome::Failed(invalid(
            &tagged.from,
            &format!(
                "lists droplet {}, which does not have the tag {tag:?}: write the tag exactly as \
                 DigitalOcean shows it",
                stranger.id
            ),
        ));
    }
    let found = tagged.droplets.iter().map(|droplet| (part_name(droplet.id), part(droplet, kinds)));
    let unsure = tagged.unsure.into_iter().map(|(id, error)| (part_name(id), Part::Failed(error)));
    Outcome::Answer(Answer {
        parts: found.chain(unsure).collect(),
        from: tagged.from,
        ..Answer::default()
    })
}

#[cfg(test)]
mod tests;
