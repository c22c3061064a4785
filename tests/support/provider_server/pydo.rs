//! The real client against the server: the scripts in `tests/pydo`.

use std::process::Command;

use serde_json::Value;

use super::Server;
use crate::{
    netns::{Netns, finish},
    pydo,
};

impl Server {
    /// Runs a script of `tests/pydo` ("rules.py") with the token and the authority's
    /// certificate; what it printed. Panics with what it said if it failed.
    pub fn pydo(&self, script: &str, arguments: &[&str]) -> Value {
        let printed = finish(self.pydo_command(None, script).args(arguments));
        serde_json::from_str(&printed).expect("the script prints JSON")
    }

    /// The same as a command, from a namespace: the arguments are to be added.
    pub fn pydo_command(&self, netns: Option<&Netns>, script: &str) -> Command {
        pydo::command(netns, script, &self.url(), &self.token_file(), &self.ca_file())
    }
}
