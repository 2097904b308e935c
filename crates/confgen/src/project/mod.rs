//! A project of Python code: which WSGI applications it has, and what else a spec for it has to say. All of it is read as text;
//! nothing of the project is executed.

mod django;
mod paste;
mod python;
mod scan;
mod sources;
mod statics;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use statics::StaticFolder;

/// The first line of scripts that confgen makes for a project; they are no applications of the project's own.
pub const MADE: &str = "# `confgen init` made this script.";

/// A web framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// Django.
    Django,
    /// Flask.
    Flask,
    /// Pyramid.
    Pyramid,
    /// Falcon.
    Falcon,
    /// Bottle.
    Bottle,
    /// Applications that a PasteDeploy file configures.
    PasteDeploy,
    /// No framework that is known.
    Wsgi,
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Django => "Django",
            Self::Flask => "Flask",
            Self::Pyramid => "Pyramid",
            Self::Falcon => "Falcon",
            Self::Bottle => "Bottle",
            Self::PasteDeploy => "PasteDeploy",
            Self::Wsgi => "WSGI",
        })
    }
}

/// How a spec names an application. Paths are below the project's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serve {
    /// `package.module:callable`.
    Module(String),
    /// A file with the name of the callable in it.
    Script {
        /// The file.
        path: String,
        /// The callable.
        callable: String,
    },
    /// A script that has to be made, with its text.
    Made(String),
}

/// An application of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it was made with.
    pub framework: Framework,
    /// What a person calls it, such as `shop:app`.
    pub name: String,
    /// The file that it was found in.
    pub file: String,
    /// How it is served.
    pub serve: Serve,
    /// The folder that it runs in, below the project's; empty for that folder itself.
    pub home: String,
    /// The folder that its modules are imported from, if it is another one.
    pub import_from: Option<String>,
    /// How likely it is meant; less is better.
    rank: u8,
}

impl Candidate {
    /// A few words that name it.
    pub fn title(&self) -> String {
        format!("the {} application `{}` in {}", self.framework, self.name, self.file)
    }
}

/// A virtual environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Venv {
    /// A folder of the project.
    Inside(String),
    /// The activated one.
    Activated(String),
}

/// What was found of a project.
#[derive(Debug, Default)]
pub struct Project {
    /// Its applications, the best first.
    pub candidates: Vec<Candidate>,
    /// Its virtual environment.
    pub venv: Option<Venv>,
    /// Folders with static files of the best application.
    pub statics: Vec<StaticFolder>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// Folders and files that could not be read, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Looks for the applications of a project. `activated` is the virtual environment of the caller's shell.
///
/// # Errors
/// When the folder cannot be read.
pub fn look_into(root: &Path, activated: Option<&str>) -> io::Result<Project> {
    let scan = scan::scan(root)?;
    let sources = sources::Sources::new(&scan);
    let mut notes = Vec::new();
    let mut candidates = django::candidates(&sources);
    candidates.extend(paste::candidates(&sources));
    let paste = candidates.iter().any(|candidate| candidate.rank == paste::RANK);
    let others = sources.candidates(&mut notes).into_iter().filter(|found| {
        // The function that a PasteDeploy file names is served by way of that file.
        let by_file = paste && matches!(found.serve, Serve::Made(_)) && found.framework == Framework::Pyramid;
        !by_file && !candidates.iter().any(|known| known.file == found.file)
    });
    let others: Vec<_> = others.collect();
    candidates.extend(others);
    candidates.sort_by_key(|found| (found.rank, found.file.matches('/').count(), found.file.clone()));
    if scan.cut_off {
        notes.push("the folder has more files than are looked at; name the folder of the project itself".to_owned());
    }
    if scan.has("__init__.py") {
        notes.push(
            "the folder is a package; its modules are imported from the folder around it: `confgen init ..` there"
                .to_owned(),
        );
    }
    if candidates.is_empty() && !scan.links.is_empty() {
        notes.push(format!("symbolic links to folders are not followed: {}", few(&scan.links)));
    }
    let best = candidates.first();
    let venv = venv(root, best.map_or("", |best| &best.home), activated);
    if let (Some(Venv::Inside(inside)), Some(activated)) = (&venv, activated)
        && root.join(inside).canonicalize().ok() != Path::new(activated).canonicalize().ok()
    {
        notes.push(format!("another virtual environment is activated: {activated}"));
    }
    let statics = best.map(|best| statics::of(best, &sources, &scan)).unwrap_or_default();
    Ok(Project { candidates, venv, statics, notes, unreadable: scan.unreadable })
}

/// The virtual environment in a folder of the project, or the activated one.
fn venv(root: &Path, home: &str, activated: Option<&str>) -> Option<Venv> {
    let is_venv = |path: &Path| path.join("pyvenv.cfg").is_file();
    let folders = [home, ""].into_iter().flat_map(|folder| [".venv", "venv", "env"].map(|name| join(folder, name)));
    let inside = folders.into_iter().find(|path| is_venv(&root.join(path))).map(Venv::Inside);
    inside.or_else(|| {
        let activated = activated.filter(|path| Path::new(path).is_absolute() && is_venv(Path::new(path)))?;
        Some(Venv::Activated(activated.to_owned()))
    })
}

/// A path below a folder, which is empty for the project's own.
fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

/// The folder of a file; empty for the project's own.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Some of many names, for a message.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}
