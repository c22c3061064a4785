//! Output of `dbfw doctor`, for people and as plain fields.

use dbfw_wire::control::{Finding, FindingState, Findings};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{BAD, Cell, Column, FAIR, GOOD, Table, left},
    words::{clean, fields, maybe},
};
const FINDINGS: [Column<Finding>; 3] = [
    left("STATE", |finding, _| {
        let style = match finding.state {
            FindingState::Ok => GOOD,
            FindingState::Warn => FAIR,
            FindingState::Fail => BAD.bold(),
        };
        Cell::styled(finding.state.as_str(), style)
    }),
    left("CHECK", |finding, _| (&finding.check).into()),
    left("FOUND", |finding, _| (&finding.detail).into()),
];

impl Render for Findings {
    fn table(&self, now: Timestamp) -> String {
        let mut fixes = String::new();
        for finding in &self.findings {
            if let Some(fix) = &finding.fix {
                fixes.push_str(&format!("  {}: {}\n", clean(&finding.check), clean(fix)));
            }
        }
        let table = Table::of(&FINDINGS, &self.findings, now).render();
        if fixes.is_empty() { table } else { format!("{table}\nTo fix it:\n{fixes}") }
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let fix = maybe(finding.fix.as_ref());
            text.push_str(&fields([finding.state.as_str(), &finding.check, &finding.detail, &fix]));
        }
        text
    }
}
