//! The program `dbfw-server`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dbfw_server::cli::main()
}
