//! Keys, values and revisions as etcd has them.

use etcd_client::{GetOptions, KeyValue, KvClient};

use super::{
    super::txn::{Entry, PATIENCE, Revision, StoreError},
    members::{Members, Repeat},
};

/// Bytes of an answer. etcd takes 1.5 MiB a commit unless it is told otherwise.
pub(super) const MAX_ANSWER: usize = 256 << 20;

/// Above the keys that are held, which are no content.
pub(super) const LEASES: &str = "leases/";

/// The last revision of an etcd, from its leader.
pub(super) async fn revision(members: &Members, prefix: &str) -> Result<Revision, StoreError> {
    let look = |client| {
        let prefix = prefix.to_owned();
        async move { kv(&client).get(prefix, Some(GetOptions::new().with_count_only())).await }
    };
    let found = members.ask(Repeat::Safe, PATIENCE, look).await?;
    Ok(found.header().map_or_else(Revision::default, header))
}

pub(super) fn kv(client: &etcd_client::Client) -> KvClient {
    client.kv_client().max_decoding_message_size(MAX_ANSWER)
}

pub(super) fn header(header: &etcd_client::ResponseHeader) -> Revision {
    Revision(unsigned(header.revision()))
}

/// The number of one of etcd's revisions, which are never negative.
pub(super) fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn entry(found: &KeyValue) -> Entry {
    Entry { value: found.value().into(), revision: Revision(unsigned(found.mod_revision())) }
}

/// A key without the prefix. Nobody else writes below it, and no other than text.
pub(super) fn own(prefix: &str, key: &[u8]) -> Option<String> {
    std::str::from_utf8(key).ok()?.strip_prefix(prefix).map(str::to_owned)
}

/// The end of the range of the keys that begin with a prefix.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Text has no byte 255.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
