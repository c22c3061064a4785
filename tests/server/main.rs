//! `dbfw-provider-server`: the tests' DigitalOcean as a process, for the demo and for trying
//! things by hand. Commands come in on stdin, a line each, and get a line each: `ok`, with
//! what there is to say, or `error` and why. It ends with `quit`, and when stdin does.

use std::{
    fs,
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use dbfw_tests::provider_server::{Initial, Options, Server, control};

const USAGE: &str = "usage: dbfw-provider-server --listen ADDRESS:PORT --token-file FILE \
    --state FILE.json [--tls-dir DIRECTORY]\n\
    With --tls-dir it speaks HTTPS, and the authority to trust is DIRECTORY/ca.pem.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let token = read(&arguments.token_file)?.trim().to_owned();
    if token.is_empty() {
        return Err(format!("{} is empty: write a token", arguments.token_file.display()));
    }
    let initial = Initial::parse(&read(&arguments.state)?)
        .map_err(|error| format!("{}: {error}", arguments.state.display()))?;
    let server = Server::start(Options {
        address: arguments.listen,
        tls: arguments.tls_dir.is_some(),
        token: Some(&token),
        directory: arguments.tls_dir.as_deref(),
        ..Options::default()
    });
    server.account(|account| initial.fill(account));

    let mut out = io::stdout().lock();
    let mut say = |line: &str| {
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
    };
    say(&format!("ok listening at {}", server.url()))?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("cannot read stdin: {error}"))?;
        match line.trim() {
            "" => {}
            "quit" => {
                say("ok")?;
                break;
            }
            line => match control::command(&server, line) {
                Ok(said) => say(format!("ok {said}").trim_end())?,
                Err(error) => say(&format!("error {error}"))?,
            },
        }
    }
    Ok(())
}

struct Arguments {
    listen: SocketAddr,
    token_file: PathBuf,
    state: PathBuf,
    tls_dir: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut listen, mut token_file, mut state, mut tls_dir) = (None, None, None, None);
        while let Some(option) = words.next() {
            let place = match option.as_str() {
                "--listen" => &mut listen,
                "--token-file" => &mut token_file,
                "--state" => &mut state,
                "--tls-dir" => &mut tls_dir,
                _ => return Err(format!("there is no option {option}\n{USAGE}")),
            };
            *place = Some(words.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"))?);
        }
        let needed = |value: Option<String>, option: &str| {
            value.ok_or_else(|| format!("{option} is missing\n{USAGE}"))
        };
        let listen = needed(listen, "--listen")?;
        Ok(Self {
            listen: listen.parse().map_err(|_| format!("{listen} is not ADDRESS:PORT\n{USAGE}"))?,
            token_file: needed(token_file, "--token-file")?.into(),
            state: needed(state, "--state")?.into(),
            tls_dir: tls_dir.map(PathBuf::from),
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
