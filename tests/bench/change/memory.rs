//! Memory of the agent, and of the maps it holds.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{report::grouped, systems::Dbfw};

/// Prints and returns it.
pub(super) fn report(agent: &Dbfw<'_>, prefixes: usize) -> Result<Value, String> {
    let pid = agent.host.pid();
    let rss = status(pid, "VmRSS:")?;
    let anonymous = status(pid, "RssAnon:")?;
    let maps = map_bytes(pid)?;
    let per_prefix = maps as f64 / prefixes as f64;
    println!(
        "  dbfw, {} prefixes: RSS {:.1} MB (anonymous {:.1} MB), maps {:.1} MB by the kernel's \
         own account, {per_prefix:.0} bytes a prefix",
        grouped(prefixes),
        rss as f64 / 1e3,
        anonymous as f64 / 1e3,
        maps as f64 / 1e6,
    );
    Ok(json!({
        "system": "dbfw",
        "prefixes": prefixes,
        "rss_kib": rss,
        "anonymous_kib": anonymous,
        "maps_bytes": maps,
    }))
}

fn status(pid: u32, key: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    value
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("{path} has no {key}"))
}

/// `memlock` of every map that the process has open, each map once (proc_pid_fdinfo(5)). An
/// estimate of the kernel's: it leaves out a trie's inner nodes and the allocator's slack.
fn map_bytes(pid: u32) -> Result<u64, String> {
    let directory = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&directory).map_err(|error| format!("{directory}: {error}"))?;
    let mut maps = BTreeMap::new();
    for entry in entries.flatten() {
        maps.extend(map(&entry.path()));
    }
    if maps.is_empty() {
        return Err("the agent has no map open".to_owned());
    }
    Ok(maps.values().sum())
}

fn map(fdinfo: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(fdinfo).ok()?;
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok();
    Some((value("map_id:")?, value("memlock:")?))
}
