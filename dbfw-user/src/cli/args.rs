//! The grammar of the command line, and its help.

use std::{ffi::OsString, fmt::Write as _, net::IpAddr, num::NonZeroUsize, path::PathBuf};

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, StyledStr, Styles, TypedValueParser},
};
use dbfw_core::{
    PortQuery,
    audit::{Acceptance, CheckId, Severity},
    source::{GrammarError, Prefix, PrefixError, TrustedSource},
    toml::parse_duration,
};
use jiff::SignedDuration;
use strum::IntoEnumIterator as _;

use super::{
    context::{Context, FORMAT_VARIABLE},
    output::Format,
};

/// Trusted sources for the databases of this host, enforced before the kernel spends
/// anything on a packet.
#[derive(Debug, Parser)]
#[command(
    name = "dbfw",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = false,
    after_help = "Exit status: 0 done, 1 failed or the answer is no, 2 wrong usage, 69 no agent \
                  answers, 77 not permitted, 78 bad configuration. For scripts, \
                  docs/operations.md has the fields of JSON and the columns of plain."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) context: Context,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Order of refused sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// The last refused first.
    Newest,
    /// Most packets first.
    Packets,
}

/// Subcommand.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say whether the databases are protected.
    ///
    /// Exit status 1 if what is configured is not in force: a mode that drops nothing is a line of the
    /// answer, and JSON's `protected` is false.
    Status,
    /// List every trusted source, its prefixes and its last use.
    Sources {
        /// Only sources that let nothing in for this long, as in 30d.
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        unused: Option<SignedDuration>,
    },
    /// Say what happens to packets from an address, and why.
    ///
    /// Exit status 1 if any of them is dropped, also where only some interfaces let it in.
    Explain {
        /// Address the packets come from.
        #[arg(value_name = "IP")]
        address: IpAddr,
        /// Only this port, as 5432 or udp/5432 [default: every port of every database].
        #[arg(long, short, allow_negative_numbers = true)]
        port: Option<PortQuery>,
        /// Only packets to this address [default: one that the database judges].
        #[arg(long, value_name = "ADDRESS")]
        to: Option<IpAddr>,
    },
    /// List the sources that were refused, the last refused first.
    ///
    /// One row for each source and database. The table ends with those that were refused and are
    /// trusted now.
    Drops {
        /// Print refusals as they happen, until interrupted.
        #[arg(long, short)]
        follow: bool,
        /// Only sources refused within this time, as in 1h or 7d.
        #[arg(
            long,
            value_name = "DURATION",
            value_parser = lifetime,
            conflicts_with = "follow"
        )]
        since: Option<SignedDuration>,
        /// Only this address, or those in this network.
        #[arg(long, value_name = "ADDR", value_parser = network)]
        address: Option<Prefix>,
        /// Only of this database; "*": packets whose port could not be read.
        #[arg(long, short, value_name = "NAME")]
        database: Option<String>,
        /// The order of the sources.
        #[arg(long, value_name = "ORDER", default_value = "newest", conflicts_with = "follow")]
        sort: Order,
        /// List at most this many sources [default: 20 in a table, else all].
        #[arg(long, short = 'n', value_name = "N", conflicts_with = "follow")]
        limit: Option<NonZeroUsize>,
    },
    /// Propose sources to trust, from those that came and are not trusted.
    ///
    /// The fewest trusted sources that would let in everyone of those, except what looks like a
    /// scanner. Look at each before you trust it. `--output plain` prints lines for the
    /// configuration, those that are doubtful as comments.
    Suggest {
        /// Only for this database [default: for each].
        #[arg(long, short, value_name = "NAME")]
        database: Option<String>,
        /// Show scanners too, and a long table whole.
        #[arg(long, short)]
        all: bool,
    },
    /// Show the changes of who may connect, and who asked for them.
    ///
    /// Reads the history in the agent's state_dir, the newest entry last.
    History {
        /// Only entries newer than this, as in 1h or 7d.
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        since: Option<SignedDuration>,
        /// Only entries that let this address in, or keep it out.
        #[arg(long, value_name = "ADDR")]
        address: Option<IpAddr>,
        /// Only entries about this database.
        #[arg(long, short, value_name = "NAME")]
        database: Option<String>,
        /// Show at most this many entries [default: 20 in a table, else all].
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<NonZeroUsize>,
    },
    /// Print the list in force as rules of PostgreSQL or nftables, or as JSON.
    Export {
        /// The form of the rules.
        #[arg(value_name = "FORM")]
        form: ExportForm,
        /// Only this database [default: all].
        #[arg(long, short, value_name = "NAME")]
        database: Option<String>,
    },
    /// Print a list made of the rules of PostgreSQL, nftables or ufw.
    ///
    /// Rules that a list cannot express become comments in it. Changes nothing: put the list where a
    /// provider of kind file reads it.
    Import {
        /// The form of the file.
        #[arg(value_name = "FORM")]
        form: ImportForm,
        /// The file: pg_hba.conf, a ruleset of nftables, ufw's user.rules or what ufw status
        /// prints; - is standard input.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Of nftables and ufw only rules for this port, as 5432 or udp/5432.
        #[arg(long, short, allow_negative_numbers = true)]
        port: Option<PortQuery>,
    },
    /// Print the certificates that a database shows, and what its clients must write.
    ///
    /// The chain goes to standard output as PEM, the root last if it is sent; what it is good for
    /// goes to standard error.
    Ca {
        /// The database.
        #[arg(value_name = "DATABASE")]
        database: String,
        /// Certificate authorities that clients know [default: this host's].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        ca_file: Option<PathBuf>,
    },
    /// Look for weaknesses of the databases behind the filter.
    ///
    /// Reads the configuration, the listening sockets, the counters and PostgreSQL's files, and
    /// connects to each database as a client without a credential, from an address of this host. A
    /// check that cannot be made is unknown. Only root may. Exit status 1 if there are findings.
    Audit(AuditArguments),
    /// Join this host to a control plane, whose lists it then enforces.
    ///
    /// Reads a join token, as `dbfw-server join-token` prints it, from standard input. Writes
    /// conf.d/server.toml, the host's token and the server's certificate authority beside the
    /// configuration. Nothing is in force before `dbfw reload`.
    Join {
        /// Address of the server, as https://ctl.example.com:7443.
        #[arg(value_name = "URL", value_hint = ValueHint::Url)]
        url: String,
        /// File with the join token [default: standard input].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        token_file: Option<PathBuf>,
        /// Replace what an earlier join wrote.
        #[arg(long)]
        force: bool,
    },
    /// Show the content of the kernel's maps.
    Map {
        #[command(subcommand)]
        verb: MapVerb,
    },
    /// Print the metrics in the Prometheus text format.
    Metrics,
    /// Check the host for what dbfw needs.
    ///
    /// Exit status 1 if a check fails.
    Doctor,
    /// Run the agent in the foreground.
    Run,
    /// Check the configuration and say what it would enforce.
    ///
    /// Changes nothing. Exit status 78 if the configuration or the list is bad.
    Check {
        /// Check this list of trusted sources instead, as a provider of kind file reads it; - is
        /// standard input.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        list: Option<PathBuf>,
        /// Take warnings for problems.
        #[arg(long)]
        strict: bool,
    },
    /// Read the configuration and every list again.
    ///
    /// Exit status 1 if a list could not be read or a guard refused a change, 78 if the
    /// configuration is bad; what was enforced before then stays. With --trial the configuration
    /// in force now is in force again after a time, or at once if the agent stops or is started
    /// again, so that nobody stays locked out by a mistake.
    Reload {
        /// Confirm the refused changes with these ids, or all that are refused now.
        #[arg(long, value_name = "ID", num_args = 0.., value_parser = plan_id)]
        confirm: Option<Vec<String>>,
        /// Go back to the configuration in force now after this time, as in 10m, unless --keep
        /// is said by then.
        #[arg(long, value_name = "DURATION", value_parser = trial)]
        trial: Option<SignedDuration>,
        /// Keep the configuration that is on trial. Reads nothing.
        #[arg(long, conflicts_with_all = ["confirm", "trial"])]
        keep: bool,
        /// Go back to the configuration before the trial now. Reads nothing.
        #[arg(long, conflicts_with_all = ["confirm", "trial", "keep"])]
        revert: bool,
    },
    /// Add and remove trusted sources by hand.
    Trust {
        #[command(subcommand)]
        verb: TrustVerb,
    },
    /// End the protection: open every protected port to everyone.
    ///
    /// Asks first if standard input is a terminal.
    Detach {
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man {
        /// Write the page of every subcommand into this directory instead.
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `dbfw audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// Only these databases [default: all, and the host].
    #[arg(value_name = "DATABASE")]
    pub(super) databases: Vec<String>,
    /// Say what a check looks for, why, and what to do.
    #[arg(long, value_name = "ID", value_parser = check_id, conflicts_with = "databases")]
    pub(super) explain: Option<CheckId>,
    /// Do not connect to the databases.
    #[arg(long)]
    pub(super) no_probe: bool,
    /// Log in as the servers' system users, or as [database.audit] says, and read.
    #[arg(long, conflicts_with = "no_probe")]
    pub(super) login: bool,
    /// Watch for so long which users and clients connect, and with TLS or without; as in 60s. SIGINT
    /// ends it early.
    #[arg(long, value_name = "DURATION", value_parser = watch, conflicts_with = "no_probe")]
    pub(super) watch: Option<SignedDuration>,
    /// Names by which clients know the servers, for their certificates.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) names: Vec<String>,
    /// Certificate authorities that clients know [default: this host's].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) ca_file: Option<PathBuf>,
    /// Leave out what weighs less.
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    pub(super) min: Option<Severity>,
    /// The least weight of a finding for exit status 1.
    #[arg(long, value_name = "SEVERITY", value_parser = severity(), default_value = "low")]
    pub(super) fail_on: Severity,
    /// Accept what an earlier audit found: what it printed with --output json.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) baseline: Option<PathBuf>,
    /// Accept the findings of a check, and say why.
    #[arg(long, value_name = "ID:REASON")]
    pub(super) accept: Vec<Acceptance>,
    /// Save the result in the agent's state directory, for metrics and the control plane. Exit
    /// status 0 once it is saved, whatever was found.
    #[arg(long, conflicts_with_all = ["databases", "explain", "fail_on"])]
    pub(super) save: bool,
}

/// The weight of a finding.
fn severity() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(Severity::iter().map(<&str>::from))
        .try_map(|text| text.parse::<Severity>().map_err(|error| error.to_string()))
}

/// The name of a check.
fn check_id(text: &str) -> Result<CheckId, String> {
    text.parse()
        .map_err(|_| "there is no check of this name; dbfw audit -o plain lists them".to_owned())
}

/// Form of the rules of `dbfw export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportForm {
    /// Lines of PostgreSQL's pg_hba.conf: one for each prefix and user, with TLS.
    #[value(name = "pg_hba")]
    PgHba,
    /// A table of nftables, for hosts without XDP.
    Nft,
    /// One document.
    Json,
}

/// Form of the file of `dbfw import`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ImportForm {
    /// PostgreSQL's pg_hba.conf.
    #[value(name = "pg_hba")]
    PgHba,
    /// A ruleset of nftables.
    Nft,
    /// Rules of ufw.
    Ufw,
}

/// Subcommand of `dbfw map`.
#[derive(Debug, Subcommand)]
pub(super) enum MapVerb {
    /// Print every entry of the source maps.
    Dump,
    /// Print the entry that decides for an address.
    Lookup {
        /// The address.
        #[arg(value_name = "ADDR")]
        address: IpAddr,
    },
}

/// Subcommand of `dbfw trust`.
#[derive(Debug, Subcommand)]
pub(super) enum TrustVerb {
    /// Trust a source until it expires or is removed.
    Add {
        /// The source, as in ip_addr:203.0.113.7 or tag:backend.
        #[arg(value_parser = trusted_source)]
        source: TrustedSource,
        /// The database that trusts it.
        #[arg(long, short, value_name = "NAME")]
        database: String,
        /// Lifetime, as in 2h or 1d12h [default: until it is removed].
        #[arg(long = "for", value_name = "DURATION", value_parser = lifetime)]
        lifetime: Option<SignedDuration>,
        /// Reason, shown by `dbfw trust list` and in the history.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Stop trusting a source that was added by hand.
    Rm {
        /// The source, as it was added.
        #[arg(value_parser = trusted_source)]
        source: TrustedSource,
        /// The database that trusts it.
        #[arg(long, short, value_name = "NAME")]
        database: String,
    },
    /// List the sources added by hand.
    List,
}

/// A source, or the problem of the text with its fix.
fn trusted_source(text: &str) -> Result<TrustedSource, String> {
    text.parse().map_err(|error: GrammarError| error.with_fix())
}

/// An address or a CIDR, or the problem of the text with its fix.
fn network(text: &str) -> Result<Prefix, String> {
    text.parse().map_err(|error: PrefixError| error.with_fix())
}

/// A positive length of time; a day has 24 hours, a week seven days.
fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err("it must be longer than zero".to_owned())
    }
}

