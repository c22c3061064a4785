//! `pg_hba.conf` as a list.

use super::imported::{Imported, Left};
use crate::{
    hba::{Address, Line, Method, Rules},
    source::Prefix,
};

/// The lines for hosts, as a list.
pub fn import_hba(rules: &Rules) -> Vec<Imported> {
    rules.lines().iter().map(import).collect()
}

fn import(line: &Line) -> Imported {
    let left = |why| Imported::Left { what: format!("line {}: {line}", line.place().line), why };
    let prefixes = match line.address() {
        None => return left(Left::Local),
        Some(_) if line.method() == Method::Reject => return left(Left::Refuses),
        Some(Address::All) => vec![Prefix::ANY4, Prefix::ANY6],
        Some(Address::SameHost | Address::SameNet) => return left(Left::Own),
        Some(Address::Name(_)) => return left(Left::Name),
        Some(Address::Zoned(_)) => return left(Left::NoNetwork),
        Some(Address::Net(net)) => match net.length() {
            Some(length) => {
                let prefix = Prefix::new(net.address(), length);
                if prefix.is_v4() != net.address().is_ipv4() {
                    return left(Left::Mapped);
                }
                vec![prefix]
            }
            None => return left(Left::NoNetwork),
        },
    };
    Imported::of(prefixes, format!("line {}: {line}", line.place().line))
}
