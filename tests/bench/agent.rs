//! What the agent itself costs while nothing happens.

use std::{fs, thread::sleep, time::Duration};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, veth},
};

use crate::enforce::{database, list};

const IDLE: Duration = Duration::from_secs(20);

pub(crate) fn run() {
    let db = Netns::new("db");
    let client = Netns::new("client");
    veth((&db, "db0"), (&client, "cl0"));
    db.up("db0");
    client.up("cl0");
    for prefixes in [10, 10_000] {
        let mut host = Host::new(&db);
        host.replace("orders.list", &list(prefixes, None));
        host.configure("interfaces = [\"db0\"]", &database(&host));
        host.start();
        let before = cpu_seconds(host.pid());
        sleep(IDLE);
        let busy = cpu_seconds(host.pid()) - before;
        println!(
            "  {prefixes:>6} prefixes: RSS {} kB (anonymous {} kB, the rest is the program and \
             mapped maps), idle CPU {:.2} %",
            status(host.pid(), "VmRSS"),
            status(host.pid(), "RssAnon"),
            100.0 * busy / IDLE.as_secs_f64(),
        );
    }
}

/// User and system time of a process so far (proc_pid_stat(5), fields 14 and 15).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the agent runs");
    let after_name = stat.rsplit_once(')').expect("a process name").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("ticks")).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .expect("the length of a tick");
    ticks / per_second as f64
}

/// A value of /proc/PID/status.
pub(crate) fn status(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).expect("a value").to_owned()
}
