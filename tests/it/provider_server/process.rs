//! The server as a process, and its control protocol.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use dbfw_tests::provider_server::{Fault, Options, Server, control};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::get;

#[test]
fn commands_change_what_the_server_says() {
    let server = Server::start(Options::default());
    let (cluster, id) = server.account(|account| {
        account.add_database("orders", &["tag:backend"]);
        let cluster = account.add_cluster("prod");
        account.add_pool(&cluster, "workers", 1);
        (cluster, account.add_droplet("web", &[], &[]))
    });
    let say = |line: &str| control::command(&server, line);
    let rules = || server.account(|account| account.rules("orders"));

    assert_eq!(say(&format!("tag {id} backend")), Ok(String::new()));
    assert_eq!(server.account(|account| account.droplet_mut(id).tags.clone()), ["backend"]);
    assert_eq!(say(&format!("untag {id} backend")), Ok(String::new()));
    assert!(server.account(|account| account.droplet_mut(id).tags.is_empty()));
    let made = say("droplet add db 10.1.2.3,2001:db8::3 backend").expect("an id");
    let made: u64 = made.parse().expect("an id");
    let addresses = server.account(|account| account.addresses_of(made));
    assert_eq!(addresses, ["10.1.2.3", "2001:db8::3"]);
    assert_eq!(say(&format!("droplet rm {made}")), Ok(String::new()));

    assert_eq!(say("rule add orders ip_addr 192.0.2.1"), Ok(String::new()));
    assert_eq!(say("rules orders"), Ok("tag:backend ip_addr:192.0.2.1".to_owned()));
    assert_eq!(say("rule rm orders tag backend"), Ok(String::new()));
    assert_eq!(rules(), ["ip_addr:192.0.2.1"]);

    assert_eq!(say("provisioning manual"), Ok(String::new()));
    assert_eq!(say("pool prod workers 2"), Ok(String::new()));
    assert_eq!(server.account(|account| account.nodes(&cluster).len()), 1);
    assert_eq!(say("provision"), Ok(String::new()));
    assert_eq!(server.account(|account| account.nodes(&cluster).len()), 2);

    assert_eq!(say("fault status:503 resource=droplets times=1"), Ok(String::new()));
    assert_eq!(get(&server, "/v2/droplets").status, 503);
    assert_eq!(get(&server, "/v2/droplets").status, 200);
    assert_eq!(say("requests"), Ok("droplets=2".to_owned()));
    assert_eq!(say("down"), Ok(String::new()));
    assert_ne!(get(&server, "/v2/droplets").code, 0);
    assert_eq!(say("up"), Ok(String::new()));
    assert_eq!(get(&server, "/v2/droplets").status, 200);

    for wrong in [
        "tag 7 backend",
        "tag x backend",
        "rule add nowhere tag backend",
        "rule rm orders tag backend",
        "droplet add db nowhere",
        "pool prod nothing 3",
        "fault status",
        "fault unheard-of",
        "fault hang resource=everything",
        "certificate none",
        "sing",
    ] {
        assert!(say(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn faults_are_written_as_they_are_read() {
    for fault in Fault::samples("https://198.51.100.1:8443") {
        assert_eq!(fault.to_string().parse(), Ok(fault.clone()), "{fault}");
    }
    let set = Fault::Set("/rules/0/value".to_owned(), json!({ "a": [1] }));
    assert_eq!(set.to_string().parse(), Ok(set));
}

#[test]
fn the_program_serves_what_its_state_file_says() {
    let mut program = Program::start(&json!({
        "databases": [{ "uuid": "9cc10173", "name": "orders", "rules": ["tag:backend"] }],
        "vpcs": [{ "id": "5a4981aa", "name": "default", "range": "10.10.0.0/16" }],
        "droplets": [{ "id": 4, "name": "app4", "addresses": ["192.0.2.40"] }],
        "clusters": [{ "id": "bd5f5959", "name": "prod", "pools": { "w": [["10.10.0.7"]] } }],
        "apps": [{ "id": "c2a93513", "name": "shop", "egress": ["10.10.0.9"] }],
        "vhosts": { "12": ["192.0.2.0/24"] },
        "feeds": { "plain": { "content_type": "text/plain", "body": "192.0.2.1\n" } },
    }));
    assert_eq!(program.get("/v2/droplets?tag_name=backend")["meta"]["total"], 0);
    assert_eq!(program.say("tag 4 backend"), "ok");
    assert!(program.say("no such thing").starts_with("error no such command: no such thing;"));
    assert_eq!(program.say("rule add orders k8s bd5f5959"), "ok");
    assert_eq!(program.say("rules orders"), "ok tag:backend k8s:bd5f5959");
    assert_eq!(program.get("/v2/droplets?tag_name=backend")["droplets"][0]["id"], 4);
    assert_eq!(program.get("/v2/databases/9cc10173/firewall")["rules"][1]["value"], "bd5f5959");
    let cluster = &program.get("/v2/kubernetes/clusters/bd5f5959")["kubernetes_cluster"];
    let node = cluster["node_pools"][0]["nodes"][0]["droplet_id"].as_str().expect("an id");
    let droplet = program.get(&format!("/v2/droplets/{node}"));
    assert_eq!(droplet["droplet"]["networks"]["v4"][0]["ip_address"], "10.10.0.7");
    assert_eq!(program.get("/v2/apps/c2a93513")["app"]["vpc"]["egress_ips"][0]["ip"], "10.10.0.9");
    assert_eq!(program.get("/v2/vpcs/5a4981aa")["vpc"]["ip_range"], "10.10.0.0/16");
    assert_eq!(program.get("/vhosts/12")["ip_whitelist"][0], "192.0.2.0/24");

    assert_eq!(program.say("quit"), "ok");
    assert!(program.child.wait().expect("the program ends").success());
}

#[test]
fn a_huge_body_is_sent_without_being_held() {
    let mut program = Program::start(&json!({}));
    assert_eq!(program.say("fault huge-body:1073741824"), "ok");
    let size = program.curl("/v2/droplets", &["-o", "/dev/null", "-w", "%{size_download}"]);
    assert_eq!(size, b"1073741824");
    let path = format!("/proc/{}/status", program.child.id());
    let status = fs::read_to_string(path).expect("read /proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 64 * 1024, "{kib} KiB");
}

#[test]
fn the_program_says_what_is_wrong_with_its_files() {
    let files = tempfile::tempdir().expect("a directory");
    let run = |token: &str, state: &str| {
        fs::write(files.path().join("token"), token).expect("write the token");
        fs::write(files.path().join("state.json"), state).expect("write the state");
        let output = program(files.path()).output().expect("run the program");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let rule = r#"{ "databases": [{ "uuid": "1", "name": "orders", "rules": ["backend"] }] }"#;
    assert!(run("", "{}").contains("token is empty"));
    assert!(run("t", "{ \"dropplets\": [] }").contains("unknown field `dropplets`"));
    assert!(run("t", rule).contains("state.json: rule backend of orders is not type:value"));
    let machine = r#"{ "droplets": [{ "name": "web", "addresses": ["10.0.0.0/8"] }] }"#;
    assert!(run("t", machine).contains("10.0.0.0/8 is not an address"));
}

/// The program at a free port, with its files in a directory.
fn program(files: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbfw-provider-server"));
    command.args(["--listen", "127.0.0.1:0", "--token-file"]).arg(files.join("token"));
    command.arg("--state").arg(files.join("state.json"));
    command.arg("--tls-dir").arg(files.join("tls"));
    command
}

/// The program while it runs.
struct Program {
    files: TempDir,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Program {
    fn start(state: &Value) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        fs::write(files.path().join("token"), "dop_v1_secret\n").expect("write the token");
        fs::write(files.path().join("state.json"), state.to_string()).expect("write the state");
        let mut command = program(files.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start the program");
        let stdin = child.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        let url = first.strip_prefix("ok listening at ").expect("where it listens").to_owned();
        assert!(url.starts_with("https://127.0.0.1:"), "{url}");
        Self { files, child, stdin, lines, url }
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").expect("write a command");
        self.lines.next().expect("a line").expect("text")
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.curl(path, &[])).expect("JSON")
    }

    fn curl(&self, path: &str, options: &[&str]) -> Vec<u8> {
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "60", "--noproxy", "*"])
            .args(["--header", "Authorization: Bearer dop_v1_secret", "--cacert"])
            .arg(self.files.path().join("tls/ca.pem"))
            .args(options)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("run curl");
        output.stdout
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
