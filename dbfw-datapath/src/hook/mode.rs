//! [`HookMode`], the hooks there are, and [`Attach`], the one that is configured.

use dbfw_common::{PROGRAM_TCX, PROGRAM_TCX_L3, PROGRAM_XDP, PROGRAM_XDP_L3};

use crate::interfaces::Layer;

/// The hook an interface is filtered at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookMode {
    /// XDP in the driver.
    Native,
    /// The traffic control ingress hook.
    Tcx,
    /// XDP behind the driver.
    Generic,
}

impl HookMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Native, Self::Tcx, Self::Generic];

    /// The name used in the configuration, metrics and pins.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tcx => "tcx",
            Self::Generic => "generic",
        }
    }

    /// The program for it.
    pub const fn program(self, layer: Layer) -> &'static str {
        match (self, layer) {
            (Self::Tcx, Layer::Ethernet) => PROGRAM_TCX,
            (Self::Tcx, Layer::Network) => PROGRAM_TCX_L3,
            (_, Layer::Ethernet) => PROGRAM_XDP,
            (_, Layer::Network) => PROGRAM_XDP_L3,
        }
    }
}

/// The hook that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Native XDP, else TCX, else generic XDP.
    Auto,
    /// XDP in the driver.
    Native,
    /// The traffic control ingress hook.
    Tcx,
    /// XDP behind the driver, on the socket buffer.
    Generic,
}

impl Attach {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Native, Self::Tcx, Self::Generic];

    /// The name used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => HookMode::Native.as_str(),
            Self::Tcx => HookMode::Tcx.as_str(),
            Self::Generic => HookMode::Generic.as_str(),
        }
    }
}
