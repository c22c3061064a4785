//! `dbfw status`, on one screen.

mod records;
mod tables;

use anstyle::Style;
use dbfw_wire::control::{AccountStatus, AgentStatus, Enforced, Mode, Protection, Status};
use jiff::Timestamp;
use tables::{database_table, interface_rows, interface_table};

use super::{
    refused,
    reload::on_trial,
    render::Render,
    table::{BAD, FAIR, GOOD, SCREEN},
    words::{clean, cut, lasting, since, width, wrap},
};

/// Lines of a terminal that nobody made longer, less the prompt.
const LINES: usize = 23;
/// Lines that are always there: headline, agent, two blank lines, two headers.
const FIXED: usize = 6;
/// Lines for the ports that nothing uses.
const UNUSED_LINES: usize = 3;
/// Lines for who is asked over the network.
const ACCOUNT_LINES: usize = 2;
/// Lines of problems, and of one of several.
const PROBLEM_LINES: usize = 6;
const LINES_A_PROBLEM: usize = 3;
/// Interfaces keep this many lines, however many databases there are.
const INTERFACE_LINES: usize = 5;

impl Render for Status {
    fn table(&self, now: Timestamp) -> String {
        let mut text = headline(self);
        text.push_str(&agent_line(self, now));
        let before = text.lines().count();
        if let Some(trial) = self.agent.as_ref().and_then(|agent| agent.trial.as_ref()) {
            text.push_str(&on_trial(trial, now));
        }
        text.push_str(&accounts_line(&self.accounts));
        text.push_str(&problems(self));
        text.push_str(&footnote(self));
        let used = text.lines().count() - before;

        let room = LINES.saturating_sub(FIXED + used);
        let for_interfaces = room.saturating_sub(self.databases.len()).max(INTERFACE_LINES);
        let interfaces = interface_rows(self, for_interfaces);
        let shown = interfaces.len().min(for_interfaces);
        text.push('\n');
        text.push_str(&interface_table(&interfaces, for_interfaces, now));
        text.push('\n');
        text.push_str(&database_table(&self.databases, room.saturating_sub(shown).max(2), now));
        // The one thing that may take more than a screen: it is to be read before it is confirmed.
        text.push_str(&refused::paragraphs(&self.databases));
        text
    }

    fn plain(&self) -> String {
        records::plain(self)
    }
}

fn headline(status: &Status) -> String {
    let (word, style) = match (status.protection, status.enforced) {
        (Protection::Yes, Enforced::Yes) => ("PROTECTED", GOOD),
        (Protection::Yes, Enforced::Partly) => ("PROTECTED in part, as configured", FAIR),
        (Protection::Yes, Enforced::No) => ("NOTHING ENFORCED, as configured", FAIR),
        (Protection::Degraded, _) => ("DEGRADED", FAIR),
        (Protection::No, _) => ("NOT PROTECTED", BAD),
        (Protection::Unknown, _) => ("PROTECTION UNKNOWN", FAIR),
    };
    let style = style.bold();
    format!("{style}{word}{style:#}  dbfw {}\n", clean(&status.version))
}

fn agent_line(status: &Status, now: Timestamp) -> String {
    let Some(agent) = &status.agent else {
        if status.databases.is_empty() {
            return "no answer from an agent, and nothing is pinned\n".to_owned();
        }
        return "no answer from an agent; this was read from the pinned maps\n".to_owned();
    };
    let up = since(agent.started_at, now);
    let AgentStatus { pid, generation, .. } = agent;
    let mut text = format!("agent pid {pid}, up {up}, policy {generation}");
    for (unusual, words) in [
        (agent.detached, "detached"),
        (!agent.ready && !agent.detached, "not ready"),
        (!agent.config_ok, "files on disk not in force"),
    ] {
        if unusual {
            text.push_str(&format!(", {BAD}{words}{BAD:#}"));
        }
    }
    text.push('\n');
    text
}

