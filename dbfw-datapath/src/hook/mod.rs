//! The choice of the hook that an interface is filtered at: by the interfaces, the
//! configuration, and what the kernel and the drivers are known to do.

mod choice;
mod drivers;
mod mode;

pub use choice::{Choice, Overlong, Site, Why, overlong};
pub use drivers::{MtuChange, NativeXdp, native_xdp};
pub use mode::{Attach, HookMode};
