//! What there is to go wrong, and what each of it may come to. Pure.

use std::{fmt, time::Duration};

use dbfw_tests::provider_server::{Certificate, Fault, Resource};

/// Every kind of answer that the agent reads.
pub(super) const TARGETS: [Resource; 13] = [
    Resource::Firewall,
    Resource::Vhost,
    Resource::Feed,
    Resource::Droplet,
    Resource::Droplets,
    Resource::TaggedDroplets,
    Resource::GpuDroplets,
    Resource::Cluster,
    Resource::Clusters,
    Resource::App,
    Resource::Apps,
    Resource::Vpc,
    Resource::Vpcs,
];

/// Something that is wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// With the answers about one kind of thing.
    Answer(Fault),
    /// With the certificate.
    Certificate(Certificate),
    /// Nobody listens.
    Down,
}

/// What may come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing changes, and one of these causes is told.
    Kept(&'static [&'static str]),
    /// What was asked for goes once it was gone for long enough; nothing else does.
    Goes,
    /// The list is empty or gone: a guard keeps the one before.
    Guarded,
    /// It is no harm.
    Harmless,
}

/// Everything that can go wrong with one kind of answer. `elsewhere` is another server's URL.
pub(super) fn troubles(target: Resource, elsewhere: &str) -> Vec<Trouble> {
    let faults = Fault::samples(elsewhere).into_iter();
    let faults = faults.filter(|fault| fault.applies_to(target)).map(|fault| match fault {
        // What waits is no shorter for a whole second.
        Fault::RateLimited(Some(_)) => Fault::RateLimited(Some(Duration::from_secs(1))),
        fault => fault,
    });
    let certificates = [Certificate::Expired, Certificate::WrongName, Certificate::UnknownCa];
    let mut troubles: Vec<Trouble> = faults
        .map(Trouble::Answer)
        .chain(certificates.map(Trouble::Certificate))
        .chain([Trouble::Down])
        .collect();
    // What takes longest is last.
    troubles.sort_by_key(|trouble| *trouble == Trouble::Answer(Fault::RateLimited(None)));
    troubles
}

/// What a trouble with the answers about `target` may come to, with this `on_empty`.
pub(super) fn effect(target: Resource, trouble: &Trouble, on_empty: &str) -> Effect {
    use Effect::{Goes, Guarded, Harmless, Kept};
    let is_list_of_rules = matches!(target, Resource::Firewall | Resource::Vhost);
    let fault = match trouble {
        Trouble::Answer(fault) => fault,
        Trouble::Certificate(_) => return Kept(&["tls"]),
        Trouble::Down => return Kept(&["connect"]),
    };
    match fault {
        Fault::Status(401) => Kept(&["unauthorized"]),
        Fault::Status(403) => Kept(&["permission"]),
        Fault::Status(404) if is_list_of_rules && on_empty == "keep" => Guarded,
        Fault::Status(404) if is_list_of_rules => Goes,
        Fault::Status(404) if is_one(target) => Goes,
        Fault::Status(404) => Kept(&["not_found"]),
        Fault::Status(_) => Kept(&["server"]),
        Fault::RateLimited(_) => Kept(&["rate_limited"]),
        Fault::Hang | Fault::Drip => Kept(&["timeout"]),
        Fault::ResetMidBody | Fault::CloseMidBody => Kept(&["connect"]),
        // Whichever limit comes first.
        Fault::HugeBody(_) => Kept(&["too_large", "timeout"]),
        Fault::RedirectTo(_) => Kept(&["redirect"]),
        Fault::Duplicates if is_list_of_rules => Harmless,
        Fault::NullLists | Fault::EmptyList if is_list_of_rules => Guarded,
        // A page without its list contradicts its own count.
        Fault::NullLists if target.is_paged() => Kept(&["invalid"]),
        Fault::NullLists | Fault::EmptyList => Goes,
        // Of these no number is read.
        Fault::GiantNumbers if matches!(target, Resource::Cluster | Resource::App) => Harmless,
        _ => Kept(&["invalid"]),
    }
}

/// Whether a 404 says that one thing, and which, is gone.
fn is_one(target: Resource) -> bool {
    matches!(
        target,
        Resource::Droplet
            | Resource::TaggedDroplets
            | Resource::Cluster
            | Resource::App
            | Resource::Vpc
    )
}

impl Trouble {
    /// Whether everything else that is asked of the same account goes on: a refused token,
    /// a used-up budget, a certificate and a server that is down are everybody's trouble.
    pub(super) fn spares_others(&self) -> bool {
        match self {
            Self::Answer(fault) => !matches!(fault, Fault::Status(401) | Fault::RateLimited(_)),
            Self::Certificate(_) | Self::Down => false,
        }
    }

    /// What the agent says of it, in part: one of these.
    pub(super) fn words(&self) -> &'static [&'static str] {
        match self {
            Self::Answer(Fault::Status(401)) => &["answered 401"],
            Self::Answer(Fault::Status(403)) => &["answered 403"],
            Self::Answer(Fault::Status(404)) => &["404"],
            Self::Answer(Fault::Status(500)) => &["answered 500"],
            Self::Answer(Fault::Status(502)) => &["answered 502"],
            Self::Answer(Fault::Status(503)) => &["answered 503"],
            // The first time what was answered, then that it was answered.
            Self::Answer(Fault::RateLimited(_)) => &["answered 429", "the request budget"],
            Self::Answer(Fault::Hang | Fault::Drip) => &["no whole answer"],
            Self::Answer(Fault::ResetMidBody | Fault::CloseMidBody) => &["broke"],
            Self::Answer(Fault::Html200) => &["HTML"],
            Self::Answer(Fault::HugeBody(_)) => &["more than", "no whole answer"],
            Self::Answer(Fault::RedirectTo(_)) => &["redirected"],
            Self::Certificate(_) => &["certificate"],
            Self::Down => &["no connection"],
            Self::Answer(_) => &[""],
        }
    }

    /// Whether a text says it.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        self.words().iter().any(|words| text.contains(words))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(fault) => fault.fmt(f),
            Self::Certificate(certificate) => write!(f, "certificate:{}", certificate.name()),
            Self::Down => write!(f, "down"),
        }
    }
}
