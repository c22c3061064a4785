//! DigitalOcean's API on loopback, as far as droplets with a tag go: pages, limits, errors.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use dbfw_wire::digitalocean::{Address, Droplet, DropletPage, Links, Meta, Networks, Pages};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::Server;

const TOKEN: &str = "dop_v1_0123456789abcdef";

/// The tag that all droplets have.
pub(crate) const TAG: &str = "backend";

/// The published errors.
const UNAUTHORIZED: &str =
    include_str!("../../../tests/fixtures/digitalocean/errors/unauthorized.json");
const TOO_MANY: &str =
    include_str!("../../../tests/fixtures/digitalocean/errors/too_many_requests.json");

/// A way in which it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unauthorized,
    TooMany,
    Garbage,
    /// The answer is complete, and has no droplet.
    Empty,
}

#[derive(Debug, Default)]
struct Account {
    droplets: u64,
    fault: Option<Fault>,
    /// Lists of the tag that were begun.
    rounds: usize,
}

/// It ends when dropped.
pub(crate) struct DigitalOcean {
    address: SocketAddr,
    account: Arc<Mutex<Account>>,
    task: JoinHandle<()>,
}

/// A field of a query.
fn field(query: &str, name: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(query.as_bytes());
    fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(query: &str, name: &str, usual: u64) -> u64 {
    field(query, name).map_or(usual, |text| text.parse().expect("a number"))
}

fn droplet(id: u64) -> Droplet {
    let address = Address { ip_address: address(id), kind: "private".to_owned() };
    Droplet {
        id,
        name: format!("web-{id}"),
        status: "active".to_owned(),
        networks: Some(Networks { v4: vec![address], v6: Vec::new() }),
        tags: vec![TAG.to_owned()],
        ..Droplet::default()
    }
}

/// The address of a droplet.
pub(crate) fn address(id: u64) -> String {
    format!("10.20.{}.{}", id / 250, id % 250 + 1)
}

async fn droplets(
    State(account): State<Arc<Mutex<Account>>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let query = query.unwrap_or_default();
    let (tag, kind) = (field(&query, "tag_name"), field(&query, "type"));
    let (page, size) = (number(&query, "page", 1), number(&query, "per_page", 20));
    let (all, fault) = {
        let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
        account.rounds += usize::from(tag.as_deref() == Some(TAG) && page == 1);
        (account.droplets, account.fault)
    };
    let expected = format!("Bearer {TOKEN}");
    let is_known = headers.get(header::AUTHORIZATION).is_some_and(|it| it == expected.as_str());
    match fault {
        Some(Fault::Unauthorized) => {
            return (StatusCode::UNAUTHORIZED, json, UNAUTHORIZED).into_response();
        }
        _ if !is_known => return (StatusCode::UNAUTHORIZED, json, UNAUTHORIZED).into_response(),
        Some(Fault::TooMany) => {
            return (StatusCode::TOO_MANY_REQUESTS, json, TOO_MANY).into_response();
        }
        Some(Fault::Garbage) => return (json, r#"{"droplets": [{"id": "#).into_response(),
        Some(Fault::Empty) | None => {}
    }
    let is_wanted = kind.is_none() && tag.is_none_or(|tag| tag == TAG);
    let total = if is_wanted && fault.is_none() { all } else { 0 };
    let shown = ((page - 1) * size + 1..=total.min(page * size)).map(droplet).collect();
    let next = (page * size < total)
        .then(|| format!("http://127.0.0.1/v2/droplets?page={}&per_page={size}", page + 1));
    let pages = next.map(|next| Pages { next: Some(next), ..Pages::default() });
    let page = DropletPage {
        droplets: Some(shown),
        links: Some(Links { pages }),
        meta: Some(Meta { total: Some(total) }),
    };
    (json, serde_json::to_vec(&page).expect("a document")).into_response()
}

impl DigitalOcean {
    /// An account with so many droplets.
    pub(crate) async fn start(droplets_of_it: u64) -> Self {
        let account = Account { droplets: droplets_of_it, ..Account::default() };
        let account = Arc::new(Mutex::new(account));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/v2/droplets", get(droplets)).with_state(Arc::clone(&account));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, account, task }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the number of droplets.
    pub(crate) fn has(&self, droplets: u64) {
        self.change(|account| account.droplets = droplets);
    }

    pub(crate) fn fails(&self, fault: Option<Fault>) {
        self.change(|account| account.fault = fault);
    }

    /// The times that the tag was asked for.
    pub(crate) fn rounds(&self) -> usize {
        self.change(|account| account.rounds)
    }

    /// A server that was set up to ask it, with more in its configuration, and does not run.
    pub(crate) fn server(&self, more: &str) -> Server {
        let server = Server::set_up("wait = \"0s\"");
        let token = server.path("do-token");
        write_secret(&token, TOKEN);
        server.configure(&format!(
            "wait = \"0s\"\nmetrics_listen = \"127.0.0.1:0\"\n[digitalocean]\napi_url = \"http://{}\"\ntoken_file = {token:?}\n\
             poll = \"200ms\"\nrequests_per_hour = 1000000\nrequests_per_minute = 100000\n{more}",
            self.address
        ));
        server
    }
}

impl Drop for DigitalOcean {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes a file that nobody else may read.
pub(crate) fn write_secret(path: &PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
