//! Settings and drivers of interfaces, by SIOCETHTOOL, which takes no capability.

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// Linux's `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Linux's `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// Whether large receive offload is on.
///
/// # Errors
///
/// There is no such interface, or its driver does not tell.
pub fn lro(interface: &str) -> io::Result<bool> {
    let mut value = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
    // SAFETY: ETHTOOL_GFLAGS reads and writes an ethtool_value.
    unsafe { ask(interface, &mut value) }?;
    Ok(value.data & ETH_FLAG_LRO != 0)
}

/// The name of an interface's driver.
///
/// # Errors
///
/// There is no such interface, or it has no driver.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    // SAFETY: ETHTOOL_GDRVINFO reads and writes an ethtool_drvinfo.
    unsafe { ask(interface, &mut info) }?;
    let name = info.driver.split(|&byte| byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// # Safety
///
/// `data` must be the structure of the command it begins with.
unsafe fn ask<T>(interface: &str, data: &mut T) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut *data).cast() },
    };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = byte as libc::c_char;
    }
    // SAFETY: SIOCETHTOOL reads an ifreq whose name ends in a zero byte and whose data points
    // to the structure of its command, by the caller's promise. Both outlive the call.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
