//! A real etcd on loopback, of one member or several, in directories of its own.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// Longest wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Passwords of the users that [`Etcd::enable_auth`] makes.
pub(crate) const ROOT_PASSWORD: &str = "root-5d1b0c9e";
pub(crate) const PASSWORD: &str = "dbfw-83e0aa17";

/// An etcd. Its members are killed when it is dropped.
pub(crate) struct Etcd {
    files: TempDir,
    members: Vec<Member>,
    has_tls: bool,
    has_auth: bool,
}

struct Member {
    client: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Etcd {
    /// One member without TLS.
    pub(crate) fn start() -> Self {
        Self::with(1, false, &[])
    }

    /// Members that know each other, show a certificate and want to see one if `has_tls`, and have more
    /// arguments.
    pub(crate) fn with(members: usize, has_tls: bool, more: &[&str]) -> Self {
        let files = TempDir::with_prefix("dbfw-etcd-").expect("a directory");
        if has_tls {
            certificates(files.path());
        }
        let scheme = if has_tls { "https" } else { "http" };
        let ports = free_ports(2 * members);
        let peer = |at: usize| format!("http://127.0.0.1:{}", ports[2 * at + 1]);
        let cluster: Vec<String> = (0..members).map(|at| format!("m{at}={}", peer(at))).collect();
        let member = |at: usize| {
            let client = format!("{scheme}://127.0.0.1:{}", ports[2 * at]);
            let path = |name: &str| files.path().join(name).display().to_string();
            let mut arguments = vec![
                format!("--name=m{at}"),
                format!("--data-dir={}", path(&format!("m{at}"))),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={}", peer(at)),
                format!("--initial-advertise-peer-urls={}", peer(at)),
                format!("--initial-cluster={}", cluster.join(",")),
            ];
            if has_tls {
                arguments.extend([
                    format!("--cert-file={}", path("server.pem")),
                    format!("--key-file={}", path("server.key")),
                    format!("--trusted-ca-file={}", path("ca.pem")),
                    "--client-cert-auth".to_owned(),
                ]);
            }
            arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
            Member { client, arguments, process: None }
        };
        let members = (0..members).map(member).collect();
        let mut etcd = Self { files, members, has_tls, has_auth: false };
        for at in 0..etcd.members.len() {
            etcd.spawn(at);
        }
        etcd.wait();
        etcd
    }

    /// A file of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The addresses of the members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.clone()).collect()
    }

    /// The store of a server's configuration.
    pub(crate) fn config(&self) -> String {
        let mut text = format!("store = {{ kind = \"etcd\", endpoints = {:?}", self.endpoints());
        if self.has_tls {
            for (key, file) in
                [("ca_file", "ca.pem"), ("cert_file", "client.pem"), ("key_file", "client.key")]
            {
                let _ = write!(text, ", {key} = {:?}", self.path(file));
            }
        }
        if self.has_auth {
            let file = self.path("password");
            let _ = write!(text, ", user = \"dbfw\", password_file = {file:?}");
        }
        text + " }\n"
    }

    /// Starts a member that does not run.
    pub(crate) fn spawn(&mut self, at: usize) {
        let log = File::options().create(true).append(true).open(self.path(&format!("log{at}")));
        let member = &mut self.members[at];
        assert!(member.process.is_none(), "it runs already");
        let child = Command::new("etcd")
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("etcd (Debian's package etcd-server): run `cargo xtask setup`");
        member.process = Some(child);
    }

    /// Kills a member.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.members[at].process.take().expect("it runs");
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
    }

    /// Halts a member, or lets it go on.
    pub(crate) fn signal(&self, at: usize, signal: Signal) {
        let child = self.members[at].process.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).expect("process ids fit");
        kill(Pid::from_raw(pid), signal).expect("signal it");
    }

    /// Waits until the members that run take a write.
    pub(crate) fn wait(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_ctl(&["put", "test/ready", "yes"]) {
                Ok(_) => return,
                Err(error) => {
                    let log = fs::read_to_string(self.path("log0")).unwrap_or_default();
                    assert!(Instant::now() < deadline, "etcd is not ready: {error}\n{log}");
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs etcdctl; what it printed.
    #[track_caller]
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments).expect("etcdctl succeeds")
    }

    /// Runs etcdctl; what it printed, or its complaint.
    pub(crate) fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let running = self.members.iter().filter(|member| member.process.is_some());
        let running: Vec<&str> = running.map(|member| member.client.as_str()).collect();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", running.join(","));
        if self.has_tls {
            command
                .env("ETCDCTL_CACERT", self.path("ca.pem"))
                .env("ETCDCTL_CERT", self.path("client.pem"))
                .env("ETCDCTL_KEY", self.path("client.key"));
        }
        if self.has_auth {
            command.env("ETCDCTL_USER", format!("root:{ROOT_PASSWORD}"));
        }
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("etcdctl (Debian's package etcd-client): run `cargo xtask setup`");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Turns authentication on, with a user `dbfw` that may do everything below `/dbfw/v1/`.
    pub(crate) fn enable_auth(&mut self) {
        self.ctl(&["user", "add", &format!("root:{ROOT_PASSWORD}")]);
        self.ctl(&["user", "add", &format!("dbfw:{PASSWORD}")]);
        self.ctl(&["user", "grant-role", "root", "root"]);
        self.ctl(&["role", "add", "dbfw"]);
        let grant = ["role", "grant-permission", "--prefix=true", "dbfw", "readwrite", "/dbfw/v1/"];
        self.ctl(&grant);
        self.ctl(&["user", "grant-role", "dbfw", "dbfw"]);
        self.ctl(&["auth", "enable"]);
        self.has_auth = true;
        self.write_password(PASSWORD);
    }

    /// Writes the password that servers read.
    pub(crate) fn write_password(&self, password: &str) {
        let path = self.path("password");
        fs::write(&path, password).expect("write the password");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("keep it from others");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.process.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Ports of loopback that nobody listens on.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a port");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    listeners.iter().map(|it| it.local_addr().expect("an address").port()).collect()
}

/// Makes an authority, another that nobody trusts, and the certificates of etcd and of its clients.
fn certificates(directory: &Path) {
    let write = |name: &str, text: String| fs::write(directory.join(name), text).expect("write it");
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        write(name, params.self_signed(&key).expect("a certificate").pem());
        Issuer::new(params, key)
    };
    let ca = authority("ca.pem");
    authority("other-ca.pem");
    for name in ["server", "client"] {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        // etcd is a client of its own, with the same certificate.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        write(&format!("{name}.pem"), params.signed_by(&key, &ca).expect("a certificate").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
