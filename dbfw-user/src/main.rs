//! The program `dbfw`: agent and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    dbfw::cli::main()
}
