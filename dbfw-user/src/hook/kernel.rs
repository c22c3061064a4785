//! The kernel's version.

use std::fmt;

/// Version of a kernel, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.12.
    pub major: u32,
    /// 12 of 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// The oldest that is supported.
    pub const OLDEST: Self = Self { major: 6, minor: 1 };

    /// Version of the running kernel; the oldest if its release does not begin with one.
    pub fn running() -> Self {
        nix::sys::utsname::uname()
            .ok()
            .and_then(|name| Self::of_release(name.release().to_str()?))
            .unwrap_or(Self::OLDEST)
    }

    /// Version at the beginning of a release like "6.1.0-29-cloud-amd64".
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.1.0-29-cloud-amd64", Some((6, 1))),
            ("6.12.57+deb13-amd64", Some((6, 12))),
            ("7.3-rc1", Some((7, 3))),
            ("6", None),
            ("linux", None),
        ] {
            let version = KernelVersion::of_release(release);
            assert_eq!(version.map(|v| (v.major, v.minor)), expected, "{release}");
        }
        assert!(KernelVersion { major: 6, minor: 12 } > KernelVersion { major: 6, minor: 6 });
    }
}
