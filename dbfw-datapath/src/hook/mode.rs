//! [`HookMode`], the hooks there are, and [`Attach`], the one that is configured.

use dbfw_common::{PROGRAM_TCX, PROGRAM_TCX_L3, PROGRAM_XDP, PROGRAM_XDP_L3};
use strum::{IntoStaticStr, VariantArray};

use crate::interfaces::Layer;

/// The hook an interface is filtered at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in the configuration, metrics and pins.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}
