//! A request as the API's handlers see it, the kinds of requests, and the log of them.

use axum::http::{HeaderMap, Method, header, request::Parts};
use jiff::Timestamp;
use serde_json::Value;
use url::form_urlencoded;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `/v2/databases/{uuid}/firewall`
    Firewall,
    /// `/v2/droplets`, without a tag or a type
    Droplets,
    /// `/v2/droplets/{id}`
    Droplet,
    /// `/v2/droplets?tag_name=…`
    TaggedDroplets,
    /// `/v2/droplets?type=gpus`
    GpuDroplets,
    /// `/v2/kubernetes/clusters`
    Clusters,
    /// `/v2/kubernetes/clusters/{id}`
    Cluster,
    /// `/v2/kubernetes/clusters/{id}/node_pools/…`
    NodePools,
    /// `/v2/apps`
    Apps,
    /// `/v2/apps/{id}`
    App,
    /// `/v2/vpcs`
    Vpcs,
    /// `/v2/vpcs/{id}`
    Vpc,
    /// `/v2/vpcs/{id}/members`
    VpcMembers,
    /// `/v2/tags/…`
    Tags,
    /// Aptible's `/vhosts/{id}`
    Vhost,
    /// `/feed/{name}`
    Feed,
    /// What the server does not know.
    Other,
}

impl Resource {
    /// Everything the server knows.
    pub const ALL: [Self; 16] = [
        Self::Firewall,
        Self::Droplets,
        Self::Droplet,
        Self::TaggedDroplets,
        Self::GpuDroplets,
        Self::Clusters,
        Self::Cluster,
        Self::NodePools,
        Self::Apps,
        Self::App,
        Self::Vpcs,
        Self::Vpc,
        Self::VpcMembers,
        Self::Tags,
        Self::Vhost,
        Self::Feed,
    ];

    /// Its name in the control protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firewall => "firewall",
            Self::Droplets => "droplets",
            Self::Droplet => "droplet",
            Self::TaggedDroplets => "tagged-droplets",
            Self::GpuDroplets => "gpu-droplets",
            Self::Clusters => "clusters",
            Self::Cluster => "cluster",
            Self::NodePools => "node-pools",
            Self::Apps => "apps",
            Self::App => "app",
            Self::Vpcs => "vpcs",
            Self::Vpc => "vpc",
            Self::VpcMembers => "vpc-members",
            Self::Tags => "tags",
            Self::Vhost => "vhost",
            Self::Feed => "feed",
            Self::Other => "other",
        }
    }

    /// Whether its answers come in pages.
    pub const fn is_paged(self) -> bool {
        matches!(
            self,
            Self::Droplets
                | Self::TaggedDroplets
                | Self::GpuDroplets
                | Self::Clusters
                | Self::Apps
                | Self::Vpcs
                | Self::VpcMembers
                | Self::Tags
        )
    }

    fn of(segments: &[&str], query: &[(String, String)]) -> Self {
        let has = |name: &str| query.iter().any(|(key, _)| key == name);
        match segments {
            ["v2", "databases", _, "firewall"] => Self::Firewall,
            ["v2", "droplets"] if has("tag_name") => Self::TaggedDroplets,
            ["v2", "droplets"] if query.iter().any(|(k, v)| k == "type" && v == "gpus") => {
                Self::GpuDroplets
            }
            ["v2", "droplets"] => Self::Droplets,
            ["v2", "droplets", _] => Self::Droplet,
            ["v2", "kubernetes", "clusters"] => Self::Clusters,
            ["v2", "kubernetes", "clusters", _] => Self::Cluster,
            ["v2", "kubernetes", "clusters", _, "node_pools", ..] => Self::NodePools,
            ["v2", "apps"] => Self::Apps,
            ["v2", "apps", _] => Self::App,
            ["v2", "vpcs"] => Self::Vpcs,
            ["v2", "vpcs", _] => Self::Vpc,
            ["v2", "vpcs", _, "members"] => Self::VpcMembers,
            ["v2", "tags", ..] => Self::Tags,
            ["vhosts", _] => Self::Vhost,
            ["feed", _] => Self::Feed,
            _ => Self::Other,
        }
    }
}

/// Whose token a request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// No `Authorization` at all.
    Absent,
    /// The account's token.
    Right,
    /// Something else.
    Wrong,
}

/// A request the server has seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// "GET".
    pub method: String,
    /// "/v2/droplets".
    pub path: String,
    /// "tag_name=backend&page=2", without the question mark.
    pub query: String,
    /// What it is about.
    pub resource: Resource,
    /// Whose token it carried.
    pub authorization: Authorization,
    /// Whether it asked only for what changed.
    pub is_conditional: bool,
    /// The status it was given; none where it got no answer.
    pub status: Option<u16>,
}

/// A request with its path and query taken apart.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) raw_query: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) resource: Resource,
    pub(super) headers: HeaderMap,
    /// "https://127.0.0.1:8443": how the client reached the server.
    pub(super) base: String,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(parts: Parts, scheme: &str, fallback: &str, body: Vec<u8>) -> Self {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let query: Vec<_> = form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
        let path = parts.uri.path().to_owned();
        let mut request = Self {
            method: parts.method,
            base: format!("{scheme}://{}", host.unwrap_or(fallback)),
            path,
            raw_query,
            query,
            resource: Resource::Other,
            headers: parts.headers,
            body,
        };
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        request.resource = Resource::of(&segments, &request.query);
        request
    }

    /// The path's parts, decoded.
    pub(super) fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The URL of this request with another page.
    pub(super) fn url_of_page(&self, page: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("page", &page.to_string());
        query.extend_pairs(self.query.iter().filter(|(name, _)| name != "page"));
        format!("{}{}?{}", self.base, self.path, query.finish())
    }

    /// The same request for another page.
    pub(super) fn for_page(&self, page: u64) -> Self {
        let mut other = self.clone();
        other.query.retain(|(name, _)| name != "page");
        other.query.push(("page".to_owned(), page.to_string()));
        other
    }

    /// Compares the token it carries.
    pub(super) fn authorization(&self, token: &str) -> Authorization {
        match self.headers.get(header::AUTHORIZATION) {
            None => Authorization::Absent,
            Some(value) if value.as_bytes() == format!("Bearer {token}").as_bytes() => {
                Authorization::Right
            }
            Some(_) => Authorization::Wrong,
        }
    }
}

/// Undoes percent encoding; what is none stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        match rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + 3..];
            }
            None => {
                bytes.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
