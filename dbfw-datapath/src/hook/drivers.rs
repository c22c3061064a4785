//! Drivers with native XDP, and what it does to large frames.

use crate::kernel::KernelVersion;

/// The effect of an attached native program on the MTU of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtuChange {
    /// Any MTU can be set, and every frame is judged and carried.
    Carried,
    /// A larger MTU than `largest` is refused, to DHCP too.
    Refused {
        /// Bytes, about.
        largest: u32,
    },
    /// A larger MTU than `largest` is accepted; larger frames are lost, or pass unjudged.
    Unsafe {
        /// Bytes, about.
        largest: u32,
    },
}

/// Native XDP in a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeXdp {
    /// The effect on larger MTUs.
    pub mtu: MtuChange,
    /// A first attachment to a running interface with a larger MTU loses larger frames until
    /// the buffers that were posted before are used up.
    pub first_loses_above: Option<u32>,
    /// A first attachment sets up the queues anew: the link may be down for seconds.
    pub first_flaps: bool,
}

/// A driver from a version of the kernel on; what holds for a kernel is the last that fits.
struct Known {
    driver: &'static str,
    since: KernelVersion,
    native: NativeXdp,
}

const fn known(driver: &'static str, since: (u32, u32), mtu: MtuChange) -> Known {
    let (major, minor) = since;
    Known {
        driver,
        since: KernelVersion { major, minor },
        native: NativeXdp { mtu, first_loses_above: None, first_flaps: true },
    }
}

const fn still(mut known: Known) -> Known {
    known.native.first_flaps = false;
    known
}

const fn loses_above(mut known: Known, mtu: u32) -> Known {
    known.native.first_loses_above = Some(mtu);
    known
}

/// The oldest kernel that is supported.
const ANY: (u32, u32) = (6, 1);

/// All figures are for pages of 4,096 bytes: the page less head room, headers and
/// `skb_shared_info`.
const DRIVERS: &[Known] = &[
    // drivers/net/virtio_net.c: virtnet_xdp_set() refuses an MTU above the page at attach; there
    // is no ndo_change_mtu, so a later MTU is accepted, and receive_mergeable() drops what does
    // not fit (seen on 6.1.176: also after detaching).
    still(known("virtio_net", ANY, MtuChange::Unsafe { largest: 3506 })),
    // 22174f79a44b, fab89bafa95b (6.3): multi-buffer. Buffers posted before the first program have
    // no head room and are dropped where they are chained (seen on 6.12 and 7.3: 50 s at 9,000).
    still(loses_above(known("virtio_net", (6, 3), MtuChange::Carried), 3506)),
    // drivers/net/veth.c: veth_xdp_set(), with frags the peer's max_mtu grows by MAX_SKB_FRAGS
    // pages (718a18a0c8a6, 5.18).
    still(known("veth", ANY, MtuChange::Carried)),
    // drivers/net/tun.c: tun_build_skb() and tun_xdp_one() for what fits, do_xdp_generic() else.
    still(known("tun", ANY, MtuChange::Carried)),
    // drivers/net/ethernet/amazon/ena/ena_netdev.c: ena_xdp_set() sets max_mtu to ENA_XDP_MAX_MTU
    // while a program is attached (838c93dc5449, 5.6).
    known("ena", ANY, MtuChange::Refused { largest: 3498 }),
    // drivers/net/ethernet/mellanox/mlx5/core/en_main.c: mlx5e_params_validate_xdp() refuses
    // striding RQ with a larger MTU, at attach and in mlx5e_change_mtu().
    known("mlx5_core", ANY, MtuChange::Refused { largest: 3498 }),
    // f52ac7028bec (6.4): striding RQ takes multi-buffer programs.
    known("mlx5_core", (6, 4), MtuChange::Carried),
    // drivers/net/ethernet/intel/ixgbe/ixgbe_main.c: ixgbe_change_mtu() and ixgbe_xdp_setup().
    known("ixgbe", ANY, MtuChange::Refused { largest: 3046 }),
    // drivers/net/ethernet/intel/i40e/i40e_main.c: i40e_change_mtu() and i40e_xdp_setup().
    known("i40e", ANY, MtuChange::Refused { largest: 3046 }),
    // e213ced19bef (6.4): multi-buffer.
    known("i40e", (6, 4), MtuChange::Carried),
    // drivers/net/ethernet/intel/ice/ice_main.c: ice_change_mtu() and ice_xdp_setup_prog().
    known("ice", ANY, MtuChange::Refused { largest: 3046 }),
    // 2fba7dc5157b (6.3): multi-buffer.
    known("ice", (6, 3), MtuChange::Carried),
    // drivers/net/ethernet/broadcom/bnxt/bnxt_xdp.c: bnxt_xdp_set() takes any MTU with frags (5.19).
    known("bnxt_en", ANY, MtuChange::Carried),
    // drivers/net/ethernet/google/gve/gve_main.c: the MTU is looked at when a program is attached,
    // not when it changes; gve_rx.c: `if (xprog && is_only_frag)` leaves larger frames unjudged.
    known("gve", ANY, MtuChange::Unsafe { largest: 2032 }),
    // drivers/net/hyperv/netvsc_drv.c: netvsc_change_mtu() attaches the program again by
    // netvsc_xdp_set(), which refuses, and goes back to the MTU it had.
    known("hv_netvsc", ANY, MtuChange::Refused { largest: 3506 }),
    // drivers/net/vmxnet3/vmxnet3_xdp.c: vmxnet3_xdp_set() looks at the MTU, vmxnet3_change_mtu()
    // does not, and frames of several descriptors are not judged (6.3; no native XDP before).
    known("vmxnet3", ANY, MtuChange::Unsafe { largest: 3492 }),
];

