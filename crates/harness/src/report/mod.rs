//! What happened, for people and for programs. Reporters are told events and decide nothing.

mod failure;
mod json;
mod junit;
mod lines;
mod live;
mod summary;

use std::path::Path;

use crate::runner::event::Event;
use crate::runner::outcome::RunOutcome;
use crate::runner::plan::Plan;

pub use failure::{Failures, repeat_command};
pub use lines::Lines;
pub use live::Live;
pub use summary::summary;

/// Something that is told what happens.
pub trait Reporter {
    /// Takes an event.
    ///
    /// # Errors
    /// Where it cannot write.
    fn event(&mut self, plan: &Plan, event: &Event) -> std::io::Result<()>;
}

/// A format of report files.
#[derive(Debug)]
pub struct FileFormat {
    /// Its name, which is the option's too.
    pub name: &'static str,
    /// The file's text.
    pub render: fn(&Plan, &RunOutcome) -> Result<String, String>,
}

/// Every format of report files.
pub const FILE_FORMATS: &[FileFormat] =
    &[FileFormat { name: "junit", render: junit::render }, FileFormat { name: "json", render: json::render }];

/// Writes a report file.
///
/// # Errors
/// Where the outcome cannot be shown in the format, or the file not be written.
pub fn write_file(format: &str, file: &Path, plan: &Plan, outcome: &RunOutcome) -> Result<(), String> {
    let format =
        FILE_FORMATS.iter().find(|known| known.name == format).ok_or_else(|| format!("there is no format {format}"))?;
    let text = (format.render)(plan, outcome)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    }
    std::fs::write(file, text).map_err(|error| format!("failed to write {}: {error}", file.display()))
}
