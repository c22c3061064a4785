//! Loading the programs of the built object onto pinned maps.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::Map,
    programs::{Program, ProgramError},
};
use caps::{CapSet, Capability};
use dbfw_common::{
    Family, MAPS, PROGRAM_TCX, PROGRAM_TCX_L3, PROGRAM_XDP, PROGRAM_XDP_LEAN, PROGRAMS,
};

use crate::{
    error::DatapathError,
    kernel::{self, ProgramRefusal},
    keys::HOSTS,
    pins::{self, Pins, names::program_pin},
    sets::hosts,
    shape::{OBJECT, map_shapes},
    sys,
};

/// Second copies of the TCX programs: the kernel does not take a program twice in a chain.
pub(crate) const SECOND_COPIES: [(&str, &str); 2] =
    [("dbfw_tcx_copy", PROGRAM_TCX), ("dbfw_tcx_l3_copy", PROGRAM_TCX_L3)];

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) fd: OwnedFd,
    pub(crate) id: u32,
}

/// The loaded programs by name, on maps pinned by name.
pub(crate) struct Programs {
    loaded: BTreeMap<&'static str, Loaded>,
    /// Passes on what the programs logged.
    #[cfg(feature = "bpf-log")]
    flush_log: Box<dyn FnMut() + Send>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Programs").field(&self.loaded).finish()
    }
}

impl Programs {
    /// The program called `name`, one of [`PROGRAMS`].
    ///
    /// # Errors
    /// The object has no such program.
    pub(crate) fn get(&self, name: &'static str) -> Result<&Loaded, String> {
        self.loaded.get(name).ok_or_else(|| format!("the built-in object has no program {name}"))
    }

    /// Every program with its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Loaded)> {
        self.loaded.iter().map(|(name, loaded)| (*name, loaded))
    }

    /// Passes on what the programs logged since the last time.
    #[cfg(feature = "bpf-log")]
    pub(crate) fn flush_log(&mut self) {
        (self.flush_log)();
    }

    /// Whether the program with this id is one of these.
    pub(crate) fn is_ours(&self, program_id: u32) -> bool {
        self.loaded.values().any(|loaded| loaded.id == program_id)
    }
}

/// Refuses a kernel that surely lacks something, and says what: the verifier would name an
/// instruction.
///
/// # Errors
/// [`DatapathError::OldKernel`] names what is missing.
pub(crate) fn check_kernel() -> Result<(), DatapathError> {
    let missing = kernel::missing();
    if missing.is_empty() { Ok(()) } else { Err(DatapathError::OldKernel { missing }) }
}

