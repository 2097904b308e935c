//! How long cells took, so that the longest ones start first. A lost history costs time, nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outcome::RunOutcome;

/// Durations by the names of cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    seconds: BTreeMap<String, f64>,
}

impl History {
    /// Where it is kept: in the user's cache.
    #[must_use]
    pub fn default_file(environment: &confgen::environment::Environment) -> Option<PathBuf> {
        let cache = environment.get_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = cache.or_else(|| environment.get_os("HOME").map(|home| Path::new(home).join(".cache")))?;
        Some(cache.join("mod_wsgi_rs/harness-history.json"))
    }

    /// Reads it; what is not readable is empty.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let seconds = fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { seconds: seconds.unwrap_or_default() }
    }

    /// How long a cell took.
    #[must_use]
    pub fn of(&self, cell: &str) -> Option<Duration> {
        self.seconds.get(cell).copied().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Takes over the durations of a run.
    pub fn learn(&mut self, run: &RunOutcome) {
        for cell in run.cells.iter().filter(|cell| cell.verdict.passed()) {
            self.seconds.insert(cell.id.to_string(), (cell.elapsed.as_secs_f64() * 1e3).round() / 1e3);
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let fresh = folder.join(format!(".harness-history.{}", std::process::id()));
        fs::write(&fresh, serde_json::to_vec_pretty(&self.seconds)?)?;
        fs::rename(&fresh, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/history.json");
        assert_eq!(History::read(&file), History::default());
        let mut history = History::default();
        history.seconds.insert("x/problem".into(), 1.5);
        history.write(&file).unwrap();
        assert_eq!(History::read(&file).of("x/problem"), Some(Duration::from_millis(1500)));
        fs::write(&file, "{").unwrap();
        assert_eq!(History::read(&file), History::default());
    }
}
