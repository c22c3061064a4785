//! Output of `dbfw reload`, for people and as plain fields.

use dbfw_wire::control::Reloaded;
use jiff::Timestamp;

use super::{
    render::Render,
    words::{clean, fields, lines, number_of},
};

impl Render for Reloaded {
    fn table(&self, _now: Timestamp) -> String {
        let prefixes = |n: usize| number_of(n as u64, "prefix", "prefixes");
        let mut text = format!(
            "Policy {} is in force: {} added, {} removed.\n",
            self.generation,
            prefixes(self.added),
            prefixes(self.removed),
        );
        for refusal in &self.refused {
            text.push_str(&format!("Refused: {}\n", clean(refusal)));
        }
        for failure in &self.failed {
            text.push_str(&format!("Not read: {}\n", lines(failure)));
        }
        if !self.failed.is_empty() {
            text.push_str("The last good lists stay in force.\n");
        }
        if !self.refused.is_empty() {
            text.push_str(
                "`dbfw status` shows what would be lost; `dbfw reload --confirm` lets the refused \
                 changes through.\n",
            );
        }
        for pending in &self.pending {
            text.push_str(&format!("Being resolved: {}\n", clean(pending)));
        }
        text
    }

    fn plain(&self) -> String {
        let (generation, added, removed) = (self.generation, self.added, self.removed);
        let mut text = format!("policy\t{generation}\t{added}\t{removed}\n");
        self.refused.iter().for_each(|refusal| text.push_str(&fields(["refused", refusal])));
        self.failed.iter().for_each(|failure| text.push_str(&fields(["failed", failure])));
        self.pending.iter().for_each(|pending| text.push_str(&fields(["pending", pending])));
        text
    }
}