/// Longest watch.
const MAX_WATCH: SignedDuration = SignedDuration::from_hours(24);

/// The length of a watch.
fn watch(text: &str) -> Result<SignedDuration, String> {
    match lifetime(text)? {
        duration if duration > MAX_WATCH => Err("a watch lasts at most 24h".to_owned()),
        duration => Ok(duration),
    }
}

/// Longest trial.
const MAX_TRIAL: SignedDuration = SignedDuration::from_hours(24);

/// The length of a trial.
fn trial(text: &str) -> Result<SignedDuration, String> {
    match lifetime(text)? {
        duration if duration > MAX_TRIAL => Err("a trial lasts at most 24h".to_owned()),
        duration => Ok(duration),
    }
}

/// The id of a plan, as `dbfw status` shows it.
fn plan_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id has eight hexadecimal digits; dbfw status shows it".to_owned())
    }
}

impl Verb {
    /// Whether its JSON is a document a line.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Drops { follow: true, .. } | Self::Map { verb: MapVerb::Dump })
    }
}

/// The form of the output that a command line asks for which is wrong otherwise.
pub(super) fn wanted_format(arguments: impl IntoIterator<Item = OsString>) -> Option<Format> {
    let mut wanted = std::env::var_os(FORMAT_VARIABLE);
    let mut arguments = arguments.into_iter().skip(1).take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        let Some(argument) = argument.to_str() else { continue };
        let value = match argument.strip_prefix("--") {
            Some("output") => "",
            Some(long) => match long.strip_prefix("output=") {
                Some(value) => value,
                None => continue,
            },
            // Flags without a value may stand before it, as in -fo json.
            None => match argument.strip_prefix('-').and_then(|short| short.split_once('o')) {
                Some(("" | "f" | "y", value)) => value.strip_prefix('=').unwrap_or(value),
                _ => continue,
            },
        };
        wanted = if value.is_empty() { arguments.next() } else { Some(value.into()) };
    }
    Format::from_str(wanted?.to_str()?, false).ok()
}

/// The verbs as `dbfw help` groups them.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "See what is enforced",
        &[
            "status", "sources", "explain", "drops", "suggest", "history", "export", "audit", "ca",
            "map", "metrics",
        ],
    ),
    ("Change it", &["reload", "trust", "detach"]),
    ("Set it up", &["check", "import", "join", "doctor", "run"]),
    ("Shell and manual", &["completions", "man", "help"]),
];

/// The command line as clap sees it: help, completions and manual pages come from it.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let template = help_template(&command);
    // Built commands keep what `build` generated, so the template goes into a fresh one.
    Cli::command().help_template(template)
}

fn help_template(command: &clap::Command) -> StyledStr {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, verbs) in GROUPS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{header}{title}:{header:#}\n");
        for verb in verbs {
            let about = command
                .find_subcommand(verb)
                .and_then(|found| found.get_about())
                .map(ToString::to_string)
                .unwrap_or_default();
            let _ = writeln!(text, "  {literal}{verb:<11}{literal:#}  {about}");
        }
    }
    let _ = write!(text, "\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    text.into()
}

#[cfg(test)]
mod tests;
