//! What is left of a run: JSON and curves, in one directory.

pub(crate) mod curves;
pub(crate) mod machine;

use std::{fs, path::Path};

use serde_json::Value;

/// The middle of some measurements, with the least and the most.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], min, max })
    }
}

/// Writes a scenario's figures and the machine they are of.
pub(crate) fn json(directory: &Path, scenario: &str, results: &Value) {
    let document = serde_json::json!({
        "scenario": scenario,
        "machine": machine::facts(),
        "results": results,
    });
    let text = serde_json::to_string_pretty(&document).expect("figures are JSON");
    write(directory, &format!("{scenario}.json"), &text);
}

/// Writes a file and says where.
pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    match written {
        Ok(()) => println!("  written: {}", path.display()),
        Err(error) => println!("  cannot write {}: {error}", path.display()),
    }
}

/// A number with separators: 10,000.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
