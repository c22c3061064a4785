//! [`Choice`]: the modes in which an interface may be filtered, best first.

use strum::Display;

use crate::{
    hook::{
        drivers::{MtuChange, native_xdp},
        mode::{Attach, HookMode},
    },
    interfaces::{Interface, Kind, Layer},
    kernel::KernelVersion,
};

/// The modes that may be tried at an interface, or that it needs none.
///
/// ```
/// use dbfw_datapath::{
///     Attach, HookMode, Interface, KernelVersion,
///     hook::{Choice, HookContext},
/// };
///
/// let here = [Interface::ethernet("eth0", 2)];
/// let context = HookContext {
///     present: &here,
///     covers: &|index| index == 2,
///     attach: Attach::Auto,
///     has_tcx: true,
///     kernel: KernelVersion { major: 6, minor: 12 },
/// };
/// assert!(Choice::of(&here[0], None, &context).allows(HookMode::Native));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first of these that works.
    Modes {
        /// Best first; never empty.
        modes: Vec<HookMode>,
        /// The reason why a better one is not among them.
        why: Option<NativeObstacle>,
    },
    /// None: the interfaces below it are filtered.
    Below,
}

/// The reason why native XDP is not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Display)]
pub enum NativeObstacle {
    /// The interface is made of others, and XDP on it would keep the kernel from adding more.
    #[strum(to_string = "native: XDP here would keep the kernel from adding interfaces to it")]
    Stacked,
    /// The driver refuses a larger MTU while a native program is attached.
    #[strum(to_string = "native: {driver} would refuse an MTU above {largest} from then on")]
    RefusesMtu {
        /// The driver.
        driver: String,
        /// The largest MTU it allows.
        largest: u32,
    },
    /// The driver accepts a larger MTU and loses frames, or lets them pass unjudged.
    #[strum(to_string = "native: {driver} does not carry every frame if the MTU exceeds {largest}")]
    UnsafeMtu {
        /// The driver.
        driver: String,
        /// The largest MTU at which it does not.
        largest: u32,
    },
    /// A first attachment to the running interface would lose large frames for a while.
    #[strum(to_string = "native: {driver} would lose large frames for a while, because the \
                         interface is up")]
    Running {
        /// The driver.
        driver: String,
    },
}

/// The host and the settings that the choice of a hook depends on, besides the interface itself.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "holds a closure, and is an argument only")]
pub struct HookContext<'a> {
    /// Every interface that is there.
    pub present: &'a [Interface],
    /// Whether the interface with an index is covered.
    pub covers: &'a dyn Fn(u32) -> bool,
    /// As configured.
    pub attach: Attach,
    /// The kernel knows TCX.
    pub has_tcx: bool,
    /// The kernel's version.
    pub kernel: KernelVersion,
}

impl Choice {
    /// The choice for a covered interface that is attached by `now`, or not yet.
    pub fn of(interface: &Interface, now: Option<HookMode>, context: &HookContext<'_>) -> Self {
        if interface.kind.is_stacked() {
            return stacked(interface, context);
        }
        if interface.kind == Kind::Tunnel {
            // XDP of either mode would judge what carried the packet.
            return Self::Modes { modes: vec![HookMode::Tcx], why: None };
        }
        let forced = |mode| Self::Modes { modes: vec![mode], why: None };
        match context.attach {
            Attach::Native => return forced(HookMode::Native),
            Attach::Tcx => return forced(HookMode::Tcx),
            Attach::Generic => return forced(HookMode::Generic),
            Attach::Auto => {}
        }
        if interface.layer == Some(Layer::Network) {
            // Hardly any of them has native XDP, and generic XDP copies every packet.
            return Self::Modes { modes: vec![HookMode::Tcx, HookMode::Generic], why: None };
        }
        let why = against_native(interface, now, context);
        let native = why.is_none().then_some(HookMode::Native);
        let modes = native.into_iter().chain([HookMode::Tcx, HookMode::Generic]).collect();
        Self::Modes { modes, why }
    }

    /// Whether a mode is among those chosen.
    pub fn allows(&self, mode: HookMode) -> bool {
        match self {
            Self::Modes { modes, .. } => modes.contains(&mode),
            Self::Below => false,
        }
    }
}

/// XDP of any mode on an interface that is made of others keeps the kernel from attaching XDP
/// to those, and native XDP on a bond keeps it from adding some (net/core/dev.c:
/// `dev_xdp_attach`; drivers/net/bonding/bond_main.c: `bond_enslave`).
fn stacked(interface: &Interface, context: &HookContext<'_>) -> Choice {
    let covered = |lower: &Interface| (context.covers)(lower.index);
    let below: Vec<&Interface> = below(interface, context.present).collect();
    // At boot the agent is there before what is to become part of a master.
    let may_become_part = |other: &Interface| {
        other.layer == Some(Layer::Ethernet)
            && !other.kind.is_stacked()
            && other.master.is_none()
            && covered(other)
    };
    let awaits = below.is_empty()
        && interface.kind.is_master()
        && context.present.iter().any(may_become_part);
    let why = Some(NativeObstacle::Stacked);
    let modes = |mode| Choice::Modes { modes: vec![mode], why };
    if context.attach == Attach::Generic && !awaits && !below.iter().any(|lower| covered(lower)) {
        return Choice::Modes { modes: vec![HookMode::Generic], why: None };
    }
    if context.has_tcx {
        return modes(HookMode::Tcx);
    }
    if awaits || (!below.is_empty() && below.iter().all(|lower| covered(lower))) {
        return Choice::Below;
    }
    modes(HookMode::Generic)
}

/// The interfaces that another one is made of.
pub fn below<'a>(
    upper: &'a Interface,
    present: &'a [Interface],
) -> impl Iterator<Item = &'a Interface> {
    present.iter().filter(|lower| {
        lower.master == Some(upper.index)
            || (!upper.kind.is_master() && upper.lower == Some(lower.index))
    })
}

/// The reason against native XDP where the mode may be chosen.
fn against_native(
    interface: &Interface,
    now: Option<HookMode>,
    context: &HookContext<'_>,
) -> Option<NativeObstacle> {
    let driver = interface.driver.as_deref()?;
    let native = native_xdp(driver, context.kernel)?;
    let driver = driver.to_owned();
    match native.mtu {
        MtuChange::Refused { largest } => {
            return Some(NativeObstacle::RefusesMtu { driver, largest });
        }
        MtuChange::Unsafe { largest } => {
            return Some(NativeObstacle::UnsafeMtu { driver, largest });
        }
        MtuChange::Carried => {}
    }
    let loses = native.first_loses_above.is_some_and(|largest| interface.mtu > largest);
    // What is attached natively already has got over it.
    (loses && interface.up && now != Some(HookMode::Native))
        .then_some(NativeObstacle::Running { driver })
}

/// The largest MTU that the driver of an interface carries with a native program, if the
/// interface's is larger.
pub fn exceeded_mtu(interface: &Interface, kernel: KernelVersion) -> Option<u32> {
    match native_xdp(interface.driver.as_deref()?, kernel)?.mtu {
        MtuChange::Refused { largest } | MtuChange::Unsafe { largest } => {
            (interface.mtu > largest).then_some(largest)
        }
        MtuChange::Carried => None,
    }
}

#[cfg(test)]
mod tests;
