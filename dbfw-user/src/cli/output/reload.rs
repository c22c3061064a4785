//! Output of `dbfw reload`, for people and as plain fields.

use dbfw_wire::control::{CutOff, Reloaded, Trial, Unconfirmed, UnconfirmedPlan};
use jiff::Timestamp;

use super::{
    render::Render,
    words::{clean, ending, fields, lines, maybe, moment, number_of},
};

/// Sources that are cut off and shown in a table.
const MAX_SHOWN: usize = 20;

/// Changes by going back from a trial that are shown.
const MAX_GOING_BACK: usize = 4;

impl Render for Reloaded {
    fn table(&self, now: Timestamp) -> String {
        let prefixes = |n: usize| number_of(n as u64, "prefix", "prefixes");
        let mut text = format!(
            "Policy {} is in force: {} added, {} removed.\n",
            self.generation,
            prefixes(self.added),
            prefixes(self.removed),
        );
        for change in &self.changes {
            text.push_str(&format!("{}\n", clean(&change.text)));
        }
        text.push_str(&cut_off(self));
        for refusal in &self.refused {
            text.push_str(&format!("Refused: {}\n", clean(refusal)));
        }
        for failure in &self.failed {
            text.push_str(&format!("Not read: {}\n", lines(failure)));
        }
        if !self.failed.is_empty() {
            text.push_str(
                "What was in force of them stays in force: nothing, where no list was read yet.\n",
            );
        }
        text.push_str(&way_through(self));
        for pending in &self.pending {
            text.push_str(&format!("Being resolved: {}\n", clean(pending)));
        }
        if !self.restart.is_empty() {
            text.push_str(&format!(
                "Takes effect at a restart of the agent (systemctl restart dbfw): {}\n",
                clean(&self.restart.join(", "))
            ));
        }
        if let Some(trial) = &self.trial {
            text.push_str(&on_trial(trial, now));
        }
        text
    }

    fn plain(&self) -> String {
        let (generation, added, removed) = (self.generation, self.added, self.removed);
        let mut text = format!("policy\t{generation}\t{added}\t{removed}\n");
        for change in &self.changes {
            let database = maybe(change.database.as_ref());
            text.push_str(&fields(["change", change.effect.as_str(), &database, &change.text]));
        }
        for cut_off in &self.cut_off {
            let (source, connections) =
                (cut_off.source.to_string(), cut_off.connections.to_string());
            let last_seen = moment(cut_off.last_seen);
            text.push_str(&fields([
                "cut_off",
                &cut_off.database,
                &source,
                &connections,
                &last_seen,
                &cut_off.going_on.to_string(),
            ]));
        }
        if let Some(error) = &self.connections_error {
            text.push_str(&fields(["connections_error", error]));
        }
        self.refused.iter().for_each(|refusal| text.push_str(&fields(["refused", refusal])));
        self.confirmable.iter().for_each(|id| text.push_str(&fields(["confirmable", id])));
        for plan in &self.unconfirmed {
            let UnconfirmedPlan { id, database, message } = plan;
            text.push_str(&fields(["unconfirmed", database, id, message]));
        }
        self.failed.iter().for_each(|failure| text.push_str(&fields(["failed", failure])));
        self.pending.iter().for_each(|pending| text.push_str(&fields(["pending", pending])));
        self.restart.iter().for_each(|key| text.push_str(&fields(["restart", key])));
        if let Some(trial) = &self.trial {
            text.push_str(&trial_fields(trial));
        }
        text
    }
}

impl Render for Unconfirmed {
    fn table(&self, now: Timestamp) -> String {
        self.reloaded.table(now)
    }

    fn plain(&self) -> String {
        let Self { reloaded, error } = self;
        reloaded.plain() + &fields(["error", error.kind.as_str(), &error.message])
    }
}

/// The trial of the configuration in force, with the ways to end it.
pub(super) fn on_trial(trial: &Trial, now: Timestamp) -> String {
    let mut text = format!(
        "The configuration is on trial until {:.0} ({}).\n  {} keeps it, {} goes back at once.\n",
        trial.ends_at,
        ending(Some(trial.ends_at), now),
        clean(&trial.keep),
        clean(&trial.revert),
    );
    for change in trial.changes.iter().take(MAX_GOING_BACK) {
        text.push_str(&format!("  Going back: {}\n", clean(&change.text)));
    }
    let more = trial.changes.len().saturating_sub(MAX_GOING_BACK);
    if more > 0 {
        text.push_str(&format!("  Going back: {more} more changes (dbfw status --output json)\n"));
    }
    text
}

/// The trial for scripts: its end, and the time since when what it goes back to was in force.
pub(super) fn trial_fields(trial: &Trial) -> String {
    let [ends_at, since] = [trial.ends_at, trial.restores_since].map(|at| moment(Some(at)));
    fields(["trial", &ends_at, &since])
}

/// The way to see refused changes, and to let those through that can be confirmed.
fn way_through(reloaded: &Reloaded) -> String {
    let Reloaded { refused, confirmable, .. } = reloaded;
    match (refused.len(), confirmable.len()) {
        (0, _) => String::new(),
        (_, 0) => "`dbfw status` shows more about what is refused.\n".to_owned(),
        (all, some) if all == some => "`dbfw status` shows what would be lost; `dbfw reload \
             --confirm` lets the refused changes through.\n"
            .to_owned(),
        _ => format!(
            "`dbfw status` shows what would be lost; `dbfw reload --confirm` lets {} through, and \
             no other.\n",
            clean(&confirmable.join(", "))
        ),
    }
}

/// The sources that are cut off, with what is known of each; the first of many.
fn cut_off(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    if !reloaded.cut_off.is_empty() {
        let sources = number_of(reloaded.cut_off.len() as u64, "source", "sources");
        text.push_str(&format!("Cut off, because not trusted: {sources}\n"));
    }
    for cut_off in reloaded.cut_off.iter().take(MAX_SHOWN) {
        let CutOff { database, source, connections, going_on, last_seen } = cut_off;
        let connections = number_of(*connections as u64, "open connection", "open connections");
        let going_on = match going_on {
            0 => String::new(),
            1 => ", 1 goes on (an interface that is not covered)".to_owned(),
            many => format!(", {many} go on (an interface that is not covered)"),
        };
        let last_seen = last_seen.map_or_else(String::new, |at| format!(", last seen {at:.0}"));
        let facts = format!("{connections}{going_on}{last_seen}");
        text.push_str(&format!("  {source} ({}): {facts}\n", clean(database)));
    }
    if let Some(more) = reloaded.cut_off.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more: --output plain shows all\n"));
    }
    if let Some(error) = &reloaded.connections_error {
        text.push_str(&format!("Open connections are not known: {}\n", clean(error)));
    }
    text
}
