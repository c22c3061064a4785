//! `dbfw doctor`.

use dbfw_wire::control::{FindingState, Findings};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{BAD, Cell, FAIR, GOOD, Table, left},
    words::{clean, fields, maybe},
};

impl Render for Findings {
    fn table(&self, _now: Timestamp) -> String {
        let mut table = Table::new([left("STATE"), left("CHECK"), left("FOUND")]);
        let mut fixes = String::new();
        for finding in &self.findings {
            let style = match finding.state {
                FindingState::Ok => GOOD,
                FindingState::Warn => FAIR,
                FindingState::Fail => BAD.bold(),
            };
            table.row([
                Cell::styled(finding.state.as_str(), style),
                (&finding.check).into(),
                (&finding.detail).into(),
            ]);
            if let Some(fix) = &finding.fix {
                fixes.push_str(&format!("  {}: {}\n", clean(&finding.check), clean(fix)));
            }
        }
        if fixes.is_empty() {
            table.render()
        } else {
            format!("{}\nTo fix it:\n{fixes}", table.render())
        }
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
