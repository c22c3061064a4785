//! The grammar of the command line, and its help.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use dbfw_core::toml::parse_duration;
use jiff::SignedDuration;
use uuid::Uuid;

use crate::config;
use crate::serve::SOCKET_NAME;

/// The control plane of dbfw: one list of trusted sources for each database, edited with
/// DigitalOcean's clients.
#[derive(Debug, Parser)]
#[command(
    name = "dbfw-server",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 69 no server answers, 77 not \
                  permitted, 78 bad configuration."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) context: Context,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// The flags that every subcommand takes.
#[derive(Debug, Args)]
pub(super) struct Context {
    /// Configuration file.
    #[arg(
        long,
        global = true,
        env = "DBFW_SERVER_CONFIG",
        hide_env_values = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath,
        default_value = "/etc/dbfw-server/dbfw-server.toml"
    )]
    pub(super) config: PathBuf,

    /// Admin socket of the server [default: admin.sock in the configuration's run_dir].
    #[arg(
        long,
        global = true,
        env = "DBFW_SERVER_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath
    )]
    socket: Option<PathBuf>,

    /// Form of the output.
    #[arg(long, short, global = true, value_name = "FORM", default_value = "table")]
    pub(super) output: Format,
}

impl Context {
    /// The admin socket.
    pub(super) fn socket(&self) -> PathBuf {
        let usual = || config::run_dir(&self.config).join(SOCKET_NAME);
        self.socket.clone().unwrap_or_else(usual)
    }
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// The API's document.
    Json,
    /// Fields between tabs, without a title.
    Plain,
}

