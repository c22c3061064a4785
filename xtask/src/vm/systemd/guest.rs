//! A machine with a disk: started, told what to run, rebooted, ended.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Timeout of a boot or a command. An emulated machine on a busy one is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// Between two tries of what is waited for.
const AGAIN: Duration = Duration::from_secs(1);

/// The files a machine is made of.
#[derive(Debug)]
pub(super) struct Hardware<'m> {
    pub(super) kernel: &'m Path,
    pub(super) initrd: &'m Path,
    pub(super) disk: &'m Path,
    /// The file of its console.
    pub(super) console: &'m Path,
    /// The socket on which it asks for commands.
    pub(super) control: &'m Path,
    /// Its end of the network, and the other.
    pub(super) network: (&'m Path, &'m Path),
    pub(super) mac: [u8; 6],
}

/// The end of a command.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: i64,
    /// Its standard output and standard error.
    pub(super) output: String,
}

/// A machine that runs. It is ended with this.
#[derive(Debug)]
pub(super) struct Guest {
    qemu: Child,
    port: UnixStream,
    lines: Receiver<String>,
    /// Tells one boot from another.
    boot: String,
    /// It is silent or ended: nothing more can be asked of it.
    gone: bool,
    /// The kernel that runs.
    pub(super) kernel: String,
}

impl Guest {
    /// Starts a machine and waits until it is up.
    pub(super) fn start(hardware: &Hardware<'_>) -> Result<Self> {
        let listener = UnixListener::bind(hardware.control)
            .with_context(|| format!("cannot make the socket {}", hardware.control.display()))?;
        let (own, peer) = hardware.network;
        let mac = hardware.mac.map(|byte| format!("{byte:02x}")).join(":");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024"])
            // qemu 7.2 spoils the flags of cmpxchg16b, and kernels from 6.x die of that at boot.
            .args(["-cpu", "max,la57=off,cx16=off"])
            .arg("-kernel")
            .arg(hardware.kernel)
            .arg("-initrd")
            .arg(hardware.initrd)
            .args(["-append", "console=ttyS0 panic=-1 net.ifnames=0 systemd.getty_auto=no quiet"])
            .arg("-drive")
            // What is on the disk has to survive the machine's reboots, not this one's.
            .arg(format!("file={},if=virtio,format=raw,cache=unsafe", hardware.disk.display()))
            .arg("-netdev")
            .arg(format!(
                "dgram,id=net,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                own.display(),
                peer.display()
            ))
            .args(["-device", &format!("virtio-net-pci,netdev=net,romfile=,mac={mac}")])
            .arg("-serial")
            .arg(format!("file:{}", hardware.console.display()))
            .arg("-chardev")
            .arg(format!("socket,id=control,path={}", hardware.control.display()))
            .args(["-serial", "chardev:control"])
            .stdin(Stdio::null());
        let mut qemu = qemu.spawn().context("cannot start qemu-system-x86_64")?;
        let connected = connection(&listener, &mut qemu).and_then(|port| {
            let lines = lines(port.try_clone().context("cannot read from the machine")?);
            Ok((port, lines))
        });
        let (port, lines) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                end(&mut qemu);
                return Err(error);
            }
        };
        let mut guest =
            Self { qemu, port, lines, boot: String::new(), gone: false, kernel: String::new() };
        guest.wait_up()?;
        Ok(guest)
    }

    /// Runs a script of the shell.
    pub(super) fn run(&mut self, script: &str) -> Result<Done> {
        let request = format!("{}\n", json!({ "run": script }));
        self.port.write_all(request.as_bytes()).context("the machine does not listen")?;
        let answer = self.hear().with_context(|| format!("it was to run: {script}"))?;
        match (answer["code"].as_i64(), answer["output"].as_str()) {
            (Some(code), Some(output)) => Ok(Done { code, output: output.trim().to_owned() }),
            _ => bail!("the machine was to run `{script}` and says: {answer}"),
        }
    }

    /// Runs what must succeed; what it printed.
    pub(super) fn succeed(&mut self, script: &str) -> Result<String> {
        let done = self.run(script)?;
        if done.code != 0 {
            bail!("`{script}` ends with {}: {}", done.code, done.output);
        }
        Ok(done.output)
    }

    /// Runs what must end with a code other than 0; what it printed.
    pub(super) fn fail(&mut self, code: i64, script: &str) -> Result<String> {
        let done = self.run(script)?;
        if done.code != code {
            bail!("`{script}` ends with {}, not {code}: {}", done.code, done.output);
        }
        Ok(done.output)
    }

    /// Runs a script again and again until it succeeds; what it printed.
    pub(super) fn wait(&mut self, what: &str, script: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.run(script)?;
            if done.code == 0 {
                return Ok(done.output);
            }
            if Instant::now() > deadline {
                bail!("waited in vain for {what}: `{script}`: {}", done.output);
            }
            thread::sleep(AGAIN);
        }
    }

    /// Writes a file, at once for whoever reads it.
    pub(super) fn write(&mut self, path: &str, text: &str) -> Result<()> {
        self.succeed(&format!(
            "mkdir -p $(dirname {path}) && cat >{path}.new <<'END' && mv {path}.new {path}\n{text}\nEND"
        ))
        .map(drop)
    }

    /// Whether nothing more can be asked of it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Reboots the machine, and waits until it is up again.
    pub(super) fn reboot(&mut self) -> Result<()> {
        let before = self.boot.clone();
        self.succeed("systemctl --no-block reboot")?;
        self.wait_up()?;
        if self.boot == before {
            bail!("the machine came up without a boot");
        }
        Ok(())
    }

    fn wait_up(&mut self) -> Result<()> {
        let greeting = self.hear().context("it was to boot")?;
        match (greeting["boot"].as_str(), greeting["kernel"].as_str()) {
            (Some(boot), Some(kernel)) => {
                boot.clone_into(&mut self.boot);
                kernel.clone_into(&mut self.kernel);
                Ok(())
            }
            _ => bail!("the machine was to boot and says: {greeting}"),
        }
    }

    fn hear(&mut self) -> Result<Value> {
        let heard = self.lines.recv_timeout(PATIENCE);
        self.gone = heard.is_err();
        let line = match heard {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("the machine is silent"),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended"),
        };
        serde_json::from_str(&line).with_context(|| format!("the machine says {line:?}"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        end(&mut self.qemu);
    }
}

fn end(qemu: &mut Child) {
    let _ = qemu.kill();
    let _ = qemu.wait();
}

/// The machine's second serial port. An error if qemu ends before it is there.
fn connection(listener: &UnixListener, qemu: &mut Child) -> Result<UnixStream> {
    listener.set_nonblocking(true).context("cannot wait for qemu")?;
    loop {
        match listener.accept() {
            Ok((port, _)) => {
                port.set_nonblocking(false).context("cannot wait for the machine")?;
                return Ok(port);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if let Some(status) = qemu.try_wait().context("cannot wait for qemu")? {
                    bail!("qemu ended ({status})");
                }
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(error).context("qemu does not connect"),
        }
    }
}

/// The lines that a machine says. The thread ends with the machine.
fn lines(port: UnixStream) -> Receiver<String> {
    let (heard, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(port).lines() {
            let Ok(line) = line else { return };
            if heard.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The end of a console.
pub(super) fn last_words(console: &Path) -> String {
    const LINES: usize = 25;
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(console) {
        let _ = file.read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
