//! Attaching to interfaces and to the network namespace, and reading attachments back.

mod attached;
mod backstop;
mod chain;

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Instant,
};

use aya_obj::generated::bpf_attach_type;

pub use attached::{AttachedProgram, attached_programs};
pub use backstop::socket_lookup_programs;
pub(crate) use backstop::{Backstop, check_namespace, is_here};

use crate::{
    error::DatapathError,
    hook::{HookMode, NativeObstacle, exceeded_mtu},
    interfaces::{Interface, Layer},
    kernel::KernelVersion,
    object::Programs,
    pins::{
        Pins,
        names::{link_pin, mode_of},
    },
    sys::{self, Attached},
};
use chain::{Chain, Place};

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// The MTU that every driver's XDP takes.
const ETHERNET_MTU: u32 = 1500;

/// One interface that a program of ours is attached to.
#[derive(Debug)]
pub struct Attachment {
    /// The interface's name when last seen.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The hook.
    pub mode: HookMode,
    /// The header that the program expects.
    pub layer: Layer,
    /// The reasons why a better mode was not possible, if it was not.
    pub detail: Option<String>,
    pin: String,
    link: OwnedFd,
    /// The chain our program is in; `None`: XDP, which has no other program beside it.
    chain: Option<Chain>,
}

/// The outcome of keeping our program before all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPlace {
    /// Our program is still the first.
    Held,
    /// The chain changed, and our program is the first again.
    TakenBack,
    /// The chain changed too often: another program may stand before ours.
    GivenUp,
    /// The chain changed, and our program could not be made the first again.
    Refused(String),
}

/// A failure to attach to an interface: each mode tried, and why it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot attach to {interface}: {}", reasons.join("; "))]
pub struct AttachError {
    /// The interface.
    pub interface: String,
    /// "native: …", one for each mode tried.
    pub reasons: Vec<String>,
}

impl Attachment {
    /// Attaches to `interface` by the first of `modes` that works, and pins the link. `why` is the
    /// reason why a better one is not among them.
    ///
    /// # Errors
    /// No mode works; for each, why.
    pub(crate) fn create(
        programs: &Programs,
        pins: &Pins,
        interface: &Interface,
        modes: &[HookMode],
        why: Option<&NativeObstacle>,
    ) -> Result<Self, AttachError> {
        let fail = |reasons| AttachError { interface: interface.name.clone(), reasons };
        let Some(layer) = interface.layer else {
            return Err(fail(vec!["no program fits this kind of link".to_owned()]));
        };
        let mut reasons: Vec<String> = why.iter().map(ToString::to_string).collect();
        for &mode in modes {
            match Self::try_mode(programs, pins, interface, layer, mode) {
                Ok((link, chain, pin)) => {
                    return Ok(Self {
                        interface: interface.name.clone(),
                        index: interface.index,
                        mode,
                        layer,
                        detail: (!reasons.is_empty()).then(|| reasons.join("; ")),
                        pin,
                        link,
                        chain,
                    });
                }
                Err(reason) => reasons.push(format!("{}: {reason}", mode.as_str())),
            }
        }
        Err(fail(reasons))
    }

    fn try_mode(
        programs: &Programs,
        pins: &Pins,
        interface: &Interface,
        layer: Layer,
        mode: HookMode,
    ) -> Result<(OwnedFd, Option<Chain>, String), String> {
        let program = programs.get(mode.program(layer))?;
        let (program, index) = (program.fd.as_fd(), interface.index);
        let xdp = |flags| -> io::Result<(OwnedFd, Option<Chain>)> {
            let link = sys::link_create(program, index, bpf_attach_type::BPF_XDP, flags, 0)?;
            Ok((link, None))
        };
        let attached = match mode {
            HookMode::Native => xdp(XDP_FLAGS_DRV_MODE),
            HookMode::Generic => xdp(XDP_FLAGS_SKB_MODE),
            // First: a program before ours could let a packet in by itself.
            HookMode::Tcx => Chain::attach(program, index).map(|(link, chain)| (link, Some(chain))),
        };
        let (link, chain) = attached.map_err(|error| explain(&error, interface, mode))?;
        let pin = link_pin(mode, &interface.name);
        pins.replace(link.as_fd(), &pin).map_err(|error| error.to_string())?;
        Ok((link, chain, pin))
    }