/// Subcommand.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Set the server up: configuration, store, certificate authority.
    ///
    /// Prints the first token, which may do everything, on standard output; it is shown only here.
    Init,
    /// Run the server in the foreground.
    Serve,
    /// Check the configuration.
    ///
    /// Exit status 78 if it is bad.
    Check,
    /// Add, list and remove databases.
    Database {
        #[command(subcommand)]
        verb: DatabaseVerb,
    },
    /// Make a token that lets hosts join, and print the command that does it on a host.
    ///
    /// Its secret is shown only here. The token has the server's certificate authority, where that is
    /// its own: the host trusts no other.
    JoinToken {
        /// A database whose list the hosts are to read, by name or id; may be given again.
        #[arg(long = "database", short, value_name = "NAME", required = true)]
        databases: Vec<String>,
        /// The number of hosts that may join.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        uses: u32,
        /// The time for which it counts, as in 1h or 7d.
        #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
        lifetime: String,
    },
    /// List and remove the hosts that joined.
    Hosts {
        #[command(subcommand)]
        verb: HostsVerb,
    },
    /// Show what trusted sources stand for, and confirm losses.
    Resolved {
        #[command(subcommand)]
        verb: ResolvedVerb,
    },
    /// Make, list and revoke tokens.
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Back the store up, load a backup, copy it into another.
    Store {
        #[command(subcommand)]
        verb: StoreVerb,
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

/// Subcommand of `dbfw-server database`.
#[derive(Debug, Subcommand)]
pub(super) enum DatabaseVerb {
    /// Add a database whose list is empty: nobody is trusted.
    Add(Box<NewDatabase>),
    /// List the databases.
    List,
    /// Remove a database, its list and its history.
    ///
    /// Asks first if standard input is a terminal.
    Rm {
        /// Its name or id.
        database: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// A database to add.
#[derive(Debug, Args)]
pub(super) struct NewDatabase {
    /// Its name: lower-case letters, digits, - and _.
    pub(super) name: String,
    /// Its id, if clients know it under one already.
    #[arg(long, value_name = "UUID")]
    pub(super) id: Option<Uuid>,
    /// The engine that clients show: pg, mysql, redis.
    #[arg(long, value_name = "ENGINE", default_value = "pg")]
    pub(super) engine: String,
    /// The region that clients show.
    #[arg(long, value_name = "TEXT")]
    pub(super) region: Option<String>,
    /// A tag that clients filter by; may be given again.
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,
    /// The host name or address that clients show.
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// The port that clients show.
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// File with the database's certificate authority, for clients that ask for it.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(super) ca_file: Option<PathBuf>,
    /// Accept a list that lets in everybody.
    #[arg(long)]
    pub(super) allow_any: bool,
    /// The shortest IPv4 prefix that its list may have [default: 8].
    #[arg(long, value_name = "LENGTH")]
    pub(super) min_prefix_ipv4: Option<u8>,
    /// The shortest IPv6 prefix that its list may have [default: 19].
    #[arg(long, value_name = "LENGTH")]
    pub(super) min_prefix_ipv6: Option<u8>,
    /// Replace the list by what a client without If-Match sends, whatever others changed.
    #[arg(long)]
    pub(super) no_merge: bool,
    /// Time that the answer to a change waits for the hosts that enforce it, as in 2s.
    #[arg(long, value_name = "DURATION")]
    pub(super) wait: Option<String>,
}

/// Subcommand of `dbfw-server hosts`.
#[derive(Debug, Subcommand)]
pub(super) enum HostsVerb {
    /// List the hosts.
    List,
    /// Remove a host: its token is refused from now on. What it enforces stays.
    Rm {
        /// Its id, or its name if no other host has it.
        host: String,
    },
}

/// Subcommand of `dbfw-server resolved`.
#[derive(Debug, Subcommand)]
pub(super) enum ResolvedVerb {
    /// List the sources of all lists that the server resolves, with their state.
    List,
    /// Let a loss of addresses count that is held by max_shrink.
    Confirm {
        /// Its id, as the list has it.
        id: String,
    },
}

/// Subcommand of `dbfw-server token`.
#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Make a token and print its secret, which is shown only here.
    Add {
        /// Its name, which the history has.
        name: String,
        /// Its rights: viewer, editor or admin.
        #[arg(long, value_name = "PRESET", required_unless_present = "scopes")]
        preset: Option<String>,
        /// A scope, as database:read; may be given again.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// A database that it is for, by name or id; may be given again [default: all].
        #[arg(long = "database", short, value_name = "NAME")]
        databases: Vec<String>,
        /// Lifetime, as in 12h or 90d [default: until it is revoked].
        #[arg(long = "for", value_name = "DURATION", value_parser = lifetime)]
        lifetime: Option<SignedDuration>,
    },
    /// List the tokens.
    List,
    /// Revoke a token.
    Rm {
        /// Its id, as the list has it.
        id: Uuid,
    },
}

/// Subcommand of `dbfw-server store`.
#[derive(Debug, Subcommand)]
pub(super) enum StoreVerb {
    /// Print the whole store, as of one moment. The server may be running.
    ///
    /// It has the digests of tokens, and no token.
    Dump,
    /// Fill the store from a dump on standard input. The server has to be stopped.
    Load {
        /// Remove what is in the store first.
        #[arg(long)]
        replace: bool,
    },
    /// Copy the store into that of another configuration. The servers have to be stopped.
    ///
    /// It is the way from a file to etcd, and back.
    Copy {
        /// The other configuration.
        #[arg(long, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
        to: PathBuf,
        /// Remove what is in the other store first.
        #[arg(long)]
        replace: bool,
    },
}

/// A positive length of time.
fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err("it must be longer than zero".to_owned())
    }
}

/// The command line as clap sees it: help, completions and manual pages come from it.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_whole() {
        command().debug_assert();
    }

    #[test]
    fn no_secret_is_an_argument() {
        for bad in [
            &["token", "add", "x"][..],
            &["token", "add", "x", "--preset", "admin", "--token", "y"],
            &["store", "load", "file"],
            &["database", "add"],
        ] {
            assert!(Cli::try_parse_from([&["dbfw-server"], bad].concat()).is_err(), "{bad:?}");
        }
    }
}