/// The name in the object of the variant of `name` that this thread may load; `name` is one of
/// [`PROGRAMS`] or the second copy of one.
pub fn variant(name: &'static str) -> &'static str {
    if let Some((_, copied)) = SECOND_COPIES.iter().find(|(copy, _)| *copy == name) {
        return copied;
    }
    if name == PROGRAM_XDP && has_perfmon() { PROGRAM_XDP_LEAN } else { name }
}

/// Whether the programs that this thread loads run without barriers against speculation
/// (kernel/bpf/verifier.c: `bpf_bypass_spec_v1`, `bpf_bypass_spec_v4`) and may subtract
/// pointers (`bpf_allow_ptr_leaks`).
pub fn has_perfmon() -> bool {
    [Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .any(|capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false))
}

/// Whether this thread may load the programs at all.
pub fn may_load() -> bool {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    has(Capability::CAP_SYS_ADMIN) || has(Capability::CAP_BPF) && has(Capability::CAP_NET_ADMIN)
}

/// Creates or adopts every map under `pins`, then loads every program onto them.
///
/// # Errors
/// A pin is not of this ABI, or the kernel refuses a map or program.
pub(crate) fn load(pins: &Pins) -> Result<Programs, DatapathError> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    let shapes = map_shapes()?;
    // aya would take over a pinned map of any kind.
    for (name, shape) in &shapes {
        match pins::open_map(&pins.path(name), false, shape) {
            Err(DatapathError::Pin { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            checked => checked.map(drop)?,
        }
    }
    hosts::discard_incomplete(pins)?;
    for name in shapes.keys() {
        loader.map_pin_path(name, pins.path(name));
    }
    let mut ebpf = load_maps(&mut loader)?;
    for name in MAPS {
        pins.protect_map(name)?;
    }
    // All of them, before one takes the place of an earlier agent's.
    let copies = SECOND_COPIES.iter().map(|(copy, _)| *copy).filter(|_| sys::has_tcx());
    let programs = PROGRAMS
        .into_iter()
        .chain(copies)
        .map(|name| Ok((name, load_program(&mut ebpf, name)?)))
        .collect::<Result<BTreeMap<_, _>, DatapathError>>()?;
    for (name, program) in &programs {
        pins.replace(program.fd.as_fd(), &program_pin(name))?;
    }
    Ok(Programs {
        loaded: programs,
        #[cfg(feature = "bpf-log")]
        flush_log: log_of(&mut ebpf)?,
    })
}

/// Loads every program onto maps that nobody else knows, and lets go of them: whether the
/// agent could. Needs what it needs, and changes nothing.
///
/// # Errors
/// Those of [`Datapath::open`](crate::Datapath::open) that are the kernel's.
pub fn try_load() -> Result<(), DatapathError> {
    check_kernel()?;
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    let mut ebpf = load_maps(&mut loader)?;
    for family in Family::ALL {
        let name = HOSTS[family as usize];
        let Some(Map::ArrayOfMaps(outer)) = ebpf.map(name) else {
            return Err(DatapathError::Object(format!("no map {name}")));
        };
        hosts::try_table(outer.fd().as_fd(), family)?;
    }
    PROGRAMS.into_iter().try_for_each(|name| load_program(&mut ebpf, name).map(drop))
}

fn load_maps(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, DatapathError> {
    loader.load(OBJECT).map_err(|error| DatapathError::Maps(causes(&error)))
}

fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<Loaded, DatapathError> {
    let program = ebpf
        .program_mut(variant(name))
        .ok_or_else(|| DatapathError::Object(format!("no program {name}")))?;
    let result = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        _ => return Err(DatapathError::Object(format!("{name} is of an unknown type"))),
    };
    result.map_err(|error| DatapathError::Refused(refusal(name, &error)))?;
    let fd = program
        .fd()
        .map_err(|error| DatapathError::Object(error.to_string()))
        .and_then(|fd| own(fd.as_fd(), name))?;
    let id = sys::program_info(fd.as_fd())
        .map_err(|error| DatapathError::Object(format!("{name}: {error}")))?
        .id;
    // The descriptor is ours; aya loads a program again only if it lets go of its own.
    if let Program::SchedClassifier(program) = program {
        program.unload().map_err(|error| DatapathError::Object(error.to_string()))?;
    }
    Ok(Loaded { fd, id })
}

fn refusal(program: &'static str, error: &ProgramError) -> ProgramRefusal {
    let (reason, log) = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            (io_error.to_string(), verifier_log.to_string())
        }
        error => (causes(error), String::new()),
    };
    let verifier = kernel::verdict_line(&log).to_owned();
    ProgramRefusal { program, reason, verifier, with_perfmon: has_perfmon() }
}

#[cfg(feature = "bpf-log")]
fn log_of(ebpf: &mut Ebpf) -> Result<Box<dyn FnMut() + Send>, DatapathError> {
    let mut logger = aya_log::EbpfLogger::init(ebpf)
        .map_err(|error| DatapathError::Object(format!("no log of the programs: {error}")))?;
    Ok(Box::new(move || logger.flush()))
}

fn own(fd: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, DatapathError> {
    fd.try_clone_to_owned().map_err(|error| DatapathError::Object(format!("{name}: {error}")))
}

/// An error and its causes in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
