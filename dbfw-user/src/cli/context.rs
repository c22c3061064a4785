//! Context of every subcommand: paths of the agent, and output.

use std::{
    io::{self, BufWriter, StdoutLock, Write},
    path::PathBuf,
};

use anstream::AutoStream;
use anyhow::Context as _;
use clap::{Args, ColorChoice, ValueHint};
use dbfw_wire::control::{Failed, Failure, Request};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{
    exit::{Exit, OutputError, code},
    message::note,
    output::{Format, Render, render, render_item},
};
use crate::{
    causes::causes,
    config::{self, AgentConfig},
    control::{
        SOCKET_NAME,
        client::{Client, ClientError, Unanswered},
    },
};

/// The environment variable with the form of the output.
pub(super) const FORMAT_VARIABLE: &str = "DBFW_OUTPUT";

/// The flags that every subcommand takes, and what follows from them.
#[derive(Debug, Args)]
pub(super) struct Context {
    /// Main configuration file; drop-ins are read from conf.d beside it.
    #[arg(
        long,
        global = true,
        env = "DBFW_CONFIG",
        hide_env_values = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath,
        default_value = "/etc/dbfw/dbfw.toml"
    )]
    pub(super) config: PathBuf,

    /// Control socket of the agent [default: dbfw.sock in the configuration's run_dir].
    #[arg(
        long,
        global = true,
        env = "DBFW_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath
    )]
    pub(super) socket: Option<PathBuf>,

    /// Form of the output.
    #[arg(
        long,
        short,
        global = true,
        env = FORMAT_VARIABLE,
        hide_env_values = true,
        value_name = "FORM",
        default_value = "table"
    )]
    pub(super) output: Format,

    /// Color of the output; auto also honors NO_COLOR.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: ColorChoice,
}

impl Context {
    /// Settings of the agent, as far as the configuration can be read.
    pub(super) fn agent_config(&self) -> AgentConfig {
        config::agent_section(&self.config)
    }

    /// The control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.agent_config().run_dir.join(SOCKET_NAME))
    }

    /// Entries of a long document that are shown if the user does not say: what fits a screen, or
    /// all where a script reads.
    pub(super) fn default_limit(&self) -> usize {
        if self.output == Format::Table { 20 } else { usize::MAX }
    }

    /// That the pins were used instead of asking the agent, and why.
    pub(super) fn note_pins(&self, unanswered: Unanswered, used: &str) {
        note(&format!("{unanswered} on {}; {used}", self.socket().display()));
    }

    /// Connects to the agent.
    ///
    /// # Errors
    ///
    /// No agent answers, or this user may not ask it.
    pub(super) fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket()).inspect_err(|error| {
            // With defaults in place of the configuration it may be the wrong socket.
            if matches!(error, ClientError::Unreachable { .. })
                && self.socket.is_none()
                && let Some(doubt) = self.config_doubt()
            {
                note(&doubt);
            }
        })
    }

    /// The doubt whether the directories are the agent's, where the configuration is bad.
    pub(super) fn config_doubt(&self) -> Option<String> {
        config::load(&self.config).is_err().then(|| {
            format!(
                "{} cannot be used (`dbfw check` says why); keys that cannot be read have their \
                 defaults",
                self.config.display()
            )
        })
    }

    /// Asks the agent for one document.
    ///
    /// # Errors
    ///
    /// No agent answers, or it answered with an error.
    pub(super) fn call<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        Ok(self.connect()?.call(request)?)
    }

    /// Hands what `ask` needs to the agent, or if none answers in time to `look`, which reads
    /// the pinned maps.
    ///
    /// # Errors
    ///
    /// The error of the agent, or of `look` where no agent answers.
    pub(super) fn ask_or_look<T>(
        &self,
        ask: impl FnOnce(Client) -> anyhow::Result<T>,
        look: impl FnOnce(&AgentConfig, Unanswered) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let asked = self.connect().map_err(anyhow::Error::from).and_then(ask);
        let (error, unanswered) = match asked.map_err(anyhow::Error::downcast::<ClientError>) {
            Ok(answer) => return Ok(answer),
            Err(Ok(error)) => match error.unanswered() {
                Some(unanswered) => (error, unanswered),
                None => return Err(error.into()),
            },
            Err(Err(error)) => return Err(error),
        };
        if unanswered != Unanswered::NoAgent {
            note(&error.to_string());
        }
        let unreachable = error;
        match look(&self.agent_config(), unanswered) {
            Ok(found) => Ok(found),
            // Its code says more than that there is no agent.
            Err(error) if error.is::<OutputError>() => Err(error),
            Err(error) if code(&error) != Exit::Failure => {
                Err(error).with_context(|| format!("{unreachable}; the pins were tried instead"))
            }
            Err(error) => {
                note(&format!("the pinned maps do not help either: {}", causes(&error)));
                Err(unreachable.into())
            }
        }
    }

    /// Prints a document.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(super) fn show(&self, document: &impl Render) -> anyhow::Result<()> {
        Ok(print(&render(document, self.output, Timestamp::now())?)?)
    }

    /// Prints the document of a failure where JSON is asked for: on one line if the command
    /// prints a stream of documents.
    pub(super) fn show_failure(&self, error: Failure, is_stream: bool) {
        if self.output == Format::Json {
            print_failure(error, is_stream);
        }
    }

    /// Prints documents as they come.
    pub(super) fn printer(&self) -> Printer {
        Printer { out: Stdout::new(), format: self.output, begun: false }
    }
}

