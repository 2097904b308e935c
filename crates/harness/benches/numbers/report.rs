//! The table and the files.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

/// What a number has to reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    /// Larger is better.
    AtLeast(f64),
    /// Smaller is better.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The number; `None`: it was not measured, and `detail` says why.
    pub(crate) value: Option<f64>,
    /// `×`, `ms` or `s`.
    pub(crate) unit: &'static str,
    /// What it has to reach.
    pub(crate) bound: Bound,
    /// What the number was made from.
    pub(crate) detail: String,
}

impl Row {
    /// Whether it was measured and reaches what it has to.
    pub(crate) fn passes(&self) -> bool {
        self.value.is_some_and(|value| self.bound.holds(value))
    }

    fn verdict(&self) -> &'static str {
        match self.value {
            Some(_) if self.passes() => "pass",
            Some(_) => "falls short",
            None => "not measured",
        }
    }

    fn measured(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2} {}", self.unit))
    }

    fn required(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("≥ {bound} {}", self.unit),
            Bound::AtMost(bound) => format!("≤ {bound} {}", self.unit),
        }
    }
}

/// A table whose columns line up on a terminal too.
struct Table<'a>(&'a [[String; 5]]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.0.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        for (index, cells) in self.0.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                write!(formatter, "| {cell:<width$} ", width = width(column))?;
            }
            writeln!(formatter, "|")?;
            if index == 0 {
                for column in 0..cells.len() {
                    write!(formatter, "|{}", "-".repeat(width(column) + 2))?;
                }
                writeln!(formatter, "|")?;
            }
        }
        Ok(())
    }
}

/// The rows as a Markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut cells = vec![["what", "measured", "required", "verdict", "from"].map(str::to_owned)];
    cells.extend(
        rows.iter().map(|row| {
            [row.what.clone(), row.measured(), row.required(), row.verdict().to_owned(), row.detail.clone()]
        }),
    );
    Table(&cells).to_string()
}

/// Writes the rows for people and for programs. A part of the measurements gets files of its own, so that the numbers of a
/// whole run stay.
pub(crate) fn write(folder: &Path, part: &[String], rows: &[Row]) -> io::Result<()> {
    let name = std::iter::once("numbers").chain(part.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
    let listed: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            let mut value = serde_json::to_value(row).unwrap_or_default();
            value["verdict"] = row.verdict().into();
            value
        })
        .collect();
    fs::create_dir_all(folder)?;
    fs::write(folder.join(format!("{name}.md")), markdown(rows))?;
    fs::write(folder.join(format!("{name}.json")), format!("{:#}\n", serde_json::Value::from(listed)))
}
