//! A process whose clocks are wrong by what a test says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::netns::finish;

/// Adds what the file of that name says to CLOCK_REALTIME and CLOCK_BOOTTIME, for whoever asks
/// the C library.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result || (clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME)) return result;
    char text[64] = {0};
    int file = open(getenv("DBFW_TEST_SKEW"), O_RDONLY | O_CLOEXEC);
    if (file < 0) return result;
    if (read(file, text, sizeof text - 1) > 0) {
        char *second = strchr(text, ' ');
        time->tv_sec += atoll(clock == CLOCK_REALTIME || !second ? text : second);
    }
    close(file);
    return result;
}
"#;

/// Clocks that a test sets.
#[derive(Debug)]
pub struct Skew {
    files: TempDir,
}

impl Skew {
    /// Right ones, to begin with.
    pub fn new() -> Self {
        let files = TempDir::with_prefix("dbfw-test-skew-").expect("a directory");
        let skew = Self { files };
        fs::write(skew.path("shim.c"), SHIM).expect("write the shim");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(skew.path("shim.so"));
        finish(compile.arg(skew.path("shim.c")).arg("-ldl"));
        skew.set(0, 0);
        skew
    }

    /// Makes the wall clock and the time since the boot wrong by so many seconds.
    pub fn set(&self, wall: i64, boot: i64) {
        let fresh = self.path("fresh");
        fs::write(&fresh, format!("{wall} {boot}")).expect("write the skew");
        fs::rename(fresh, self.path("skew")).expect("set the clocks");
    }

    /// A command that runs the one behind it by these clocks.
    pub fn wrapper(&self) -> [String; 3] {
        let shown = |path: PathBuf| path.display().to_string();
        [
            "env".to_owned(),
            format!("LD_PRELOAD={}", shown(self.path("shim.so"))),
            format!("DBFW_TEST_SKEW={}", shown(self.path("skew"))),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.files.path()).join(name)
    }
}

impl Default for Skew {
    fn default() -> Self {
        Self::new()
    }
}
