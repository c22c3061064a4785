//! `dbfw reload`: has the agent read everything again, and confirms refused changes.

use dbfw_wire::control::{FailureKind, RefusedPlan, Reloaded, Request, Status, Text, Unconfirmed};
use jiff::SignedDuration;

use super::{
    context::Context,
    exit::{Exit, failure},
    message::{error, note},
};

pub(super) fn reload(
    context: &Context,
    confirm: Option<Vec<String>>,
    trial: Option<SignedDuration>,
) -> anyhow::Result<Exit> {
    let choice = match confirm {
        Some(named) => choose(&context.call(&Request::Status {})?, named),
        None => Choice::default(),
    };
    choice.notes.iter().for_each(|text| note(text));
    choice.unconfirmed.iter().for_each(|(_, text)| error(text));
    // A part of a second is one: the positive duration must not become none.
    let trial_seconds = trial.map(|lasts| lasts.as_millis_f64() / 1000.0).map(|s| s.ceil() as u64);
    let reloaded: Reloaded =
        context.call(&Request::Reload { plans: choice.plans, trial_seconds })?;
    // A plan that is not there was not confirmed.
    if let Some((kind, _)) = choice.unconfirmed.first() {
        let said: Vec<&str> = choice.unconfirmed.iter().map(|(_, text)| &**text).collect();
        let error = failure(*kind, said.join("; "));
        context.show(&Unconfirmed { reloaded, error })?;
        return Ok((*kind).into());
    }
    context.show(&reloaded)?;
    Ok(exit(&reloaded))
}

/// Keeps the configuration on trial.
pub(super) fn keep(context: &Context) -> anyhow::Result<Exit> {
    let kept: Text = context.call(&Request::TrialKeep {})?;
    context.show(&kept)?;
    Ok(Exit::Ok)
}

/// Goes back to the configuration before the trial.
pub(super) fn revert(context: &Context) -> anyhow::Result<Exit> {
    let reloaded: Reloaded = context.call(&Request::TrialRevert {})?;
    context.show(&reloaded)?;
    Ok(exit(&reloaded))
}

fn exit(reloaded: &Reloaded) -> Exit {
    let done = reloaded.refused.is_empty() && reloaded.failed.is_empty();
    if done { Exit::Ok } else { Exit::Failure }
}

/// Which plans to confirm, and what to tell about them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    plans: Vec<String>,
    notes: Vec<String>,
    /// The reason why something named cannot be confirmed.
    unconfirmed: Vec<(FailureKind, String)>,
}

/// The plans that are named, or else all that are refused now and can be confirmed. What else
/// a list may say by the time it is read again is not confirmed: the agent sees to that.
fn choose(status: &Status, named: Vec<String>) -> Choice {
    let mut choice = Choice::default();
    let refused = status
        .databases
        .iter()
        .filter_map(|database| Some((database.name.as_str(), database.refused.as_ref()?)));
    let all = named.is_empty();
    let mut unknown = named.clone();
    for (database, plan) in refused {
        if !all && !named.contains(&plan.id) {
            continue;
        }
        unknown.retain(|id| *id != plan.id);
        if plan.command.is_empty() {
            let RefusedPlan { id, message, .. } = plan;
            let text = format!("plan {id} of {database} cannot be confirmed: {message}");
            choice.unconfirmed.push((FailureKind::Failed, text));
        } else {
            choice.notes.push(told(database, plan));
            if !choice.plans.contains(&plan.id) {
                choice.plans.push(plan.id.clone());
            }
        }
    }
    for id in unknown {
        let text = format!("no plan {id} is refused now; dbfw status shows those that are");
        choice.unconfirmed.push((FailureKind::Invalid, text));
        // The list may be refused again by the time it is read.
        choice.plans.push(id);
    }
    if choice.plans.is_empty() {
        choice.notes.push("there is nothing to confirm; everything is read again".to_owned());
    }
    choice
}

fn told(database: &str, plan: &RefusedPlan) -> String {
    let RefusedPlan { id, lost_total, gained_total, connections_total, .. } = plan;
    let prefixes = if *lost_total == 1 { "prefix goes" } else { "prefixes go" };
    let come = if *gained_total == 1 { "comes" } else { "come" };
    let connections = match (&plan.connections_error, connections_total) {
        (Some(error), _) => format!("which connections are cut is not known ({error})"),
        (None, 0) => "no live connection is cut".to_owned(),
        (None, 1) => "1 live connection is cut".to_owned(),
        (None, many) => format!("{many} live connections are cut"),
    };
    format!(
        "confirming plan {id} of {database}: {lost_total} {prefixes}, {gained_total} {come}, {connections}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    fn plans(choice: &Choice) -> Vec<&str> {
        choice.plans.iter().map(String::as_str).collect()
    }

    fn unconfirmed(choice: &Choice) -> Vec<(FailureKind, &str)> {
        choice.unconfirmed.iter().map(|(kind, text)| (*kind, &**text)).collect()
    }

    fn status() -> Status {
        let mut status = samples::status();
        let mut orders = status.databases[0].clone();
        orders.refused = Some(samples::refused());
        let mut wide = orders.clone();
        wide.name = "reports".to_owned();
        wide.refused = Some(RefusedPlan {
            id: "00000002".to_owned(),
            command: String::new(),
            message: "0.0.0.0/0 is wider than /8".to_owned(),
            ..samples::refused()
        });
        let mut calm = orders.clone();
        (calm.name, calm.refused) = ("calm".to_owned(), None);
        status.databases = vec![orders, wide, calm];
        status
    }

    #[test]
    fn all_that_can_be_confirmed() {
        let choice = choose(&status(), Vec::new());
        assert_eq!(plans(&choice), ["1a2b3c4d"]);
        assert_eq!(
            choice.notes,
            [
                "confirming plan 1a2b3c4d of orders: 60 prefixes go, 2 come, 3 live connections are cut"
            ]
        );
        let wide = "plan 00000002 of reports cannot be confirmed: 0.0.0.0/0 is wider than /8";
        assert_eq!(unconfirmed(&choice), [(FailureKind::Failed, wide)]);
    }

    #[test]
    fn those_that_are_named_and_no_others() {
        let choice = choose(&status(), vec!["deadbeef".to_owned()]);
        assert_eq!(plans(&choice), ["deadbeef"]);
        assert_eq!(choice.notes, [""; 0]);
        let unknown = "no plan deadbeef is refused now; dbfw status shows those that are";
        assert_eq!(unconfirmed(&choice), [(FailureKind::Invalid, unknown)]);
        let choice = choose(&status(), vec!["1a2b3c4d".to_owned()]);
        assert_eq!((plans(&choice), choice.unconfirmed.len()), (vec!["1a2b3c4d"], 0));
    }

    #[test]
    fn nothing_to_confirm_is_said() {
        let choice = choose(&samples::status(), Vec::new());
        assert_eq!(plans(&choice), [""; 0]);
        assert_eq!(choice.notes, ["there is nothing to confirm; everything is read again"]);
    }
}
