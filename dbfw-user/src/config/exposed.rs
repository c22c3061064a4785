//! Warnings about files of the configuration that somebody besides root can write.

use std::{fs, path::Path};

use dbfw_core::toml::{Place, Problem};
use dbfw_provider::file::directories_to;

use super::{
    Config,
    files::{Purpose, files},
};
use crate::exposure::Exposure;

/// The files that the agent reads and another user can write or replace, each with who that is
/// and what it lets him do. What cannot be looked at is left out.
pub fn exposed_files(config: &Config) -> Vec<Problem> {
    let mut found: Vec<Problem> =
        files(config).iter().filter_map(|(path, purpose)| exposed(path, *purpose)).collect();
    // A file that is not there yet is another way in.
    let drop_ins = config.files.first().map(|main| main.path.with_file_name("conf.d"));
    if let Some(directory) = drop_ins
        && let Some(exposure) = fs::metadata(&directory).ok().as_ref().and_then(Exposure::of)
    {
        found.push(problem(&directory, format!("{exposure}"), &exposure, Purpose::Configuration));
    }
    found
}

/// The warning about a list that another user can write or replace.
pub fn exposed_list(path: &Path) -> Option<Problem> {
    exposed(path, Purpose::Data)
}

fn exposed(path: &Path, purpose: Purpose) -> Option<Problem> {
    let path = std::path::absolute(path).ok()?;
    let file = fs::metadata(&path).ok()?;
    if let Some(exposure) = Exposure::of(&file) {
        return Some(problem(&path, format!("{exposure}"), &exposure, purpose));
    }
    directories_to(&path).iter().find_map(|directory| {
        let exposure = Exposure::of_parent(&fs::metadata(directory).ok()?)?;
        let said = format!("its directory {} {exposure}", directory.display());
        let mut problem = problem(&path, said, &exposure, purpose);
        problem.fix = exposure.fix(directory);
        Some(problem)
    })
}

fn problem(path: &Path, said: String, exposure: &Exposure, purpose: Purpose) -> Problem {
    let effect = match purpose {
        Purpose::Configuration => "who can write it decides what is protected and who may connect",
        Purpose::Data => "who can write it decides who may connect",
        Purpose::Secret => "who can write it decides which account is asked who may connect",
    };
    Problem {
        place: Place::file(path),
        message: format!("{said}: {effect}"),
        fix: exposure.fix(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use nix::unistd::geteuid;

    use super::*;
    use crate::config::load;

    /// A configuration with a drop-in, a list and a feed, each below a directory of its own.
    fn laid_out() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/conf.d", "lists", "feeds"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let shown = root.path().display();
        let main = format!(
            "[[database]]\nname = \"shop\"\nports = [5432]\n\
             provider = {{ kind = \"file\", path = \"{shown}/lists/shop\" }}\n\
             trusted_sources = [\"feed:{shown}/feeds/ci\"]\n"
        );
        let drop_in = "[[database]]\nname = \"crm\"\nports = [3306]\ntrusted_sources = [\"ip_addr:192.0.2.1\"]\n";
        for (name, text) in [
            ("etc/dbfw.toml", &*main),
            ("etc/conf.d/crm.toml", drop_in),
            ("lists/shop", "192.0.2.10\n"),
            ("feeds/ci", "192.0.2.20\n"),
        ] {
            fs::write(root.path().join(name), text).unwrap();
        }
        for name in ["", "etc", "etc/conf.d", "lists", "feeds"] {
            mode(&root.path().join(name), 0o755);
        }
        root
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The warnings that name another writer.
    fn told(root: &tempfile::TempDir) -> Vec<String> {
        let config = load(&root.path().join("etc/dbfw.toml")).unwrap();
        let warnings = config.warnings.iter().map(ToString::to_string);
        warnings.filter(|warning| warning.contains("who can write it")).collect()
    }

    #[test]
    fn every_file_and_directory_that_others_can_write_is_told_once() {
        let root = laid_out();
        assert_eq!(told(&root), [""; 0]);
        for (path, bits, wanted) in [
            ("etc/dbfw.toml", 0o666, "what is protected"),
            ("etc/dbfw.toml", 0o664, "what is protected"),
            ("etc/conf.d/crm.toml", 0o646, "what is protected"),
            ("lists/shop", 0o660, "who may connect"),
            ("lists", 0o777, "its directory"),
            ("feeds/ci", 0o602, "who may connect"),
            ("feeds", 0o770, "its directory"),
        ] {
            let path = root.path().join(path);
            let before = fs::metadata(&path).unwrap().permissions();
            mode(&path, bits);
            let found = told(&root);
            assert_eq!(found.len(), 1, "{} {bits:o}: {found:?}", path.display());
            assert!(found[0].contains(wanted), "{found:?}");
            assert!(
                found[0].contains(&format!("is writable by others (mode 0{bits:o})")),
                "{found:?}"
            );
            assert!(found[0].contains(&format!("chmod go-w {}", path.display())), "{found:?}");
            fs::set_permissions(&path, before).unwrap();
        }
        // Whoever can add a drop-in, also where nobody can replace one.
        mode(&root.path().join("etc/conf.d"), 0o1777);
        assert_eq!(told(&root).len(), 1);
        // A directory like /tmp, in which only owners replace files.
        mode(&root.path().join("etc/conf.d"), 0o755);
        mode(&root.path().join("lists"), 0o1777);
        assert_eq!(told(&root), [""; 0]);
    }

    #[test]
    fn the_owner_is_named() {
        if !geteuid().is_root() {
            return;
        }
        let root = laid_out();
        chown(root.path().join("lists/shop"), Some(65534), None).unwrap();
        chown(root.path().join("feeds"), Some(4_000_000), None).unwrap();
        let found = told(&root);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|told| told.contains("(uid 65534)")), "{found:?}");
        assert!(found.iter().any(|told| told.contains("belongs to uid 4000000")), "{found:?}");
    }
}
