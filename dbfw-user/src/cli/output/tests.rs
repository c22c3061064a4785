mod check;
mod doctor;
mod drops;
mod explain;
mod history;
mod map;
mod plain;
mod refused;
mod reload;
mod sources;
mod status;
mod suggest;
mod trust;

use std::net::IpAddr;

use dbfw_wire::control::*;

use super::{
    samples::{NOW, at},
    *,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn text(document: &impl Render, format: Format) -> String {
    let text = render(document, format, NOW.parse().unwrap()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    anstream::adapter::strip_str(&text).to_string()
}

fn table(document: &impl Render) -> String {
    text(document, Format::Table)
}

/// The other two forms, with tabs that can be seen.
fn for_scripts(document: &impl Render) -> String {
    text(document, Format::Plain).replace('\t', "→") + &text(document, Format::Json)
}

fn stream(items: &[impl Render]) -> String {
    let forms = [Format::Table, Format::Plain, Format::Json];
    let shown = forms.map(|format| {
        let line = |(at, item)| render_item(item, at == 0, format, NOW.parse().unwrap()).unwrap();
        items.iter().enumerate().map(line).collect::<String>()
    });
    anstream::adapter::strip_str(&shown.concat()).to_string().replace('\t', "→")
}
