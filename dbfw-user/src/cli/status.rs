//! `dbfw status`: shows whether the host is protected, by the agent or by the pins.

use std::{collections::BTreeSet, path::Path};

use dbfw_core::{Port, PortRange};
use dbfw_datapath::LocalRoutes;
use dbfw_wire::control::{DatabaseStatus, Enforced, Mode, Protection, Request, Status};

use super::{context::Context, exit::Exit, message::note};
use crate::{
    nat::{Forward, NatRules},
    readers::offline,
    sockets::waiting_below,
};

pub(super) fn status(context: &Context) -> anyhow::Result<Exit> {
    let mut status: Status = context.ask_or_look(
        |agent| Ok(agent.call(&Request::Status {})?),
        // That there is no agent is part of the answer.
        |config, unanswered| offline::status(config, &context.socket(), unanswered),
    )?;
    look_around(&mut status);
    context.show(&status)?;
    let holds = status.protection == Protection::Yes;
    Ok(if holds { Exit::Ok } else { Exit::Failure })
}

/// Adds what the agent may not list: NAT rules, by which connections pass the programs, and ports that
/// nothing uses.
fn look_around(status: &mut Status) {
    let listening = waiting_below(Path::new("/")).map(|socket| socket.port).collect();
    add_unused(status, &listening, Some(&[]));
    let has_unused = |database: &DatabaseStatus| {
        database.unused_ports.as_ref().is_some_and(|ports| !ports.is_empty())
    };
    // The rules are listed by other programs, and are for nothing else.
    if status.passed_on_unjudged.is_empty() && !status.databases.iter().any(has_unused) {
        return;
    }
    let forwards = match NatRules::read() {
        Ok(rules) => {
            let forwards = Forward::all(&rules);
            add_forwards(status, &elsewhere(&forwards));
            add_unread(status, &Forward::unread(&rules));
            Some(forwards)
        }
        Err(why) => {
            if !status.passed_on_unjudged.is_empty() && !status.databases.is_empty() {
                let by = status.passed_on_unjudged.join(", ");
                note(&format!(
                    "whether a NAT rule passes on what enters by {by}, as for a published port of a \
                     container, is not known: {why}"
                ));
            }
            None
        }
    };
    add_unused(status, &listening, forwards.as_deref());
}

/// The rules that pass packets on to another machine or container.
fn elsewhere(forwards: &[Forward]) -> Vec<&Forward> {
    if forwards.is_empty() {
        return Vec::new();
    }
    let own = LocalRoutes::read_now().unwrap_or_default();
    forwards.iter().filter(|rule| !own.holds(rule.to())).collect()
}

/// Adds the rules that pass a database's ports on from interfaces without a program.
fn add_forwards(status: &mut Status, forwards: &[&Forward]) {
    for rule in forwards {
        let by = status.passed_on_unjudged.iter().filter(|name| rule.is_of(name));
        let by: Vec<&str> = by.map(String::as_str).collect();
        if by.is_empty() {
            continue;
        }
        let by = by.join(", ");
        let enforced = status.databases.iter_mut().filter(|found| found.mode == Mode::Enforce);
        for database in enforced {
            let taken = taken(database, rule);
            if taken.is_empty() {
                continue;
            }
            let opening = format!(
                "a NAT rule passes {} on to {}, and what comes in by {by} meets no program",
                taken.join(", "),
                rule.to()
            );
            let are = if taken.len() == 1 { "is" } else { "are" };
            status.problems.push(format!(
                "{}: {opening}: {} {are} open to whoever comes in there: add the interfaces to \
                 interfaces in [agent]",
                database.name,
                taken.join(", ")
            ));
            database.openings.push(opening);
            if database.enforced == Enforced::Yes {
                database.enforced = Enforced::Partly;
            }
        }
    }
    status.enforced = Enforced::of(&status.databases);
    status.protected = status.protection == Protection::Yes && status.enforced == Enforced::Yes;
}

/// Adds that rules could not be read which may pass on a database's port.
fn add_unread(status: &mut Status, unread: &[String]) {
    let is_enforced = |database: &DatabaseStatus| database.mode == Mode::Enforce;
    if unread.is_empty()
        || status.passed_on_unjudged.is_empty()
        || !status.databases.iter().any(is_enforced)
    {
        return;
    }
    status.problems.push(format!(
        "NAT rules that dbfw cannot read may pass a database's port on, and what comes in by {} meets \
         no program then: dbfw doctor names them",
        status.passed_on_unjudged.join(", ")
    ));
}

/// The ports of a database that a rule takes, as the status names them.
fn taken(database: &DatabaseStatus, rule: &Forward) -> Vec<String> {
    let ports = database.ports.iter();
    ports.filter(|ports| each_port(ports).any(|port| rule.takes(port))).cloned().collect()
}

