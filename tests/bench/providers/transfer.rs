//! The agent's own HTTP client alone, and its reading of answers alone: below what they take
//! no round can come.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use dbfw_provider::{
    http::{HttpClient, HttpConfig, Options, Redirects},
    token::{Token, TokenSource},
};
use dbfw_tests::provider_server::Server;
use dbfw_wire::digitalocean::{DropletPage, Firewall};
use futures_util::{StreamExt as _, stream};
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::Place;

/// Requests one after the other that a first round needs: the list, the first page of
/// droplets, which tells how many there are, and the others, 16 at once.
pub(super) const TURNS: usize = 4;

const TIMES: usize = 7;

/// Asks on a connection of its own each time, as a first round does.
struct Asking {
    runtime: Runtime,
    base: Url,
    http: HttpConfig,
    token: Token,
}

impl Asking {
    fn new(server: &Server) -> Self {
        let http = HttpConfig {
            timeout: super::PATIENCE,
            ca_file: Some(server.ca_file()),
            ..HttpConfig::default()
        };
        Self {
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
            base: server.url().parse().expect("a URL"),
            http,
            token: Token::new(TokenSource::File(server.token_file())),
        }
    }

    fn client(&self) -> HttpClient {
        let client = HttpClient::new(&self.http, Redirects::Refuse);
        client.prepare(&self.base).expect("a client");
        client
    }

    /// The bodies of these, so many at once.
    fn get(&mut self, client: &HttpClient, paths: &[String], at_once: usize) -> Vec<Vec<u8>> {
        let token = self.token.read().expect("the token");
        let ask = |path: &String| {
            let (url, token) = (self.base.join(path).expect("a URL"), &token);
            async move {
                let options = Options {
                    bearer: Some(token),
                    accept: "application/json",
                    max_bytes: 64 << 20,
                    validators: None,
                };
                let answer = client.get(&url, "bench", options).await.expect("an answer");
                assert_eq!(answer.status, 200, "{url}");
                answer.body
            }
        };
        let bodies = stream::iter(paths.iter().map(ask)).buffer_unordered(at_once).collect();
        self.runtime.block_on(bodies)
    }
}

/// How long the answers of a first round over every droplet take, with nothing done but
/// receiving them.
pub(super) fn lists(place: &Place, server: &Server, cluster: &str) -> Vec<Duration> {
    let page = |page: usize| format!("/v2/droplets?page={page}&per_page=200");
    let list = [format!("/v2/databases/{cluster}/firewall")];
    let firsts = [page(1), "/v2/droplets?type=gpus&page=1&per_page=200".to_owned()];
    let count = server.account(|account| account.droplets.len()).div_ceil(200);
    let others: Vec<String> = (2..=count).map(page).collect();
    let mut asking = Asking::new(server);
    place.db.run(move || {
        let mut once = || {
            let client = asking.client();
            let began = Instant::now();
            asking.get(&client, &list, 1);
            asking.get(&client, &firsts, 2);
            asking.get(&client, &others, 16);
            began.elapsed()
        };
        (0..TIMES).map(|_| once()).collect()
    })
}

/// CPU time that receiving a list takes, on a connection that is there.
pub(super) fn cpu_of_receiving(place: &Place, server: &Server, cluster: &str) -> Duration {
    let path = [format!("/v2/databases/{cluster}/firewall")];
    let mut asking = Asking::new(server);
    place.db.run(move || {
        let client = asking.client();
        asking.get(&client, &path, 1);
        let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
        let now = || Duration::from(clock_gettime(clock).expect("this thread's clock"));
        let before = now();
        for _ in 0..TIMES {
            asking.get(&client, &path, 1);
        }
        (now() - before) / TIMES as u32
    })
}

/// One answer.
pub(super) fn body(place: &Place, server: &Server, path: &str) -> Vec<u8> {
    let path = [path.to_owned()];
    let mut asking = Asking::new(server);
    place.db.run(move || {
        let client = asking.client();
        asking.get(&client, &path, 1).remove(0)
    })
}

/// What reading a list takes.
pub(super) fn parse_rules(body: &[u8]) -> Vec<Duration> {
    times(|| serde_json::from_slice::<Firewall>(black_box(body)).expect("rules"))
}

/// What reading a page of droplets takes.
pub(super) fn parse_droplets(body: &[u8]) -> Vec<Duration> {
    times(|| serde_json::from_slice::<DropletPage>(black_box(body)).expect("a page"))
}

fn times<T>(read: impl Fn() -> T) -> Vec<Duration> {
    let once = |_| {
        let began = Instant::now();
        let read = black_box(read());
        let took = began.elapsed();
        drop(read);
        took
    };
    (0..TIMES * 3).map(once).collect()
}
