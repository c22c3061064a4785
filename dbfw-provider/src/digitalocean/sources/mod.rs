//! Prefixes of DigitalOcean's resources, by source type.

pub(crate) mod app;
pub(crate) mod droplet;
pub(crate) mod k8s;
pub(crate) mod tag;
pub(crate) mod vpc;
