//! Edits at once: none is lost, and of those with one condition one is made.

use std::{sync::Barrier, thread};

use super::{
    Table,
    client::{Api, Client},
};

/// Times that edits run at once.
const RUNS: usize = 20;
/// Clients with one ETag.
const RACING: usize = 20;
/// The database of these edits; no host reads its list.
const DATABASE: &str = "appends";

pub(super) fn run(api: &Api, table: &mut Table) {
    for clients in [10, 50] {
        let (mut kept, mut gaps) = (0, 0);
        for _ in 0..RUNS {
            let outcome = append(api, clients);
            kept += usize::from(outcome.0);
            gaps += usize::from(!outcome.1);
        }
        table.row(
            &format!("{clients} appends at once without If-Match, {RUNS} runs"),
            "all kept, versions without gaps",
            &format!("all kept in {kept}, gaps in {gaps}"),
        );
    }
    let mut right = 0;
    for run in 0..RUNS {
        let (made, refused) = race(api, run);
        right += usize::from((made, refused) == (1, RACING - 1));
    }
    table.row(
        &format!("{RACING} PUTs at once with one ETag, {RUNS} runs"),
        "one 204, nineteen 412",
        &format!("so in {right}"),
    );
}

/// Runs clients at once, each on a connection of its own that is there before.
fn at_once<T: Send>(
    api: &Api,
    clients: usize,
    run: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(clients);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let (barrier, run) = (&barrier, &run);
                scope.spawn(move || {
                    let mut client = api.connect();
                    barrier.wait();
                    run(number, &mut client)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    })
}

/// The version of the list, by its ETag.
fn version(client: &mut Client) -> (u64, String) {
    let answer = client.get(&format!("/v2/databases/{DATABASE}/firewall")).expect(200);
    let tag = answer.header("etag").expect("an ETag").to_owned();
    let digits = tag.trim_matches('"').split('-').next().expect("a version");
    (digits.parse().expect("a number"), tag)
}

/// Whether all that clients append at once is kept, and whether each made one version.
fn append(api: &Api, clients: usize) -> (bool, bool) {
    let mut editor = api.connect();
    editor.put(DATABASE, &[], "").expect(204);
    let (before, _) = version(&mut editor);
    let value = |number: usize| format!("192.0.2.{number}");
    at_once(api, clients, |number, client| client.append(DATABASE, &value(number)).expect(204));
    let mut kept = editor.values(DATABASE);
    kept.sort();
    let mut wanted: Vec<String> = (0..clients).map(value).collect();
    wanted.sort();
    let (after, _) = version(&mut editor);
    let path = format!("/api/v1/databases/{DATABASE}/changes?limit={clients}");
    let changes = editor.get(&path).expect(200).json();
    let versions: Vec<u64> = changes["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["version"].as_u64())
        .collect();
    let expected: Vec<u64> = (before + 1..=before + clients as u64).rev().collect();
    (kept == wanted, after == before + clients as u64 && versions == expected)
}

/// Clients that were answered with 204 and 412.
fn race(api: &Api, run: usize) -> (usize, usize) {
    let (_, tag) = version(&mut api.connect());
    let condition = format!("If-Match: {tag}\r\n");
    let statuses = at_once(api, RACING, |number, client| {
        // Another list in each run: one that is there already would change nothing.
        client.put(DATABASE, &[format!("198.51.{run}.{number}")], &condition).status
    });
    let count = |status| statuses.iter().filter(|known| **known == status).count();
    (count(204), count(412))
}