    /// Takes over a pinned link: replaces its program, unless it is no longer attached.
    ///
    /// # Errors
    /// The link is no interface's, or its program cannot be replaced.
    pub(crate) fn adopt(
        programs: &Programs,
        pin: &str,
        link: OwnedFd,
        interfaces: &[Interface],
    ) -> Result<Option<Self>, String> {
        let info = sys::link_info(link.as_fd()).map_err(|error| error.to_string())?;
        let (index, mode) = match info.attached {
            Attached::Tcx { ifindex } => (ifindex, HookMode::Tcx),
            Attached::Xdp { ifindex } if mode_of(pin) == Some(HookMode::Generic) => {
                (ifindex, HookMode::Generic)
            }
            Attached::Xdp { ifindex } => (ifindex, HookMode::Native),
            other => return Err(format!("it is no link of an interface: {other:?}")),
        };
        let Some(interface) = interfaces.iter().find(|interface| interface.index == index) else {
            return Ok(None);
        };
        let Some(layer) = interface.layer else { return Ok(None) };
        let program = programs.get(mode.program(layer))?;
        sys::link_update(link.as_fd(), program.fd.as_fd())
            .map_err(|error| format!("cannot replace its program: {error}"))?;
        let chain = (mode == HookMode::Tcx).then(|| Chain::adopt(program.id, index));
        Ok(Some(Self {
            interface: interface.name.clone(),
            index,
            mode,
            layer,
            detail: None,
            pin: pin.to_owned(),
            link,
            chain,
        }))
    }

    /// Follows the interface's name: the pin is called after it. Returns the old pin, which
    /// may be another attachment's by now.
    ///
    /// # Errors
    /// The link cannot be pinned under its new name.
    pub(crate) fn rename(&mut self, pins: &Pins, name: &str) -> Result<String, DatapathError> {
        let pin = link_pin(self.mode, name);
        pins.replace(self.link.as_fd(), &pin)?;
        name.clone_into(&mut self.interface);
        Ok(std::mem::replace(&mut self.pin, pin))
    }

    /// Reads back that this attachment holds. Returns the id of the program it attaches.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub(crate) fn check(&self, programs: &Programs) -> Result<u32, String> {
        let info = sys::link_info(self.link.as_fd()).map_err(|error| error.to_string())?;
        let index = match info.attached {
            Attached::Xdp { ifindex } | Attached::Tcx { ifindex } => ifindex,
            _ => 0,
        };
        if index == 0 {
            return Err("it was detached".to_owned());
        }
        if index != self.index {
            return Err(format!("it is attached to interface {index}, not {}", self.index));
        }
        if !programs.is_ours(info.program) {
            return Err(format!("program {} is attached, which is not ours", info.program));
        }
        Ok(info.program)
    }

    /// Reads back that this attachment holds, and that the interface with its index is the
    /// one it is attached to. The link alone does not tell: an interface that was moved to
    /// another network namespace keeps its index, which is then free here for a new one.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub(crate) fn check_interface(
        &self,
        programs: &Programs,
        interfaces: &[Interface],
    ) -> Result<(), String> {
        let program = self.check(programs)?;
        let Some(interface) = interfaces.iter().find(|interface| interface.index == self.index)
        else {
            return Err("the interface is gone".to_owned());
        };
        let same = match &self.chain {
            None => interface.xdp_program == Some(program),
            Some(chain) => place(programs, chain, self.layer, self.index)? != Place::Lost,
        };
        if same { Ok(()) } else { Err("another interface has its index now".to_owned()) }
    }

    /// Keeps our program before all others, by attaching its other copy where it is not.
    pub(crate) fn keep_first(&mut self, programs: &Programs, pins: &Pins) -> FirstPlace {
        let Some(chain) = &mut self.chain else { return FirstPlace::Held };
        match place(programs, chain, self.layer, self.index) {
            Ok(Place::Changed) => {}
            // One that is lost is attached anew.
            Ok(Place::First | Place::Lost) => return FirstPlace::Held,
            Err(error) => return FirstPlace::Refused(error),
        }
        if !chain.may_move(Instant::now()) {
            return FirstPlace::GivenUp;
        }
        let copy = match programs.get(chain.copy().other().program(self.layer)) {
            Ok(copy) => copy,
            Err(error) => return FirstPlace::Refused(error),
        };
        let pin =
            |link: BorrowedFd<'_>| pins.replace(link, &self.pin).map_err(|error| error.to_string());
        match chain.take_first_place(copy.fd.as_fd(), self.index, &mut self.link, pin) {
            Ok(()) => FirstPlace::TakenBack,
            Err(error) => FirstPlace::Refused(error),
        }
    }

    /// Pins the link again if its pin is gone or another link's.
    ///
    /// # Errors
    /// The link cannot be pinned.
    pub(crate) fn repair_pin(&self, pins: &Pins) -> Result<bool, DatapathError> {
        pins.repair_link(&self.pin, self.link.as_fd())
    }

    /// Detaches and removes the pin.
    ///
    /// # Errors
    /// The pin is there and cannot be removed.
    pub(crate) fn detach(self, pins: &Pins) -> Result<(), DatapathError> {
        pins.detach_link(&self.pin, self.link.as_fd())
    }

    /// Name of the pin.
    pub(crate) fn pin(&self) -> &str {
        &self.pin
    }
}

