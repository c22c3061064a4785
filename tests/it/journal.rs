use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{Pair, interfaces, orders},
};

/// The fields of a record in journald's native protocol, each of them with its length.
fn fields(record: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = record;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        if let Some((name, value)) = name.split_once('=') {
            fields.push((name.to_owned(), value.to_owned()));
            rest = &rest[end + 1..];
            continue;
        }
        let length = rest[end + 1..end + 9].try_into().expect("eight bytes of length");
        let length = usize::try_from(u64::from_le_bytes(length)).expect("a length");
        let value = &rest[end + 9..end + 9 + length];
        fields.push((name, String::from_utf8_lossy(value).into_owned()));
        rest = &rest[end + 9 + length + 1..];
    }
    fields
}

/// `journalctl -u dbfw` shows texts alone.
#[test]
fn the_journal_has_the_facts_in_the_text_and_in_fields() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    let directory = host.path("journal");
    fs::create_dir(&directory).expect("a directory");
    let journal = UnixDatagram::bind(directory.join("socket")).expect("journald's socket");
    journal.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let script = format!(
        "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/journal \
         && mount --bind {} /run/systemd/journal && DBFW_LOG_FORMAT=journald exec \"$@\"",
        directory.display()
    );
    host.spawn_through(&[
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ]);

    let mut records = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        let length = journal.recv(&mut buffer).expect("a record of the agent's");
        let record = fields(&buffer[..length]);
        let is_last =
            record.iter().any(|(name, value)| name == "MESSAGE" && value.starts_with("ready"));
        records.push(record);
        if is_last {
            break;
        }
    }
    let field = |record: &[(String, String)], name: &str| {
        record.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    };
    let record = |begins: &str| {
        let found = records.iter().find(|record| {
            field(record, "MESSAGE").is_some_and(|message| message.starts_with(begins))
        });
        found.unwrap_or_else(|| panic!("no record {begins:?} in {records:#?}"))
    };
    let attached = record("attached ");
    let message = field(attached, "MESSAGE").expect("a text");
    assert!(message.contains("interface=db0") && message.contains("mode=\"native\""), "{message}");
    assert_eq!(field(attached, "F_INTERFACE").as_deref(), Some("db0"));
    assert_eq!(field(attached, "F_MODE").as_deref(), Some("native"));
    let changed = field(record("the policy changed "), "MESSAGE").expect("a text");
    assert!(changed.contains("generation=1 added=1 removed=0"), "{changed}");
}
