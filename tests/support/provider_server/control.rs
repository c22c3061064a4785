//! The control protocol: a line is a command, and gets a line.

use std::{net::IpAddr, str::FromStr, time::Duration};

use super::{Account, Certificate, Fault, On, Resource, Server};

/// The commands, for who asks with `help`.
pub const HELP: &str = "tag ID TAG, untag ID TAG, droplet add NAME ADDRESS[,ADDRESS] [TAG...], \
    droplet rm ID, rule add DATABASE TYPE VALUE, rule rm DATABASE TYPE VALUE, rules DATABASE, \
    pool CLUSTER POOL COUNT, reserve ADDRESS[,ADDRESS], provisioning SECONDS|manual, provision, \
    fault FAULT [resource=R] [path=P] [method=M] [query=NAME=VALUE] [times=N], fault clear, \
    certificate good|expired|wrong-name|unknown-ca, etags on|off, down, up, requests, help, quit";

/// Carries out a command; `Ok` is what there is to say, which may be nothing. `quit` is for
/// the caller.
pub fn command(server: &Server, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["droplet", "add", name, addresses, tags @ ..] => {
            let addresses = list(addresses)?;
            Ok(server.account(|account| account.add_droplet(name, tags, &addresses)).to_string())
        }
        ["rules", database] => server.account(|account| {
            known(account, database)?;
            Ok(account.rules(database).join(" "))
        }),
        ["requests"] => Ok(server
            .counts()
            .iter()
            .map(|(resource, count)| format!("{}={count}", resource.name()))
            .collect::<Vec<_>>()
            .join(" ")),
        ["help"] => Ok(HELP.to_owned()),
        ["fault" | "certificate" | "down" | "up", ..] => {
            wrong(server, &words).map(|()| String::new())
        }
        _ => server.account(|account| change(account, &words)).map(|()| String::new()),
    }
}

/// Commands after which something is wrong, or right again.
fn wrong(server: &Server, words: &[&str]) -> Result<(), String> {
    match words {
        ["fault", "clear"] => server.clear_faults(),
        ["fault", fault, on @ ..] => {
            let (on, fault) = (on_of(on)?, fault.parse::<Fault>()?);
            server.inject(on, fault);
        }
        ["certificate", name] => {
            let found = Certificate::ALL.into_iter().find(|known| known.name() == *name);
            server.show(found.ok_or_else(|| format!("there is no certificate {name}"))?);
        }
        ["down"] => server.down(),
        ["up"] => server.up(),
        _ => return Err(unknown(words)),
    }
    Ok(())
}

/// Commands that change the account.
fn change(account: &mut Account, words: &[&str]) -> Result<(), String> {
    match words {
        ["tag", id, tag] => account.tag_droplet(droplet(account, id)?, tag),
        ["untag", id, tag] => account.untag_droplet(droplet(account, id)?, tag),
        ["droplet", "rm", id] => account.remove_droplet(droplet(account, id)?),
        ["rule", "add", database, kind, value] => {
            known(account, database)?;
            account.add_rule(database, kind, value);
        }
        ["rule", "rm", database, kind, value] => {
            known(account, database)?;
            if !account.remove_rule(database, kind, value) {
                return Err(format!("{database} has no rule {kind}:{value}"));
            }
        }
        ["pool", cluster, pool, count] => {
            let count = number(count)?;
            let (cluster, pool) = find_pool(account, cluster, pool)?;
            account.resize_pool(&cluster, &pool, count);
        }
        ["reserve", addresses] => account.reserve(&list(addresses)?),
        ["provisioning", "manual"] => account.provisioning = None,
        ["provisioning", seconds] => {
            account.provisioning = Some(Duration::from_secs(number(seconds)?));
        }
        ["provision"] => account.finish_provisioning(),
        ["etags", word @ ("on" | "off")] => account.etags = *word == "on",
        _ => return Err(unknown(words)),
    }
    Ok(())
}

fn unknown(words: &[&str]) -> String {
    format!("no such command: {}; there are: {HELP}", words.join(" "))
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}

fn list(words: &str) -> Result<Vec<&str>, String> {
    let wrong = words.split(',').find(|word| word.parse::<IpAddr>().is_err());
    match wrong {
        Some(wrong) => Err(format!("{wrong} is not an address")),
        None => Ok(words.split(',').collect()),
    }
}

fn droplet(account: &Account, id: &str) -> Result<u64, String> {
    let id = number(id)?;
    match account.droplet(id) {
        Some(_) => Ok(id),
        None => Err(format!("there is no droplet {id}")),
    }
}

fn known(account: &Account, database: &str) -> Result<(), String> {
    let mut all = account.databases.iter();
    match all.any(|(uuid, known)| uuid == database || known.name == database) {
        true => Ok(()),
        false => Err(format!("there is no database {database}")),
    }
}

/// Ids of a pool and its cluster, by id or name.
fn find_pool(account: &Account, cluster: &str, pool: &str) -> Result<(String, String), String> {
    let found = account
        .clusters
        .iter()
        .find(|known| known.id == cluster || known.name == cluster)
        .ok_or_else(|| format!("there is no cluster {cluster}"))?;
    let pool = found
        .node_pools
        .iter()
        .find(|known| known.id == pool || known.name == pool)
        .ok_or_else(|| format!("{cluster} has no pool {pool}"))?;
    Ok((found.id.clone(), pool.id.clone()))
}

fn on_of(words: &[&str]) -> Result<On, String> {
    words.iter().try_fold(On::any(), |on, word| {
        let (name, value) =
            word.split_once('=').ok_or_else(|| format!("{word} is not NAME=VALUE"))?;
        Ok(match name {
            "resource" => {
                let found = Resource::ALL.into_iter().find(|known| known.name() == value);
                on.about(found.ok_or_else(|| format!("there is no resource {value}"))?)
            }
            "path" => on.below(value),
            "method" => on.method(value),
            "query" => {
                let (name, value) =
                    value.split_once('=').ok_or_else(|| format!("{value} is not NAME=VALUE"))?;
                on.query(name, value)
            }
            "times" => on.times(number(value)?),
            _ => return Err(format!("{name} is not resource, path, method, query or times")),
        })
    })
}
