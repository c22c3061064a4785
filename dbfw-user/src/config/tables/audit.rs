//! The table `[database.audit]` of a database: its keys and their checks.

use dbfw_core::toml::{Report, Value, quoted};
use dbfw_provider::tables::secret_file;

use crate::config::types::AuditLogin;

const FIX: &str = "write [database.audit] below its [[database]]";
const PASSWORD_FILE: &str = "/etc/dbfw/orders-audit-password";
const USER_FIX: &str = r#"write user = "dbfw_audit""#;
/// Bytes that a name may have: those of PostgreSQL's are the longest.
const MAX_USER: usize = 63;

/// The table of a database.
pub(crate) fn read_audit(value: &Value<'_>, report: &mut Report) -> AuditLogin {
    let mut login = AuditLogin::default();
    let Some(mut table) = value.table(FIX, report) else { return login };
    table.set("socket", &mut login.socket, report, |value, report| {
        value.path("/run/postgresql/.s.PGSQL.5432", report).map(Some)
    });
    let (mut has_user, mut place) = (false, None);
    table.set("user", &mut login.user, report, |value, report| {
        has_user = true;
        user(value, report).map(Some)
    });
    table.set("password_file", &mut login.password_file, report, |value, report| {
        place = Some(value.place());
        secret_file(value, "password", PASSWORD_FILE, report).map(Some)
    });
    if let Some(value) = table.refuse("password") {
        let fix = format!(
            "write it to a file with mode 0600 and add password_file = {PASSWORD_FILE:?}; make a \
             new password if others could read this file"
        );
        report.problem(&value.place(), "a password does not belong in the configuration", fix);
    }
    if let (Some(place), false) = (place, has_user) {
        report.problem(&place, "whose password it is is not said", USER_FIX);
    }
    table.finish(report);
    login
}

fn user(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let user = value.string(USER_FIX, report)?;
    if user.is_empty() || user.len() > MAX_USER || user.chars().any(char::is_control) {
        let message = format!("{} is not a user's name", quoted(user));
        let fix = format!("use 1 to {MAX_USER} bytes without control characters");
        report.problem(&value.place(), message, fix);
        return None;
    }
    Some(user.to_owned())
}
