//! Tasks of dbfw's developers: `cargo xtask help` lists them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod artifact;
mod bench;
mod cmd;
mod demo;
mod generate;
mod licenses;
mod setup;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <task> [options]

  setup      Find or install what the build and the tests need
  bench      Measure dbfw on this machine, beside its peers (root)
  demo       Watch dbfw protect a real PostgreSQL, in namespaces (root)
  test       Run every test: `cargo test`, then those that need a kernel (root)
  vm         Boot Debian's kernels in qemu and run the checks of tests/vm there (root)
  tidy       Check the rules of this repository that a machine can check
  gen        Write shell completions and manual pages to target/gen
  licenses   Check where every dependency comes from, and its licence, offline

Options of bench:
  --quick            Fewer sizes and shorter floods: a few minutes
  SCENARIO...        path, flood, load, change, pgbench, enforce, agent, providers

Options of demo:
  --keep             Leave it standing, and say how to look around
  --clean            Remove what --keep left

Options of test:
  --fuzz-packets N   Packets of the differential fuzz
  --hba-files N      Files that dbfw and a real PostgreSQL judge
  -- ARGS            Passed to the test binaries: a test's name, --nocapture, ...

Options of vm:
  --quick            Load, attach and traffic on 6.1 and 6.12
  --check NAME       Only this check of tests/vm/checks.txt; may be given again
  MACHINE...         Only these: 6.1, 6.12, 6.18, newest, or another series Debian has;
                     systemd: a Debian that systemd starts, installed as the README says

`test` and `demo` run `setup` first. The checks of CI, in order: .ci/run
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match task {
        "setup" => setup::run(rest),
        "bench" => bench::run(rest),
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "vm" => vm::run(rest),
        "tidy" => tidy::run(rest),
        "gen" => generate::run(rest),
        "licenses" => licenses::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => {
            eprintln!("error: there is no task {unknown}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
