//! From files to a configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    AgentConfig, Config,
    agent::Agent,
    database::{Draft, read_database},
    open::{OpenError, read_file},
    problem::Problems,
    read::Document,
    report::{Place, Report},
    validate::{check_databases, warn_sources},
};

/// Largest configuration file in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads the configuration in `path` and in `conf.d/*.toml` beside it.
///
/// Drop-ins are read in the order of their names. What one says of `[agent]` replaces what
/// came before; its databases are added.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let mut report = Report::default();
    let mut agent = Agent::default();
    let mut drafts = Vec::new();
    let mut files = Vec::new();
    let mut complete = true;

    let mut paths = vec![path.to_path_buf()];
    paths.extend(drop_ins(path, &mut report));
    for file in paths {
        match read_one(&file, file == path, &mut agent, &mut drafts, &mut report) {
            Some(()) => files.push(file),
            None => complete = false,
        }
    }
    // A file that could not be read may have had the databases.
    if drafts.is_empty() && complete && report.is_clean() {
        let fix = "add one that begins with [[database]]";
        report.problem(&Place::file(path), "protects no database", fix);
    }
    check_databases(&drafts, &mut report);
    agent.warn(&mut report);
    let now = Timestamp::now();
    for draft in &drafts {
        warn_sources(draft, now, &mut report);
    }

    let warnings = report.finish(path)?;
    Ok(Config {
        agent: agent.config,
        databases: drafts.into_iter().map(|draft| draft.config).collect(),
        files,
        warnings,
    })
}

/// `[agent]` as far as it can be made out, for commands that only need to know where things
/// are: what is missing, unreadable or wrong has its default.
pub fn agent_section(path: &Path) -> AgentConfig {
    let mut agent = Agent::default();
    let mut ignored = Report::default();
    let mut paths = vec![path.to_path_buf()];
    paths.extend(drop_ins(path, &mut ignored));
    for file in paths {
        let Ok(content) = read_file(&file, MAX_FILE) else { continue };
        let text = String::from_utf8_lossy(&content);
        let document = Document::parse_lenient(&file, &text);
        let section = document.root().take("agent");
        if let Some(table) = section.and_then(|value| value.table("", &mut ignored)) {
            agent.read(table, &mut ignored);
        }
    }
    agent.config
}

/// The files in `conf.d` beside the main file, by name.
fn drop_ins(main: &Path, report: &mut Report) -> Vec<PathBuf> {
    let directory = main.with_file_name("conf.d");
    let entries = fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths: Vec<PathBuf> = match entries {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let fix = "make it a readable directory, or remove it";
            report.problem(&Place::file(&directory), format!("cannot be read: {error}"), fix);
            return Vec::new();
        }
    };
    // Names that begin with a dot are editors' temporary files.
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "toml")
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    });
    paths.sort();
    paths
}

/// Reads one file; `None` if its content could not be made out.
fn read_one(
    file: &Path,
    is_main: bool,
    agent: &mut Agent,
    drafts: &mut Vec<Draft>,
    report: &mut Report,
) -> Option<()> {
    let content = read_file(file, MAX_FILE)
        .map_err(|error| {
            report.problem(&Place::file(file), error.to_string(), open_fix(&error, is_main));
        })
        .ok()?;
    let text = utf8(file, &content, report)?;
    let document = Document::parse(file, text, report)?;
    let mut root = document.root();

    if let Some(value) = root.take("agent")
        && let Some(table) = value.table("begin it with [agent]", report)
    {
        agent.read(table, report);
    }
    if let Some(value) = root.take("database")
        && let Some(elements) = value.array("begin each database with [[database]]", report)
    {
        drafts.extend(elements.filter_map(|element| read_database(element, report)));
    }
    if let Some(value) = root.take("digitalocean") {
        let message = "needs the DigitalOcean provider, which this version does not have";
        report.problem(&value.place(), message, "remove this table");
    }
    root.finish(report);
    Some(())
}

/// The text of a file; `None` with a problem if it is none.
pub(crate) fn utf8<'c>(file: &Path, content: &'c [u8], report: &mut Report) -> Option<&'c str> {
    match str::from_utf8(content) {
        Ok(text) => Some(text),
        Err(error) => {
            let before = &content[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            report.problem(&Place::line(file, line), "not UTF-8", "save the file as UTF-8");
            None
        }
    }
}

fn open_fix(error: &OpenError, is_main: bool) -> &'static str {
    match error {
        OpenError::NotRegular if !is_main => "move it out of conf.d",
        OpenError::NotRegular => "name a file",
        OpenError::TooLarge(_) => "move long lists of sources to a file of their own (provider)",
        OpenError::Io(error) => match error.kind() {
            io::ErrorKind::NotFound if !is_main => "remove the link that leads nowhere",
            io::ErrorKind::NotFound => "create it, or name another one with --config",
            io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
            _ => "check the path and the file system",
        },
    }
}
