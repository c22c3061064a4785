//! `dbfw reload`: has the agent read everything again, and confirms refused changes.

use dbfw_wire::control::{
    FailureKind, RefusedPlan, Reloaded, Request, Status, Text, Unconfirmed, UnconfirmedPlan,
};
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
    if trial_seconds.is_some() && reloaded.trial.is_none() {
        anyhow::bail!(not_on_trial(&reloaded));
    }
    let refused: Vec<_> = reloaded.unconfirmed.iter().map(still_refused).collect();
    refused.iter().for_each(|(_, text)| error(text));
    let unconfirmed = [choice.unconfirmed, refused].concat();
    // A plan that is not there was not confirmed.
    if let Some((kind, _)) = unconfirmed.first() {
        let said: Vec<&str> = unconfirmed.iter().map(|(_, text)| &**text).collect();
        let error = failure(*kind, said.join("; "));
        context.show(&Unconfirmed { reloaded, error })?;
        return Ok((*kind).into());
    }
    context.show(&reloaded)?;
    Ok(exit(&reloaded))
}

/// The failure where the agent did not confirm a plan that was refused before.
fn still_refused(plan: &UnconfirmedPlan) -> (FailureKind, String) {
    let UnconfirmedPlan { id, database, message } = plan;
    (FailureKind::Failed, format!("plan {id} of {database} was not confirmed: {message}"))
}

/// The failure where an agent of an earlier version reloaded for good what was to be tried.
fn not_on_trial(reloaded: &Reloaded) -> String {
    let mut changed = vec![format!(
        "policy {} is in force, {} prefixes were added and {} removed",
        reloaded.generation, reloaded.added, reloaded.removed
    )];
    changed.extend(reloaded.changes.iter().map(|change| change.text.clone()));
    format!(
        "nothing is on trial: the agent does not know trials, and has put the files on disk in \
         force for good ({}). To go back, put the former files back and run dbfw reload. Restart \
         the agent before you try again: systemctl restart dbfw starts this version",
        changed.join("; ")
    )
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
            choice.notes.push(describe_plan(database, plan));
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
        let trial = status.agent.as_ref().and_then(|agent| agent.trial.as_ref());
        choice.notes.push(match trial {
            Some(trial) => format!(
                "no plan is refused, so there is nothing to confirm; to keep the configuration on \
                 trial: {}",
                trial.keep
            ),
            None => "there is nothing to confirm; everything is read again".to_owned(),
        });
    }
    choice
}

fn describe_plan(database: &str, plan: &RefusedPlan) -> String {
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
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
        path::Path,
    };

    use super::*;
    use crate::cli::output::{Format, samples};

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

    /// An agent that answers one request with this line.
    fn answering(socket: &Path, answer: &'static str) -> std::thread::JoinHandle<String> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            request
        })
    }

    #[test]
    fn an_agent_that_ignores_a_trial_is_a_failure_that_names_what_it_did() {
        let directory = tempfile::tempdir().unwrap();
        let trial = Some(SignedDuration::from_mins(10));
        for (number, (answer, says)) in [
            (
                concat!(
                    r#"{"data":{"generation":42,"added":3,"removed":1,"refused":[]}}"#,
                    "\n{\"end\":{}}\n"
                ),
                &["policy 42", "3 prefixes were added", "1 removed", "for good"][..],
            ),
            (
                concat!(
                    r#"{"data":{"generation":7,"added":0,"removed":0,"refused":[],"trial":null,"#,
                    r#""changes":[{"effect":"opens","database":"a","text":"a: enforce → off"}]}}"#,
                    "\n{\"end\":{}}\n"
                ),
                &["policy 7", "a: enforce → off", "dbfw reload"],
            ),
            (
                r#"{"error":{"kind":"invalid","message":"unknown field `trial_seconds`"}}
"#,
                &["trial_seconds"],
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let socket = directory.path().join(number.to_string());
            let agent = answering(&socket, answer);
            let context = Context {
                config: directory.path().join("dbfw.toml"),
                socket: Some(socket),
                output: Format::Table,
                color: clap::ColorChoice::Auto,
            };
            let error = reload(&context, None, trial).unwrap_err();
            assert!(agent.join().unwrap().contains(r#""trial_seconds":600"#));
            for text in says {
                assert!(error.to_string().contains(text), "{error:#}");
            }
        }
    }
}
