//! Droplets: by id, in pages, by tag, by name, and those with GPUs.

use dbfw_wire::digitalocean::{Droplet, DropletPage, OneDroplet};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks, Page},
};

/// GET of a list. GPU droplets are listed only by `type=gpus`, which excludes `tag_name`.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    let tag = request.parameter("tag_name");
    let name = request.parameter("name");
    let gpus = match request.parameter("type") {
        None | Some("droplets") => false,
        Some("gpus") => true,
        Some(_) => return Answer::unprocessable("type must be droplets or gpus"),
    };
    if tag.is_some() && (name.is_some() || request.parameter("type").is_some()) {
        return Answer::unprocessable("tag_name cannot be combined with name or type");
    }
    let all = if gpus { &account.gpu_droplets } else { &account.droplets };
    let found: Vec<&Droplet> = all
        .iter()
        .filter(|droplet| tag.is_none_or(|tag| droplet.tags.iter().any(|known| known == tag)))
        .filter(|droplet| name.is_none_or(|name| droplet.name == name))
        .collect();
    let no_links = if gpus { NoLinks::Empty } else { NoLinks::NoPages };
    page::list(request, &found, no_links, |Page { items, links, meta }| {
        let droplets = Some(items.into_iter().cloned().collect());
        let page = DropletPage { droplets, links, meta };
        dress::each(page, "droplets", |droplet| dress::droplet(droplet, gpus))
    })
}

/// GET of one, of either kind.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    let droplet = id.parse().ok().and_then(|id| account.droplet(id));
    let Some(droplet) = droplet else { return Answer::not_found() };
    let gpu = account.gpu_droplets.iter().any(|known| known.id == droplet.id);
    let droplet = OneDroplet { droplet: droplet.clone() };
    Answer::json(dress::one(droplet, "droplet", |droplet| dress::droplet(droplet, gpu)))
}
