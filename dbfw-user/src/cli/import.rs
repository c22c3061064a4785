//! `dbfw import`: the rules of other systems as a list.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use dbfw_core::{
    PortQuery,
    exchange::{self, Imported},
    hba::{Dialect, FileError, Files, Rules},
    source::Prefix,
};
use dbfw_provider::file::MAX_BYTES;

use super::{
    args::ImportForm,
    check::read_stdin,
    context::print,
    exit::{Exit, UsageError},
    message::{note, warn},
};

/// Problems of a file that are shown.
const SHOWN: usize = 20;

pub(super) fn import(
    form: ImportForm,
    file: &Path,
    port: Option<PortQuery>,
) -> anyhow::Result<Exit> {
    if form == ImportForm::PgHba && port.is_some() {
        let message = "pg_hba.conf has no ports: leave --port out";
        return Err(UsageError(message.to_owned()).into());
    }
    let text = read(file)?;
    let imported = match form {
        ImportForm::PgHba => exchange::import_hba(&hba(file, &text)?),
        ImportForm::Nft => exchange::import_nft(&String::from_utf8_lossy(&text), port),
        ImportForm::Ufw => exchange::import_ufw(&String::from_utf8_lossy(&text), port),
    };
    let left = imported.iter().filter(|one| matches!(one, Imported::Left { .. })).count();
    let is_everybody = |one: &Imported| match one {
        Imported::Taken { prefixes, .. } => {
            prefixes.iter().any(|prefix| [Prefix::ANY4, Prefix::ANY6].contains(prefix))
        }
        Imported::Left { .. } => false,
    };
    print(&exchange::list(&imported))?;
    if left > 0 {
        note(&format!(
            "{left} rules are not taken: the list has them as comments, with the reason"
        ));
    }
    if imported.iter().any(is_everybody) {
        warn("the list admits everybody: take 0.0.0.0/0 and ::/0 out of it");
    }
    Ok(Exit::Ok)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let text = read_stdin().context("standard input cannot be read")?;
        return text.with_context(|| format!("standard input has more than {MAX_BYTES} bytes"));
    }
    read_file(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The content of a regular file of a bounded size. A pipe in its place does not hold it up.
fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    opened.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    match text.len() as u64 <= MAX_BYTES {
        true => Ok(text),
        false => Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes"))),
    }
}

fn hba(file: &Path, text: &[u8]) -> anyhow::Result<Rules> {
    let rules = Rules::parse(file, text, Dialect::From16, &mut Disk);
    rules.or_else(|problems| {
        let shown: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = match problems.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        bail!("PostgreSQL would not load it:\n{}{more}", shown.join("\n"))
    })
}

/// The files that a file names.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        read_file(path).map_err(|error| of_disk(&error))
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let entries = directory.read_dir().map_err(|error| of_disk(&error))?;
        let files = entries.flatten().filter(|entry| !entry.path().is_dir());
        Ok(files.map(|entry| entry.file_name().into()).collect())
    }
}

fn of_disk(error: &io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound,
        _ => FileError::Other(error.to_string()),
    }
}
