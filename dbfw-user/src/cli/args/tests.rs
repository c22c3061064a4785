use clap::{FromArgMatches as _, ValueEnum as _};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    command()
        .try_get_matches_from(line.split_whitespace())
        .and_then(|matches| Cli::from_arg_matches(&matches))
}

fn help(line: &str) -> String {
    // Of one width, whatever the terminal.
    let command = command().term_width(80);
    let help = command.try_get_matches_from(line.split_whitespace()).unwrap_err().to_string();
    help.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn the_grammar_is_sound() {
    command().debug_assert();
}

#[test]
fn every_verb_is_in_one_group() {
    let mut command = Cli::command();
    command.build();
    let mut verbs: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
    verbs.sort_unstable();
    grouped.sort_unstable();
    assert_eq!(verbs, grouped);
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(help("dbfw --help"), @"
    Trusted sources for the databases of this host, enforced before the kernel
    spends anything on a packet

    Usage: dbfw [OPTIONS] <COMMAND>

    See what is enforced:
      status       Say whether the databases are protected
      sources      List every trusted source, its prefixes and its last use
      explain      Say what happens to packets from an address, and why
      drops        List the sources that were refused, the last refused first
      suggest      Propose sources to trust, from those that came and are not trusted
      history      Show the changes of who may connect, and who asked for them
      export       Print the list in force as rules of PostgreSQL or nftables, or as JSON
      audit        Look for weaknesses of the databases behind the filter
      ca           Print the certificates that a database shows, and what its clients must write
      map          Show the content of the kernel's maps
      metrics      Print the metrics in the Prometheus text format

    Change it:
      reload       Read the configuration and every list again
      trust        Add and remove trusted sources by hand
      detach       End the protection: open every protected port to everyone

    Set it up:
      check        Check the configuration and say what it would enforce
      import       Print a list made of the rules of PostgreSQL, nftables or ufw
      join         Join this host to a control plane, whose lists it then enforces
      doctor       Check the host for what dbfw needs
      run          Run the agent in the foreground

    Shell and manual:
      completions  Print the completions for a shell
      man          Print the manual page
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <PATH>
              Main configuration file; drop-ins are read from conf.d beside it

              [env: DBFW_CONFIG]
              [default: /etc/dbfw/dbfw.toml]

          --socket <PATH>
              Control socket of the agent [default: dbfw.sock in the configuration's
              run_dir]

              [env: DBFW_SOCKET]

      -o, --output <FORM>
              Form of the output

              Possible values:
              - table: For people
              - json:  One indented document; one document a line for `map dump` and
                `drops --follow`
              - plain: Fields separated by tabs, without a header, for scripts;
                docs/operations.md has their order

              [env: DBFW_OUTPUT]
              [default: table]

          --color <WHEN>
              Color of the output; auto also honors NO_COLOR

              [default: auto]
              [possible values: auto, always, never]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Exit status: 0 done, 1 failed or the answer is no, 2 wrong usage, 69 no agent
    answers, 77 not permitted, 78 bad configuration. For scripts, docs/operations.md
    has the fields of JSON and the columns of plain.
    ");
    assert_eq!(help("dbfw help"), help("dbfw --help"));
}

#[test]
fn help_of_a_verb() {
    insta::assert_snapshot!(help("dbfw trust add -h"), @"
    Trust a source until it expires or is removed

    Usage: dbfw trust add [OPTIONS] --database <NAME> <SOURCE>

    Arguments:
      <SOURCE>  The source, as in ip_addr:203.0.113.7 or tag:backend

    Options:
          --config <PATH>    Main configuration file; drop-ins are read from conf.d
                             beside it [env: DBFW_CONFIG] [default:
                             /etc/dbfw/dbfw.toml]
      -d, --database <NAME>  The database that trusts it
          --for <DURATION>   Lifetime, as in 2h or 1d12h [default: until it is
                             removed]
          --socket <PATH>    Control socket of the agent [default: dbfw.sock in the
                             configuration's run_dir] [env: DBFW_SOCKET]
      -o, --output <FORM>    Form of the output [env: DBFW_OUTPUT] [default: table]
                             [possible values: table, json, plain]
          --why <TEXT>       Reason, shown by `dbfw trust list` and in the history
          --color <WHEN>     Color of the output; auto also honors NO_COLOR
                             [default: auto] [possible values: auto, always, never]
      -h, --help             Print help (see more with '--help')
    ");
}

#[test]
fn every_flag_is_explained_in_one_sentence() {
    fn check(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{name} {}", arg.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&command());
}

#[test]
fn what_the_design_promises_parses() {
    for line in [
        "dbfw run",
        "dbfw check --config /etc/dbfw/other.toml",
        "dbfw status --output json",
        "dbfw --output plain sources",
        "dbfw map dump",
        "dbfw map lookup 2001:db8::1",
        "dbfw explain 203.0.113.7 --port 5432",
        "dbfw drops --follow",
        "dbfw drops -n 5 --color never",
        "dbfw drops --follow --address 203.0.113.7 --database orders",
        "dbfw drops --address 2001:db8::/32 --since 1h -d * --sort packets",
        "dbfw trust rm ip_addr:203.0.113.7 --database orders",
        "dbfw trust list",
        "dbfw reload",
        "dbfw reload --confirm",
        "dbfw reload --confirm 1a2b3c4d 00000002 --output json",
        "dbfw suggest",
        "dbfw suggest --database orders -o plain",
        "dbfw suggest --all",
        "dbfw history --since 7d -n 5",
        "dbfw trust add tag:backend --database orders --for 1h",
        "dbfw trust add dns:db.example.com --database orders",
        "dbfw detach --yes --socket /run/other.sock",
        "dbfw doctor",
        "dbfw metrics",
        "dbfw completions elvish",
        "dbfw man --dir /tmp/man",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in [
        "dbfw",
        "dbfw statsu",
        "dbfw explain",
        "dbfw explain 10.0.0.0/8",
        "dbfw explain 10.0.0.1 --port 65536",
        "dbfw status --output yaml",
        "dbfw drops --follow -n 5",
        "dbfw explain 10.0.0.1 --port 0",
        "dbfw drops -n 0",
        "dbfw drops --follow --since 1h",
        "dbfw drops --follow --sort packets",
        "dbfw drops --address 203.0.113.7/24",
        "dbfw drops --since 0s",
        "dbfw trust add 203.0.113.7 --database orders",
        "dbfw trust add ip_addr:203.0.113.7/24 --database orders",
        "dbfw trust rm nonsense --database orders",
        "dbfw trust add ip_addr:203.0.113.7",
        "dbfw trust add ip_addr:203.0.113.7 --database orders --for 0s",
        "dbfw trust add ip_addr:203.0.113.7 --database orders --for soon",
        "dbfw completions tcsh",
        "dbfw reload 1a2b3c4d",
        "dbfw reload --confirm 1a2b3c4",
        "dbfw reload --confirm 1a2b3c4g",
        "dbfw history --since yesterday",
        "dbfw history -n 0",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_source_that_is_none_is_told_with_what_to_write() {
    for (source, write) in [
        ("203.0.113.7", "write ip_addr:203.0.113.7"),
        ("203.0.113.7:5432", "write ip_addr:203.0.113.7"),
        ("ip_addr:203.0.113.7/24", "write 203.0.113.0/24, or 203.0.113.7 for the one address"),
        ("ip_addr:[2001:db8::1]:5432", "write 2001:db8::1: a source may connect from any port"),
        ("nonsense", "write type:value, where type is one of"),
    ] {
        for verb in ["add", "rm"] {
            let line = format!("dbfw trust {verb} {source} --database orders");
            let error = parse(&line).unwrap_err().to_string();
            assert!(error.contains(write), "{error}");
        }
    }
}

#[test]
fn trust_add_takes_what_the_design_shows() {
    let words = [
        "dbfw",
        "trust",
        "add",
        "ip_addr:203.0.113.7",
        "--database",
        "orders",
        "--for",
        "2h",
        "--why",
        "incident 42",
    ];
    let matches = command().try_get_matches_from(words).unwrap();
    let Verb::Trust { verb: TrustVerb::Add { source, database, lifetime, why } } =
        Cli::from_arg_matches(&matches).unwrap().verb
    else {
        panic!("another verb");
    };
    assert_eq!(source.to_string(), "ip_addr:203.0.113.7");
    assert_eq!(database, "orders");
    assert_eq!(lifetime.unwrap().as_secs(), 7200);
    assert_eq!(why.as_deref(), Some("incident 42"));
}

#[test]
fn lifetimes_as_people_write_them() {
    for (text, seconds) in [
        ("2h", 7200),
        ("90 minutes", 5400),
        ("1h30m", 5400),
        ("1d12h", 129_600),
        ("2 weeks", 1_209_600),
        ("PT15M", 900),
        ("1s", 1),
    ] {
        assert_eq!(lifetime(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
    }
    for text in ["", "2", "soon", "0s", "-2h", "2h ago", "1 month", "1 year", "99999999999h"] {
        assert!(lifetime(text).is_err(), "{text}");
    }
}

#[test]
fn a_confirmation_names_plans_or_means_all() {
    let confirm = |line: &str| match parse(line).unwrap().verb {
        Verb::Reload { confirm, .. } => confirm,
        _ => panic!("another verb"),
    };
    assert_eq!(confirm("dbfw reload"), None);
    assert_eq!(confirm("dbfw reload --confirm"), Some(Vec::new()));
    let both = ["1a2b3c4d".to_owned(), "0000000f".to_owned()];
    assert_eq!(confirm("dbfw reload --confirm 1A2B3C4D 0000000f"), Some(both.to_vec()));
    assert_eq!(confirm("dbfw reload --confirm 1a2b3c4d --confirm 0000000f"), Some(both.to_vec()));
}

#[test]
fn every_shell_has_completions() {
    for shell in clap_complete::Shell::value_variants() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut command(), "dbfw", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("lookup"), "{shell}");
    }
}

#[test]
fn the_form_that_a_wrong_command_line_asks_for() {
    let wanted = |line: &str| wanted_format(line.split(' ').map(OsString::from));
    for line in [
        "dbfw -o json",
        "dbfw statu --output json",
        "dbfw statu --output=json more",
        "dbfw status -ojson",
        "dbfw status -o=json",
        "dbfw drops -fo json",
        "dbfw -o table status -o json",
    ] {
        assert_eq!(wanted(line), Some(Format::Json), "{line}");
    }
    assert_eq!(wanted("dbfw status -o plain more"), Some(Format::Plain));
    for line in ["dbfw", "dbfw statu", "dbfw status -o", "dbfw status -o xml", "dbfw -- -o json"] {
        assert_eq!(wanted(line), None, "{line}");
    }
    for line in ["dbfw trust rm -d json", "dbfw --color json", "dbfw json", "dbfw --out json"] {
        assert_eq!(wanted(line), None, "{line}");
    }
}
