//! Builds the kernel programs and leaves the object where `shape.rs` includes it.

use std::{env, fs, path::Path};

use anyhow::Context as _;
use aya_build::{Package, Toolchain, build_ebpf};
use object::build::elf::{Builder, SectionData};

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed={}", dbfw_toolchain::OVERRIDE);
    let found = match dbfw_toolchain::find() {
        Ok(found) => found,
        Err(missing) => {
            // cargo fails the build for it, and shows this line alone if the script succeeds.
            println!(
                "cargo::error=dbfw's kernel programs cannot be built: {missing}. Run `cargo xtask \
                 setup`, which installs it."
            );
            return Ok(());
        }
    };
    // core is built from source with an unstable flag, for this crate and compiler only.
    // SAFETY: the build script has one thread.
    #[expect(clippy::disallowed_methods, reason = "one thread; aya-build reads it from here")]
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // Its progress would otherwise appear as warnings of this crate.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let features: &[&str] = if cfg!(feature = "bpf-log") { &["log"] } else { &[] };
    build_ebpf(
        [Package {
            name: "dbfw-ebpf",
            root_dir: "../dbfw-ebpf",
            no_default_features: false,
            features,
        }],
        Toolchain::Custom(&found.name),
    )?;
    let directory = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    strip_dwarf(&Path::new(&directory).join("dbfw-ebpf"))
}

/// Takes out of the object what BTF was made of: nothing loads or reads it, and it is most of
/// the file.
fn strip_dwarf(path: &Path) -> anyhow::Result<()> {
    let object = fs::read(path).with_context(|| format!("no object {}", path.display()))?;
    let mut builder = Builder::read(&*object).context("the object is no ELF file")?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = name.trim_start_matches(".rel").starts_with(".debug_");
    }
    builder.delete_orphans();
    // LLVM puts all names into one section; the builder wants those of sections apart.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("the object without DWARF")?;
    fs::write(path, stripped).with_context(|| format!("cannot write {}", path.display()))
}
