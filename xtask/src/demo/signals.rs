//! Ctrl-C and its like: noted, so that the demo removes what it made before it ends.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Interval at which a wait looks again.
const PERIOD: Duration = Duration::from_millis(5);

static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    CAUGHT.store(signal, Ordering::Relaxed);
}

/// Has the signals that end a program noted from here on.
pub(super) fn install() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which a handler may do.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot handle {signal}"))?;
    }
    Ok(())
}

/// An error once a signal came.
pub(super) fn check() -> Result<()> {
    match CAUGHT.load(Ordering::Relaxed) {
        0 => Ok(()),
        number => match Signal::try_from(number) {
            Ok(signal) => bail!("interrupted by {signal}"),
            Err(_) => bail!("interrupted"),
        },
    }
}

/// Sleeps, unless a signal comes.
pub(super) fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        check()?;
        thread::sleep(PERIOD.min(end.saturating_duration_since(Instant::now())));
    }
    check()
}

/// Looks until `look` sees something, for at most `limit`.
pub(super) fn wait<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        pause(PERIOD)?;
    }
}
