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

/// Lists that may have more than one page.
pub(super) const LONG: [Resource; 3] =
    [Resource::Droplets, Resource::TaggedDroplets, Resource::GpuDroplets];

/// In what something goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The kind of answer.
    pub(super) target: Resource,
    /// Whether it takes more than one page.
    pub(super) is_long: bool,
    /// As the configuration has it.
    pub(super) on_empty: &'static str,
}

/// Something that is wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// With the answers about one kind of thing.
    Answer(Fault),
    /// With every second page of a list.
    SecondPage(Fault),
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
pub(super) fn troubles(setting: Setting, elsewhere: &str) -> Vec<Trouble> {
    if setting.is_long {
        return troubles_of_pages(elsewhere);
    }
    let faults = Fault::samples(elsewhere).into_iter();
    let faults = faults.filter(|fault| fault.applies_to(setting.target)).map(|fault| match fault {
        Fault::RateLimited(Some(_)) => Fault::RateLimited(Some(Duration::from_secs(1))),
        fault => fault,
    });
    let certificates = [Certificate::Expired, Certificate::WrongName, Certificate::UnknownCa];
    faults
        .map(Trouble::Answer)
        .chain(certificates.map(Trouble::Certificate))
        .chain([Trouble::Down])
        .collect()
}

/// What only lists of several pages show.
fn troubles_of_pages(elsewhere: &str) -> Vec<Trouble> {
    let lists = [
        Fault::MissingPage { page: 2, empty: false },
        Fault::MissingPage { page: 2, empty: true },
        Fault::EndlessNext,
        Fault::NextTo(elsewhere.to_owned()),
        Fault::Duplicates,
        Fault::Contradictory,
    ];
    let second = [
        Fault::Status(404),
        Fault::Status(500),
        Fault::ResetMidBody,
        Fault::TruncatedJson,
        Fault::Html200,
        Fault::WrongType,
        Fault::NullLists,
        Fault::EmptyList,
        Fault::RedirectTo(elsewhere.to_owned()),
    ];
    let lists = lists.into_iter().map(Trouble::Answer);
    lists.chain(second.into_iter().map(Trouble::SecondPage)).collect()
}

/// What a trouble may come to.
pub(super) fn effect(setting: Setting, trouble: &Trouble) -> Effect {
    use Effect::{Goes, Guarded, Harmless, Kept};
    let Setting { target, on_empty, .. } = setting;
    let is_list_of_rules = matches!(target, Resource::Firewall | Resource::Vhost);
    let fault = match trouble {
        Trouble::Answer(fault) => fault,
        // A page of a list that exists is not gone, and the list is not empty.
        Trouble::SecondPage(Fault::Status(404) | Fault::NullLists | Fault::EmptyList) => {
            return Kept(&["invalid"]);
        }
        Trouble::SecondPage(fault) => fault,
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
            Self::SecondPage(_) => true,
            Self::Certificate(_) | Self::Down => false,
        }
    }

    /// Whether something is said not to exist.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Self::Answer(fault) | Self::SecondPage(fault) => {
                matches!(fault, Fault::Status(404) | Fault::MissingPage { empty: false, .. })
            }
            Self::Certificate(_) | Self::Down => false,
        }
    }

    /// Whether the agent takes its time after it.
    pub(super) fn is_long(&self) -> bool {
        *self == Self::Answer(Fault::RateLimited(None))
    }

    /// What the agent says of it, in part: one of these.
    pub(super) fn words(&self) -> &'static [&'static str] {
        let fault = match self {
            Self::Answer(fault) | Self::SecondPage(fault) => fault,
            Self::Certificate(_) => return &["certificate"],
            Self::Down => return &["no connection"],
        };
        match fault {
            Fault::Status(401) => &["answered 401"],
            Fault::Status(403) => &["answered 403"],
            Fault::Status(404) => &["404"],
            Fault::Status(500) => &["answered 500"],
            Fault::Status(502) => &["answered 502"],
            Fault::Status(503) => &["answered 503"],
            // The first time what was answered, then that it was answered.
            Fault::RateLimited(_) => &["answered 429", "the request budget"],
            Fault::Hang | Fault::Drip => &["no whole answer"],
            Fault::ResetMidBody | Fault::CloseMidBody => &["broke"],
            Fault::Html200 => &["HTML"],
            Fault::HugeBody(_) => &["more than", "no whole answer"],
            Fault::RedirectTo(_) => &["redirected"],
            _ => &[""],
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
            Self::SecondPage(fault) => write!(f, "page 2: {fault}"),
            Self::Certificate(certificate) => write!(f, "certificate:{}", certificate.name()),
            Self::Down => write!(f, "down"),
        }
    }
}
