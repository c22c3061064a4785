//! The head of a database's pages.

use maud::{Markup, html};

use super::visitor::Visitor;
use crate::model::{Database, Scope};

/// A page of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Sources,
    Hosts,
    Refused,
    History,
}

/// The name of a database, and the links to its pages.
pub(super) fn head(visitor: &Visitor, database: &Database, tab: Tab) -> Markup {
    let path = path(database);
    let here = |own: Tab| (own == tab).then_some("page");
    html! {
        p.crumbs { a href="/" { "Databases" } }
        h1 { (database.name) }
        nav.tabs aria-label="Pages of the database" {
            a href=(path) aria-current=[here(Tab::Sources)] { "Trusted sources" }
            @if visitor.may(Scope::HostRead, database) {
                a href={ (path) "/hosts" } aria-current=[here(Tab::Hosts)] { "Hosts" }
            }
            a href={ (path) "/refused" } aria-current=[here(Tab::Refused)] { "Refused" }
            @if visitor.may(Scope::AuditRead, database) {
                a href={ (path) "/history" } aria-current=[here(Tab::History)] { "History" }
            }
        }
    }
}

/// The path of a database's first page.
pub(super) fn path(database: &Database) -> String {
    format!("/databases/{}", database.name)
}
