//! The file step.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use regex::Regex;

use super::Produced;
use super::stage::Stage;
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::{FileAction, FileStep};

/// How far a changed file's time is set beyond the old one: some that compare times only see whole seconds.
const STEP_OF_TIME: Duration = Duration::from_secs(1);

/// What an act on a file gave beside the change.
#[derive(Default)]
struct Done {
    text: Option<String>,
    replaced: Option<usize>,
}

/// Changes or reads a file.
pub(super) fn run(step: &FileStep, stage: &Stage) -> Produced {
    let actions = step.actions();
    let [(path, action)] = actions.as_slice() else {
        return Produced::failed(FailureKind::Step, "a file step needs exactly one act".to_owned());
    };
    let path = stage.path(path);
    let outcome = match action {
        Ok(action) => act(*action, &path, stage).map_err(|error| format!("{}: {error}", path.display())),
        Err(missing) => Err((*missing).to_owned()),
    };
    let (done, error) = match outcome {
        Ok(done) => (done, None),
        Err(error) => (Done::default(), Some(error)),
    };
    let metadata = fs::symlink_metadata(&path).ok();
    let mut produced = Produced::with([
        ("text", done.text.into()),
        ("exists", metadata.is_some().into()),
        ("size", metadata.map(|metadata| metadata.len()).into()),
        ("replaced", done.replaced.into()),
    ]);
    if let Some(error) = error {
        produced.fail(FailureKind::Step, error);
    }
    produced
}

fn act(action: FileAction<'_>, path: &Path, stage: &Stage) -> Result<Done, String> {
    let text = |error: std::io::Error| error.to_string();
    let before = modified(path);
    let mut done = Done::default();
    match action {
        FileAction::Touch => {
            if !path.exists() {
                create(path, "", stage).map_err(text)?;
            }
            return advance(path, before.or_else(|| modified(path))).map(|()| done).map_err(text);
        }
        FileAction::Write(content) => create(path, content, stage).map_err(text)?,
        FileAction::Append(content) => {
            fs::OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .map_err(text)?;
        }
        FileAction::Replace(pattern, replacement) => {
            let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
            let old = fs::read_to_string(path).map_err(text)?;
            let count = pattern.find_iter(&old).count();
            if count == 0 {
                return Err("nothing matches".to_owned());
            }
            done.replaced = Some(count);
            create(path, &pattern.replace_all(&old, replacement), stage).map_err(text)?;
        }
        FileAction::Chmod(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(text)?,
        FileAction::Remove if path.is_dir() => fs::remove_dir_all(path).map_err(text)?,
        FileAction::Remove => fs::remove_file(path).map_err(text)?,
        FileAction::Mkdir => {
            fs::create_dir_all(path).map_err(text)?;
            stage.hand_over(path, 0o755).map_err(text)?;
        }
        FileAction::Read => done.text = Some(String::from_utf8_lossy(&fs::read(path).map_err(text)?).into_owned()),
    }
    if matches!(action, FileAction::Write(_) | FileAction::Append(_) | FileAction::Replace(..)) && before.is_some() {
        advance(path, before).map_err(text)?;
    }
    Ok(done)
}

/// Writes a file whole: a reader sees the old text or the new one, and permissions stay as they were.
fn create(path: &Path, content: &str, stage: &Stage) -> std::io::Result<()> {
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, content)?;
    stage.hand_over(&new, mode)?;
    fs::rename(new, path)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Sets the time of change to now, or to a second after the old one if that is later.
fn advance(path: &Path, before: Option<SystemTime>) -> std::io::Result<()> {
    let now = SystemTime::now();
    let time = before.map_or(now, |before| now.max(before + STEP_OF_TIME));
    fs::File::open(path)?.set_modified(time)
}

impl From<Done> for Value {
    fn from(done: Done) -> Self {
        done.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_file_is_newer_by_a_whole_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "x").unwrap();
        let mut last = modified(&path).unwrap();
        for _ in 0..3 {
            advance(&path, Some(last)).unwrap();
            let now = modified(&path).unwrap();
            assert!(now >= last + STEP_OF_TIME);
            last = now;
        }
    }
}
