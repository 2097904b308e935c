//! What is kept of a failed cell (`--artifacts`).

use std::fs;
use std::path::{Path, PathBuf};

use super::arrange::{self, Rendered};
use super::outcome::CellOutcome;
use super::plan::Cell;
use super::stamp::Stamp;

/// The file of a bundle with what the kernel and a debugger say of the server's processes.
pub(crate) const NATIVE_STACKS: &str = "native-stacks.txt";

/// The largest file that is kept whole.
const LARGEST: u64 = 16 << 20;

/// Writes the bundle of a cell: scenario, merged spec, versions, outcome with all results; and, as far as its server was
/// rendered, configuration, environment, logs and application.
///
/// # Errors
/// Where the folder cannot be written.
pub(super) fn write(
    folder: &Path,
    cell: &Cell,
    outcome: &CellOutcome,
    stamp: &Stamp,
    rendered: Option<&Rendered>,
) -> std::io::Result<PathBuf> {
    let bundle = folder.join(name(&cell.id.to_string()));
    if bundle.exists() {
        fs::remove_dir_all(&bundle)?;
    }
    fs::create_dir_all(&bundle)?;
    copy(&cell.scenario.file, &bundle.join("scenario.yaml"))?;
    let spec = serde_json::to_vec_pretty(&cell.merged_server().to_json())?;
    fs::write(bundle.join("server.json"), spec)?;
    fs::write(bundle.join("versions.json"), serde_json::to_vec_pretty(stamp)?)?;
    fs::write(bundle.join("outcome.json"), serde_json::to_vec_pretty(outcome)?)?;
    let results: Vec<_> = outcome
        .steps
        .iter()
        .map(|step| serde_json::json!({"step": step.index, "id": step.id, "result": step.result}))
        .collect();
    fs::write(bundle.join("results.json"), serde_json::to_vec_pretty(&results)?)?;
    let native: String =
        outcome.failures.iter().flat_map(|failure| &failure.native).flat_map(|line| [line.as_str(), "\n"]).collect();
    if !native.is_empty() {
        fs::write(bundle.join(NATIVE_STACKS), native)?;
    }
    if let Some(rendered) = rendered {
        let environment = confgen::httpd::environment(&rendered.tree.environment, rendered.root.path());
        fs::write(bundle.join("environment.json"), serde_json::to_vec_pretty(&environment)?)?;
        for source in arrange::bundled(rendered.root.path()).into_iter().filter(|source| source.exists()) {
            copy(&source, &bundle.join(source.file_name().unwrap_or_default()))?;
        }
    }
    Ok(bundle)
}

/// The name of a cell as that of a folder.
fn name(id: &str) -> String {
    id.chars()
        .map(
            |character| {
                if character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '=') { character } else { '_' }
            },
        )
        .collect::<String>()
        .trim_end_matches('_')
        .to_owned()
}

/// Copies files and folders; sockets and the like are left out, and so are files too large to be of use.
fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    if metadata.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)?.flatten() {
            copy(&entry.path(), &target.join(entry.file_name()))?;
        }
    } else if metadata.is_file() && metadata.len() <= LARGEST {
        fs::copy(source, target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_names_for_folders() {
        assert_eq!(name("tz-last-wins/problem[mpm=event,module=ours]"), "tz-last-wins_problem_mpm=event_module=ours");
    }
}
