//! A virtual machine: booted, listened to, ended.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::checks::Reports;

/// Longest silence of a machine on both its serial ports. A check may take five minutes.
const SILENCE: Duration = Duration::from_secs(600);

/// Interval at which its ports are read.
const TICK: Duration = Duration::from_millis(200);

/// Networks that join a NIC of the database host and one of the others'.
const NETWORKS: [u8; 2] = [0, 1];

/// A machine with two processors. It is emulated: not every machine that builds dbfw can
/// virtualise.
#[derive(Debug)]
pub(super) struct Machine<'m> {
    /// The files of its console and its reports.
    pub(super) run: &'m Path,
    pub(super) kernel: &'m Path,
    pub(super) initrd: &'m Path,
    pub(super) threads: Threads,
}

/// Threads that emulate the two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// One for each.
    Each,
    /// One for both: slower. Kernels from 7.x change their own code at run time in a way that
    /// a processor in another thread of qemu 7.2 sees too late ("Oops: int3").
    Shared,
}

impl Threads {
    /// The threads that a kernel's release needs.
    pub(super) fn of(release: &str) -> Self {
        let major = release.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= 7) { Self::Shared } else { Self::Each }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Each => "tcg,thread=multi",
            Self::Shared => "tcg,thread=single",
        }
    }
}

impl Machine<'_> {
    /// Boots it and reads its reports until it ends.
    pub(super) fn boot(&self) -> Result<Reports> {
        let console = self.run.join("console.log");
        let said = self.run.join("reports.json");
        let own = self.run.join("qemu.log");
        let words =
            File::create(&own).with_context(|| format!("cannot write {}", own.display()))?;
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-accel", self.threads.option(), "-smp", "2", "-m", "2048"])
            // qemu 7.2 spoils the flags of cmpxchg16b, and kernels from 6.x die of that at boot.
            .args(["-cpu", "max,la57=off,cx16=off"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", "console=ttyS0 panic=-1 rdinit=/init net.ifnames=0 quiet"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-serial")
            .arg(format!("file:{}", said.display()))
            .stdin(Stdio::null())
            .stderr(words);
        // The database host's NICs come first.
        for (at, network) in NETWORKS.iter().chain(&NETWORKS).enumerate() {
            qemu.arg("-netdev").arg(format!("hubport,id=port{at},hubid={network}"));
            qemu.arg("-device").arg(format!(
                "virtio-net-pci,netdev=port{at},romfile=,mac=52:54:00:00:00:{at:02x}"
            ));
        }
        File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        let child = qemu.spawn().context("cannot start qemu-system-x86_64")?;
        let mut reports = listen(Running(child), &said, &console)?;
        if !reports.ended {
            reports.last_words = [&own, &console].map(|path| last_words(path)).join("\n");
        }
        Ok(reports)
    }
}

/// A machine that is ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(mut running: Running, said: &Path, console: &Path) -> Result<Reports> {
    let mut reports = Reports::default();
    let mut reader = BufReader::new(File::open(said).context("cannot read the reports")?);
    let mut line = String::new();
    let mut heard = (Instant::now(), 0);
    loop {
        let ended = running.0.try_wait().context("cannot wait for qemu")?.is_some();
        while reader.read_line(&mut line).context("cannot read the reports")? > 0 {
            if !line.ends_with('\n') {
                break;
            }
            if let Some(check) = reports.take(&line)? {
                let mark = if check.failure.is_some() { "FAIL" } else { "pass" };
                println!("  {mark} {} ({} s)", check.name, check.seconds);
            }
            line.clear();
        }
        if ended {
            return Ok(reports);
        }
        let written = [said, console]
            .iter()
            .filter_map(|path| Some(path.metadata().ok()?.len()))
            .sum::<u64>();
        if written != heard.1 {
            heard = (Instant::now(), written);
        }
        if heard.0.elapsed() > SILENCE {
            return Ok(reports);
        }
        thread::sleep(TICK);
    }
}

/// The end of a log.
fn last_words(log: &Path) -> String {
    const LINES: usize = 25;
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let _ = file.read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
