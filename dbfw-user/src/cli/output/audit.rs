//! Output of `dbfw audit`, for people and as plain fields.

use dbfw_wire::control::{
    Audit, AuditCheck, AuditFinding, AuditSeverity, AuditState, AuditedDatabase,
};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{BAD, Cell, Column, FAIR, Table, left},
    words::{DASH, clean, fields, maybe, number_of, wrap},
};

/// Columns of a text for people.
const WIDTH: usize = 80;

/// A line of the table: a problem, or the checks of a database that one reason kept from being made.
struct Row {
    state: AuditState,
    severity: AuditSeverity,
    ids: Vec<String>,
    database: Option<String>,
    text: String,
}

const ROWS: [Column<Row>; 4] = [
    left("SEVERITY", |row, _| {
        let (word, style) = match (row.state, row.severity) {
            (AuditState::Fail, severity @ (AuditSeverity::Critical | AuditSeverity::High)) => {
                (severity.as_str(), BAD.bold())
            }
            (AuditState::Fail, severity @ AuditSeverity::Medium) => (severity.as_str(), FAIR),
            (AuditState::Fail, severity) => return severity.as_str().into(),
            (state, _) => return state.as_str().into(),
        };
        Cell::styled(word, style)
    }),
    left("ID", |row, _| row.ids.join(" ").into()),
    left("DATABASE", |row, _| row.database.as_deref().unwrap_or(DASH).into()),
    left("WHAT", |row, _| (&row.text).into()),
];

/// The lines of the table, in the order of the findings. What is as it should be has none.
fn rows(findings: &[AuditFinding]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.state != AuditState::Ok) {
        let is_same = |row: &&mut Row| {
            let is_unknown = |state| state == AuditState::Unknown;
            is_unknown(row.state)
                && is_unknown(finding.state)
                && row.database == finding.database
                && row.text == finding.text
        };
        if let Some(row) = rows.iter_mut().find(is_same) {
            row.ids.push(finding.id.clone());
            continue;
        }
        let text = match &finding.reason {
            Some(reason) => format!("{} ({reason})", finding.text),
            None => finding.text.clone(),
        };
        rows.push(Row {
            state: finding.state,
            severity: finding.severity,
            ids: vec![finding.id.clone()],
            database: finding.database.clone(),
            text,
        });
    }
    rows
}

/// A database in one line.
fn head(database: &AuditedDatabase) -> String {
    let engine = database.engine.as_deref().unwrap_or("an unknown engine");
    let version = database.version.as_deref().map(|version| format!(" {version}"));
    let sources = match database.sources {
        Some(sources) => number_of(sources as u64, "trusted source", "trusted sources"),
        None => "its trusted sources are not known".to_owned(),
    };
    let login = database.login.as_deref().map(|login| format!(", login ({})", clean(login)));
    format!(
        "{}: {}{} on {}, {}, {sources}{}\n",
        clean(&database.name),
        clean(engine),
        clean(&version.unwrap_or_default()),
        database.ports.join(","),
        database.mode,
        login.unwrap_or_default()
    )
}

/// The number of findings of each kind.
fn summary(audit: &Audit) -> String {
    let severities = [
        AuditSeverity::Critical,
        AuditSeverity::High,
        AuditSeverity::Medium,
        AuditSeverity::Low,
        AuditSeverity::Info,
    ];
    let count = |holds: &dyn Fn(&AuditFinding) -> bool| {
        audit.findings.iter().filter(|finding| holds(finding)).count()
    };
    let failed = severities.map(|severity| {
        let is_one = |finding: &AuditFinding| {
            finding.state == AuditState::Fail && finding.severity == severity
        };
        (count(&is_one), severity.as_str())
    });
    let others = [AuditState::Unknown, AuditState::Accepted, AuditState::Ok]
        .map(|state| (count(&|finding| finding.state == state), state.as_str()));
    let counted = failed.into_iter().chain(others).filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, word)| format!("{count} {word}")).collect();
    let watched = audit.watched_seconds.map(|seconds| format!(" {seconds}s"));
    format!("{}; level {}{}", counted.join(", "), audit.level, watched.unwrap_or_default())
}

impl Render for Audit {
    fn table(&self, now: Timestamp) -> String {
        let heads: String = self.databases.iter().map(head).collect();
        let rows = rows(&self.findings);
        let table = match rows.is_empty() {
            true => "nothing was found\n".to_owned(),
            false => Table::of(&ROWS, &rows, now).render(),
        };
        let advice = match rows.is_empty() {
            true => "",
            false => "; dbfw audit --explain ID says why, and what to do",
        };
        format!("{heads}\n{table}\n{}{advice}\n", summary(self))
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&fields([
                finding.state.as_str(),
                finding.severity.as_str(),
                &finding.id,
                &maybe(finding.database.as_ref()),
                &maybe(finding.subject.as_ref()),
                &finding.text,
                &maybe(finding.reason.as_ref()),
                &maybe(finding.fix.as_ref()),
            ]));
        }
        text
    }
}

impl Render for AuditCheck {
    fn table(&self, _now: Timestamp) -> String {
        let paragraph = |text: &str| wrap(text, WIDTH).join("\n") + "\n";
        let mut text = format!(
            "{}  {}\n{}, level {}, {}\n\n{}\nFix:\n{}",
            self.id,
            self.title,
            self.severity,
            self.level,
            self.engines.join(", "),
            paragraph(&self.why),
            paragraph(&self.fix),
        );
        if !self.refs.is_empty() {
            text.push_str(&format!("\nSee:\n{}\n", self.refs.join("\n")));
        }
        text
    }

    fn plain(&self) -> String {
        fields([
            &self.id,
            self.severity.as_str(),
            self.level.as_str(),
            &self.engines.join(","),
            &self.title,
            &self.why,
            &self.fix,
            &self.refs.join(","),
        ])
    }
}