/// Adds which ports of the databases no socket waits on and no rule passes on. `forwards`: `None` if
/// the rules cannot be listed.
fn add_unused(status: &mut Status, listening: &BTreeSet<Port>, forwards: Option<&[Forward]>) {
    for database in &mut status.databases {
        let at_this_host = database.addresses.is_empty()
            || database.addresses.iter().any(|address| address == "local");
        if database.mode == Mode::Off || !at_this_host {
            continue;
        }
        let is_used = |ports: &String| {
            each_port(ports).any(|port| {
                listening.contains(&port)
                    || forwards.is_some_and(|all| all.iter().any(|rule| rule.takes(port)))
            })
        };
        let unused: Vec<String> =
            database.ports.iter().filter(|ports| !is_used(ports)).cloned().collect();
        // A rule that is not known may use them.
        let is_known =
            unused.is_empty() || forwards.is_some() || status.passed_on_unjudged.is_empty();
        database.unused_ports = is_known.then_some(unused);
    }
}

fn each_port(ports: &str) -> impl Iterator<Item = Port> + use<> {
    let range: Option<PortRange> = ports.parse().ok();
    range.into_iter().flat_map(|range| range.iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    fn rules(listing: &str) -> Vec<Forward> {
        let chain = format!("table ip nat {{\n\tchain pre {{\n\t\t{listing}\n\t}}\n}}\n");
        Forward::all(&NatRules { nft: Some(chain), ..NatRules::default() })
    }

    /// A status whose only database has these ports and addresses.
    fn status(ports: &[&str], addresses: &[&str]) -> Status {
        let mut status = samples::status();
        status.databases.truncate(1);
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        for database in &mut status.databases {
            database.mode = Mode::Enforce;
            database.enforced = Enforced::Yes;
            (database.ports, database.addresses) = (owned(ports), owned(addresses));
        }
        status
    }

    #[test]
    fn a_port_that_is_passed_on_past_the_programs_is_an_opening() {
        let of_eth1 = "iifname \"eth1\" tcp dport 5432 dnat to 172.17.0.2";
        let of_all = "tcp dport 6000-6500 dnat to 172.17.0.2";
        for (listing, without_program, ports, is_open) in [
            (of_eth1, &["eth1"][..], "tcp/5432", true),
            (of_eth1, &["eth2"], "tcp/5432", false),
            (of_eth1, &[], "tcp/5432", false),
            (of_eth1, &["eth1"], "udp/5432", false),
            (of_eth1, &["eth1"], "tcp/6432", false),
            (of_all, &["eth1", "eth2"], "tcp/6432-6440", true),
            (of_all, &["eth1"], "tcp/6600", false),
        ] {
            let mut status = status(&[ports], &[]);
            status.passed_on_unjudged = without_program.iter().map(|&n| n.to_owned()).collect();
            let all = rules(listing);
            add_forwards(&mut status, &all.iter().collect::<Vec<_>>());
            let database = &status.databases[0];
            let wanted = if is_open { Enforced::Partly } else { Enforced::Yes };
            assert_eq!(database.enforced, wanted, "{listing} {ports}");
            assert_eq!((status.enforced, status.protected), (wanted, !is_open));
            assert_eq!(database.openings.len(), usize::from(is_open));
            assert_eq!(status.problems.len(), usize::from(is_open), "{:?}", status.problems);
        }
    }

    #[test]
    fn a_port_is_unused_where_no_socket_and_no_rule_has_it() {
        let tcp = |port| Port { udp: false, port };
        let forwards = rules("tcp dport 5433 dnat to 172.17.0.2");
        for (ports, addresses, forwards, expected) in [
            (&["tcp/5432"][..], &[][..], Some(&*forwards), Some(&[][..])),
            (&["tcp/5432", "tcp/5433"], &["local"], Some(&*forwards), Some(&[])),
            (&["tcp/5432", "tcp/5434"], &[], Some(&*forwards), Some(&["tcp/5434"])),
            (&["udp/5432"], &[], Some(&*forwards), Some(&["udp/5432"])),
            (&["tcp/5430-5440"], &[], Some(&*forwards), Some(&[])),
            // It may be at another machine.
            (&["tcp/5434"], &["198.51.100.7"], Some(&*forwards), None),
            // A rule that cannot be listed may pass it on.
            (&["tcp/5434"], &[], None, None),
            (&["tcp/5432"], &[], None, Some(&[])),
        ] {
            let mut status = status(ports, addresses);
            status.passed_on_unjudged = vec!["eth1".to_owned()];
            add_unused(&mut status, &[tcp(5432)].into(), forwards);
            let unused = status.databases[0].unused_ports.as_deref();
            assert_eq!(
                unused.map(<[String]>::to_vec),
                expected.map(|e: &[&str]| e.iter().map(|&t| t.to_owned()).collect()),
                "{ports:?} {addresses:?}"
            );
        }
        let mut off = status(&["tcp/5434"], &[]);
        off.databases[0].mode = Mode::Off;
        add_unused(&mut off, &BTreeSet::new(), Some(&[]));
        assert_eq!(off.databases[0].unused_ports, None);
    }
}