/// The place of our program in the chain of an interface.
fn place(programs: &Programs, chain: &Chain, layer: Layer, index: u32) -> Result<Place, String> {
    let ours = programs.get(chain.copy().program(layer))?;
    Ok(chain.place(ours.fd.as_fd(), index))
}

/// Explains an error of attaching, with the command that fixes it.
fn explain(error: &io::Error, interface: &Interface, mode: HookMode) -> String {
    let name = &interface.name;
    let too_large = exceeded_mtu(interface, KernelVersion::running());
    let code = error.raw_os_error().unwrap_or(0);
    match code {
        libc::EBUSY | libc::EEXIST => match interface.xdp_program {
            Some(id) => format!(
                "XDP program {} holds the hook (bpftool net show dev {name})",
                program_name(id)
            ),
            None => format!("another program holds the hook (bpftool net show dev {name})"),
        },
        // Drivers refuse a large MTU by any of these, and say which only in the kernel's log.
        libc::EINVAL | libc::ERANGE | libc::EOPNOTSUPP
            if mode == HookMode::Native && too_large.is_some() =>
        {
            let largest = too_large.unwrap_or(ETHERNET_MTU);
            format!(
                "the MTU of {} is too large for the driver's XDP (ip link set dev {name} mtu \
                 {largest})",
                interface.mtu
            )
        }
        libc::EINVAL if mode == HookMode::Native && interface.mtu > ETHERNET_MTU => format!(
            "the driver refuses it, probably because of the MTU of {} (ip link set dev {name} mtu \
             {ETHERNET_MTU}; the kernel's log may say more: dmesg)",
            interface.mtu
        ),
        libc::EOPNOTSUPP => format!(
            "the driver does not support it in its present settings (ethtool -K {name} lro off \
             gro-hw off may help)"
        ),
        libc::ERANGE => format!("the MTU of {} is too large for the driver's XDP", interface.mtu),
        libc::ENOSPC | libc::ENOMEM => {
            format!("{error}: too few queues or too little memory (ethtool -L {name} combined N)")
        }
        libc::EINVAL => "the kernel or driver does not know this hook".to_owned(),
        libc::EPERM => "CAP_NET_ADMIN is missing".to_owned(),
        _ => error.to_string(),
    }
}

/// "7 (xdp_dispatcher)"; without CAP_SYS_ADMIN only the number.
fn program_name(id: u32) -> String {
    let name = sys::program_by_id(id).and_then(|fd| sys::program_info(fd.as_fd()));
    match name {
        Ok(info) if !info.name.is_empty() => format!("{id} ({})", info.name),
        _ => id.to_string(),
    }
}