/// Prints the documents of a stream, with their header above the first.
pub(super) struct Printer {
    out: Stdout,
    format: Format,
    begun: bool,
}

impl Printer {
    /// Prints one.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(super) fn item(&mut self, item: &impl Render) -> anyhow::Result<()> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let text = render_item(item, is_first, self.format, Timestamp::now())?;
        Ok(self.out.write(&text)?)
    }

    /// Lets everything printed so far be seen.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Prints the document of a failure.
pub(super) fn print_failure(error: Failure, is_stream: bool) {
    let document = Failed { error };
    let text = match is_stream {
        true => serde_json::to_string(&document),
        false => serde_json::to_string_pretty(&document),
    };
    if let Ok(text) = text {
        // Standard error has it too, and nowhere is left to report this one to.
        let _ = print(&(text + "\n"));
    }
}

/// Prints a text as it is.
///
/// # Errors
///
/// Standard output cannot be written.
pub(super) fn print(text: &str) -> Result<(), OutputError> {
    let mut out = Stdout::new();
    out.write(text)?;
    out.flush()
}

/// Standard output.
struct Stdout(BufWriter<AutoStream<StdoutLock<'static>>>);

impl Stdout {
    fn new() -> Self {
        Self(BufWriter::new(AutoStream::auto(io::stdout().lock())))
    }

    fn write(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(self.0.write_all(text.as_bytes())?)
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.0.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, path::Path};

    use super::*;

    fn context(dir: &Path) -> Context {
        Context {
            config: dir.join("dbfw.toml"),
            socket: Some(dir.join("dbfw.sock")),
            output: Format::Table,
            color: ColorChoice::Auto,
        }
    }

    fn ask_nobody(context: &Context, look: anyhow::Result<u8>) -> anyhow::Result<u8> {
        context.ask_or_look(|_| unreachable!("nobody listens"), |_, _| look)
    }

    #[test]
    fn the_agent_is_asked_first() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        let _agent = UnixListener::bind(context.socket()).unwrap();
        let answer = context.ask_or_look(|_| Ok(1), |_, _| unreachable!("the agent answers"));
        assert_eq!(answer.unwrap(), 1);
    }

    #[test]
    fn the_pins_stand_in_for_an_agent_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        assert_eq!(ask_nobody(&context, Ok(2)).unwrap(), 2);
        drop(UnixListener::bind(context.socket()).unwrap());
        assert_eq!(ask_nobody(&context, Ok(2)).unwrap(), 2);
    }

    #[test]
    fn without_pins_either_the_agent_is_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = ask_nobody(&context(dir.path()), Err(anyhow::anyhow!("no pins"))).unwrap_err();
        assert_eq!(code(&error), Exit::Unreachable);
    }

    #[test]
    fn pins_that_may_not_be_read_are_not_permitted() {
        let dir = tempfile::tempdir().unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = ask_nobody(&context(dir.path()), Err(denied.into())).unwrap_err();
        assert_eq!(code(&error), Exit::NotPermitted);
    }

    #[test]
    fn the_socket_is_in_the_run_dir_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = context(dir.path());
        context.socket = None;
        assert_eq!(context.socket(), Path::new("/run/dbfw/dbfw.sock"));
        std::fs::write(&context.config, "[agent]\nrun_dir = \"/run/other\"\n").unwrap();
        assert_eq!(context.socket(), Path::new("/run/other/dbfw.sock"));
    }
}
