//! Databases and their ports, as DATABASES and PORTS hold them.

use std::collections::BTreeMap;

use dbfw_common::{Database, HOST, MAX_NAME, Mode, PORT_WORDS, port_slot};
use dbfw_core::Port;

/// A database as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSlot {
    /// 1..=64.
    pub id: u8,
    /// At most [`MAX_NAME`] bytes.
    pub name: String,
    /// The treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Protected ports.
    pub ports: Vec<Port>,
}

/// The slots of DATABASES that are in use.
pub(crate) fn database_slots(databases: &[DatabaseSlot], flags: u32) -> BTreeMap<u32, Database> {
    let strictest = databases.iter().map(|database| database.mode).max();
    let mut slots = BTreeMap::from([(
        HOST,
        Database { mode: strictest.unwrap_or(Mode::Off) as u32, flags, name: [0; MAX_NAME] },
    )]);
    for database in databases {
        let mut name = [0; MAX_NAME];
        let bytes = database.name.as_bytes();
        let len = bytes.len().min(MAX_NAME);
        name[..len].copy_from_slice(&bytes[..len]);
        slots.insert(
            u32::from(database.id),
            Database { mode: database.mode as u32, flags: 0, name },
        );
    }
    slots
}

/// The words of PORTS that say which database each port belongs to, whatever its mode.
pub(crate) fn port_words(databases: &[DatabaseSlot]) -> Vec<u64> {
    let mut words = vec![0u64; PORT_WORDS as usize];
    for database in databases {
        for port in &database.ports {
            let (word, byte) = port_slot(port.udp, port.port);
            words[word as usize] |= u64::from(database.id) << (byte * 8);
        }
    }
    words
}

/// The ports of each database, from the words of PORTS.
pub(crate) fn ports_of(words: &[u64]) -> BTreeMap<u32, Vec<Port>> {
    let mut ports: BTreeMap<u32, Vec<Port>> = BTreeMap::new();
    for (word, ids) in (0u32..).zip(words).filter(|(_, ids)| **ids != 0) {
        for (byte, id) in (0u32..).zip(ids.to_le_bytes()).filter(|(_, id)| *id != 0) {
            let index = word * 8 + byte;
            let port = Port { udp: index >> 16 != 0, port: index as u16 };
            ports.entry(u32::from(id)).or_default().push(port);
        }
    }
    ports
}

/// The database in a slot of DATABASES; `None` if the slot is free.
pub(crate) fn database_of(id: u8, slot: &Database, ports: Vec<Port>) -> Option<DatabaseSlot> {
    let name = name_of(slot);
    let mode = Mode::from_u8(slot.mode as u8).unwrap_or(Mode::Off);
    (!name.is_empty()).then_some(DatabaseSlot { id, name, mode, ports })
}

/// The name in a slot of DATABASES; empty if the slot is free.
pub(crate) fn name_of(database: &Database) -> String {
    let len = database.name.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME);
    String::from_utf8_lossy(&database.name[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let ports = |udp, tcp| vec![Port { udp: false, port: tcp }, Port { udp: true, port: udp }];
        let databases = [
            DatabaseSlot { id: 1, name: "a".into(), mode: Mode::Observe, ports: ports(1, 65535) },
            DatabaseSlot { id: 2, name: "c".into(), mode: Mode::Off, ports: ports(7, 7) },
            DatabaseSlot {
                id: 64,
                name: "b".repeat(MAX_NAME),
                mode: Mode::Enforce,
                ports: ports(65535, 1),
            },
        ];
        let slots = database_slots(&databases, 0);
        assert_eq!(slots[&HOST].mode, Mode::Enforce as u32);
        let mut known = ports_of(&port_words(&databases));
        for database in databases {
            let ports = known.remove(&u32::from(database.id)).unwrap();
            let found = database_of(database.id, &slots[&u32::from(database.id)], ports);
            assert_eq!(found, Some(database));
        }
        assert!(known.is_empty());
    }
}