/// Native XDP in a driver, on a kernel; `None`: nothing is known about it.
pub fn native_xdp(driver: &str, kernel: KernelVersion) -> Option<NativeXdp> {
    DRIVERS
        .iter()
        .rev()
        .find(|known| known.driver == driver && known.since <= kernel)
        .map(|known| known.native)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_by_kernel() {
        use MtuChange::{Carried, Refused, Unsafe};
        for (driver, minor, expected) in [
            ("virtio_net", 1, Some(Unsafe { largest: 3506 })),
            ("virtio_net", 2, Some(Unsafe { largest: 3506 })),
            ("virtio_net", 3, Some(Carried)),
            ("virtio_net", 18, Some(Carried)),
            ("ena", 1, Some(Refused { largest: 3498 })),
            ("ena", 18, Some(Refused { largest: 3498 })),
            ("mlx5_core", 3, Some(Refused { largest: 3498 })),
            ("mlx5_core", 4, Some(Carried)),
            ("i40e", 1, Some(Refused { largest: 3046 })),
            ("ice", 3, Some(Carried)),
            ("gve", 12, Some(Unsafe { largest: 2032 })),
            ("veth", 1, Some(Carried)),
            ("r8169", 12, None),
            ("virtio_net", 0, None),
        ] {
            let native = native_xdp(driver, KernelVersion { major: 6, minor });
            assert_eq!(native.map(|native| native.mtu), expected, "{driver} 6.{minor}");
        }
        let later = KernelVersion { major: 7, minor: 3 };
        let virtio = native_xdp("virtio_net", later).unwrap();
        assert_eq!((virtio.first_loses_above, virtio.first_flaps), (Some(3506), false));
        assert!(native_xdp("ixgbe", later).unwrap().first_flaps);
    }

    #[test]
    fn the_drivers_of_the_documentation_are_known() {
        let kernel = KernelVersion { major: 6, minor: 1 };
        for driver in [
            "virtio_net",
            "veth",
            "ena",
            "mlx5_core",
            "ixgbe",
            "i40e",
            "ice",
            "bnxt_en",
            "gve",
            "hv_netvsc",
            "vmxnet3",
            "tun",
        ] {
            assert!(native_xdp(driver, kernel).is_some(), "{driver}");
        }
    }
}
