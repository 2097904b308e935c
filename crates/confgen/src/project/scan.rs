//! The source files of a folder, read as text. The walk is bounded in every direction: a project is small, and a folder that was
//! named by mistake may be a whole disk.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many folders a file may be below the root.
const DEEPEST: usize = 4;

/// The most entries of folders that are looked at.
const MOST_ENTRIES: usize = 20_000;

/// The most source files that are read.
const MOST_FILES: usize = 2_000;

/// The longest source file that is read, in bytes. Longer ones are data, not somebody's code.
const LONGEST_FILE: u64 = 512 * 1024;

/// Folders that hold no application of the project.
const PASSED_OVER: &[&str] = &[
    "__pycache__",
    "node_modules",
    "site-packages",
    "dist-packages",
    "build",
    "dist",
    "htmlcov",
    "migrations",
    "tests",
    "test",
    "docs",
    "templates",
    "locale",
    "media",
];

/// Names of folders with static files, the most certain first.
pub(super) const STATIC_FOLDERS: &[&str] = &["staticfiles", "static_root", "collected_static", "static"];

/// A source file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Its path below the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Python files, scripts and PasteDeploy files: the nearest to the root first, then by name.
    pub(super) files: Vec<SourceFile>,
    /// Folders with static files.
    pub(super) statics: Vec<String>,
    /// Folders and files that could not be read, with the reason.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// Symbolic links to folders; they may form a loop and are not followed.
    pub(super) links: Vec<String>,
    /// Whether a bound was reached.
    pub(super) cut_off: bool,
}

impl Scan {
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}

/// Looks into a folder.
///
/// # Errors
/// When the folder itself cannot be read.
pub(super) fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut entries = 0;
    let mut folders = VecDeque::from([(String::new(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        let listed = match list(&root.join(&folder), MOST_ENTRIES - entries) {
            Ok(listed) => listed,
            Err(error) if folder.is_empty() => return Err(error),
            Err(error) => {
                scan.unreadable.push((root.join(&folder), error.to_string()));
                continue;
            }
        };
        // A virtual environment is no part of the project, whatever it is called.
        if !folder.is_empty() && listed.names.iter().any(|name| name == "pyvenv.cfg") {
            continue;
        }
        entries += listed.names.len();
        scan.cut_off |= listed.cut_off;
        for name in listed.names {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let full = root.join(&path);
            let Ok(kind) = fs::symlink_metadata(&full).map(|metadata| metadata.file_type()) else { continue };
            if full.is_dir() {
                if name.starts_with('.') || PASSED_OVER.contains(&name.as_str()) {
                    continue;
                }
                if STATIC_FOLDERS.contains(&name.as_str()) {
                    scan.statics.push(path);
                } else if kind.is_symlink() {
                    scan.links.push(path);
                } else if depth < DEEPEST {
                    folders.push_back((path, depth + 1));
                }
            } else if is_source(&name) {
                if scan.files.len() == MOST_FILES {
                    scan.cut_off = true;
                    continue;
                }
                match read(&full) {
                    Ok(Some(text)) => scan.files.push(SourceFile { path, text }),
                    Ok(None) => {}
                    Err(error) => scan.unreadable.push((full, error.to_string())),
                }
            }
        }
    }
    Ok(scan)
}

fn is_source(name: &str) -> bool {
    let path = Path::new(name);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let test = name.starts_with("test_") || name.ends_with("_test.py");
    matches!(ending, Some("py" | "wsgi" | "ini")) && !test && !matches!(name, "conftest.py" | "setup.py")
}

struct Listed {
    /// Names that are text, sorted.
    names: Vec<String>,
    cut_off: bool,
}

fn list(folder: &Path, most: usize) -> io::Result<Listed> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if names.len() == most {
            return Ok(Listed { names: sorted(names), cut_off: true });
        }
        // A name with a line break in it could end a comment of what is written.
        names.extend(entry?.file_name().into_string().ok().filter(|name| !name.contains(char::is_control)));
    }
    Ok(Listed { names: sorted(names), cut_off: false })
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// The text of a file; nothing for one that is too long, or is a pipe or a device, which may never end.
fn read(path: &Path) -> io::Result<Option<String>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > LONGEST_FILE {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_sources_are_read_and_loops_end() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("app.py", "a");
        put("shop/views.py", "b");
        put("env/pyvenv.cfg", "");
        put("env/lib/app.py", "");
        put(".git/app.py", "");
        put("tests/app.py", "");
        put("test_app.py", "");
        put("shop/static/site.py", "");
        put("1/2/3/4/deep.py", "");
        put("1/2/3/4/5/too_deep.py", "");
        put("big.py", &"#".repeat(600_000));
        symlink("..", folder.path().join("shop/loop")).unwrap();
        put("line\nbreak.py", "");
        symlink("nowhere", folder.path().join("broken.py")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found = scan(folder.path()).unwrap();
        let paths: Vec<_> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["app.py", "shop/views.py", "1/2/3/4/deep.py"]);
        assert_eq!((found.statics, found.links), (vec!["shop/static".to_owned()], vec!["shop/loop".to_owned()]));
        assert_eq!(found.unreadable.len(), 1, "the link to nowhere");
        assert!(!found.cut_off);
        assert!(scan(&folder.path().join("none")).is_err());
    }
}
