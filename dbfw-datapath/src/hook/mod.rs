//! The choice of the hook at which an interface is filtered.
//!
//! It depends on the interfaces, the configuration, the kernel and the drivers.

mod choice;
mod drivers;
mod mode;

pub use choice::{Choice, HookContext, NativeObstacle, below, exceeded_mtu};
pub use drivers::{MtuChange, NativeXdp, native_xdp};
pub use mode::{Attach, HookMode};