/// Services that are asked over the network, with interval and remaining budget.
fn accounts_line(accounts: &[AccountStatus]) -> String {
    if accounts.is_empty() {
        return String::new();
    }
    let told: Vec<_> = accounts.iter().map(account).collect();
    wrap_in(ACCOUNT_LINES, &format!("asks {}", told.join(", ")), SCREEN).join("\n") + "\n"
}

fn account(account: &AccountStatus) -> String {
    let mut text = if account.interval_seconds > 0.0 {
        // Saturates: the field comes from a document.
        format!("{} every {}", account.name, lasting(account.interval_seconds as u64))
    } else {
        // It sends what changes.
        format!("{} all the time", account.name)
    };
    if account.error.is_some() {
        text.push_str(" and fails");
    }
    if let (Some(hour), Some(minute)) = (account.budget_hour_left, account.budget_minute_left) {
        text.push_str(&format!(" ({hour}/h and {minute}/min left)"));
    }
    text
}

fn problems(status: &Status) -> String {
    let accounts = status.accounts.iter().filter_map(|account| {
        account.error.as_ref().map(|error| (FAIR, format!("{}: {error}", account.name)))
    });
    let problems: Vec<(Style, String)> = status
        .problems
        .iter()
        .map(|problem| (BAD, problem.clone()))
        .chain(accounts.filter(|(_, error)| !status.problems.contains(error)))
        .collect();
    let mut text = String::new();
    let mut lines = 0;
    for (i, (style, problem)) in problems.iter().enumerate() {
        let most = if problems.len() == 1 { PROBLEM_LINES } else { LINES_A_PROBLEM };
        let wrapped = with_both_ends(most, problem, SCREEN - 2);
        // The last line is kept for the number of those that are left out.
        let room = PROBLEM_LINES - usize::from(i + 1 < problems.len());
        if lines + wrapped.len() > room {
            let left_out = problems.len() - i;
            text.push_str(&format!("  and {left_out} more: dbfw status --output plain\n"));
            break;
        }
        lines += wrapped.len();
        for (k, line) in wrapped.iter().enumerate() {
            let mark = if k == 0 { "!" } else { " " };
            text.push_str(&format!("{style}{mark}{style:#} {line}\n"));
        }
    }
    text
}

/// As [`wrap`], in at most `most` lines: where there would be more the middle is left out, for a
/// problem begins with its reason and ends with its remedy.
fn with_both_ends(most: usize, text: &str, room: usize) -> Vec<String> {
    let mut lines = wrap(text, room);
    if lines.len() > most {
        let left = lines.split_off(most - 1).join(" ");
        let mut end = String::new();
        for word in left.split(' ').rev() {
            if !end.is_empty() && width(&end) + width(word) + 3 > room {
                break;
            }
            end = if end.is_empty() { word.to_owned() } else { format!("{word} {end}") };
        }
        lines.push(format!("… {end}"));
    }
    lines.iter().map(|line| cut(line, room)).collect()
}

/// As [`wrap`], but the last of `most` lines is cut where there would be more.
fn wrap_in(most: usize, text: &str, room: usize) -> Vec<String> {
    let mut lines = wrap(text, room);
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(cut(&rest, room));
    }
    lines
}

/// Ports that nothing uses, and the meaning of the numbers in brackets, if there are any.
fn footnote(status: &Status) -> String {
    let mut text = String::new();
    let unused = status.databases.iter().filter_map(|database| {
        let ports = database.unused_ports.as_ref().filter(|ports| !ports.is_empty())?;
        Some(format!("{} ({})", ports.join(", "), clean(&database.name)))
    });
    let unused: Vec<String> = unused.collect();
    if !unused.is_empty() {
        let told = format!(
            "nothing here listens on {}: stopped, or at another port, which is open",
            unused.join(", ")
        );
        text.push_str(&with_both_ends(UNUSED_LINES, &told, SCREEN).join("\n"));
        text.push('\n');
    }
    if status.databases.iter().any(|database| database.mode == Mode::Observe) {
        text.push_str("(n): packets let in by observe mode that enforce would have dropped\n");
    }
    text
}
