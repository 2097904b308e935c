//! `confgen init`.

mod text;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, Format};
use crate::httpd::Account;
use crate::project::{self, Candidate, MADE, Project, Serve, Venv};
use crate::spec::Draft;

/// The name of the spec.
const SPEC: &str = "confgen.yaml";

/// The name of the script that some applications need.
const SCRIPT: &str = "app.wsgi";

/// What is looked for, for a folder that has nothing of it.
const LOOKED_FOR: &str = "looked for: Django (manage.py, wsgi.py), Flask (`Flask(…)` or `create_app`), Pyramid (an .ini file with `[app:main]`, or \
    `make_wsgi_app()`), Falcon (`falcon.App()`), Bottle (`bottle.default_app()`, `Bottle()`), and modules or .wsgi scripts that define \
    `application`";

/// Write a spec for the application in a folder. Sources are read as text; nothing of the application is executed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  confgen init /srv/shop\n  confgen start /srv/shop/confgen.yaml")]
pub(super) struct Init {
    /// The folder of the project. Default: the current one.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Overwrite a spec, and a script that goes with it, that are there already.
    #[arg(long)]
    force: bool,
    /// Print the spec and write nothing.
    #[arg(long)]
    stdout: bool,
}

/// The files that are written.
struct Files {
    spec: String,
    script: Option<String>,
}

impl Init {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let root =
            std::path::absolute(&self.directory).map_err(|error| Failure::io("find", &self.directory, &error))?;
        let root = root.canonicalize().map_err(|error| unreadable(&root, &error))?;
        let activated = context.environment.get("VIRTUAL_ENV").filter(|venv| !venv.is_empty());
        let found = project::look_into(&root, activated).map_err(|error| unreadable(&root, &error))?;
        let Some(best) = found.candidates.first() else { return Err(nothing(&root, &found)) };
        let files = files(&root, &found, best)?;
        let written = if self.stdout { Vec::new() } else { self.write(&root, &files)? };
        if context.json {
            context.print_json(&answer(&root, &found, best, &files, &written, self.stdout));
            return Ok(Exit::Ok);
        }
        if self.stdout {
            context.print(&text::with_script(&files.spec, files.script.as_deref()));
        } else {
            context.print(&report(&root, &found, best, &written, &self.directory));
        }
        for note in notes(&found) {
            context.note(&format!("note: {note}"));
        }
        Ok(Exit::Ok)
    }

    /// Writes the files, or none when one is there that would be lost.
    fn write(&self, root: &Path, files: &Files) -> Result<Vec<&'static str>, Failure> {
        let script = files.script.as_deref().map(|text| (SCRIPT, text));
        // The spec comes last: one that is there has its script.
        let wanted: Vec<(&'static str, &str)> = script.into_iter().chain([(SPEC, files.spec.as_str())]).collect();
        let in_the_way = wanted.iter().filter(|(name, text)| !self.force && is_lost(&root.join(name), text));
        let diagnostics: Vec<_> = in_the_way.map(|(name, _)| exists(&root.join(name))).collect();
        if !diagnostics.is_empty() {
            return Err(Failure { exit: Exit::Spec, diagnostics });
        }
        let mut written = Vec::new();
        for (name, text) in wanted {
            let path = root.join(name);
            let failed = |error: &std::io::Error| Failure::io("write", &path, error);
            let replaces = self.force || path.exists();
            match put(root, &path, text, replaces) {
                Ok(()) => written.push(name),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(Failure::new(Exit::Spec, exists(&path)));
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(written)
    }
}

/// Whether a file holds something else than what would be written, or than confgen wrote.
fn is_lost(path: &Path, text: &str) -> bool {
    match fs::symlink_metadata(path) {
        Err(_) => false,
        Ok(metadata) if !metadata.is_file() => true,
        Ok(_) => !fs::read_to_string(path).is_ok_and(|before| before == text || before.starts_with(MADE)),
    }
}

/// Puts a file in place, all of it or nothing. It belongs to whom the folder belongs to, also when root writes it.
fn put(folder: &Path, path: &Path, text: &str, replaces: bool) -> std::io::Result<()> {
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    let owner = fs::metadata(folder)?;
    if Account::current().is_root() && owner.uid() != 0 {
        std::os::unix::fs::fchown(fresh.as_file(), Some(owner.uid()), Some(owner.gid()))?;
    }
    fresh.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    fresh.as_file().sync_all()?;
    let kept = if replaces { fresh.persist(path) } else { fresh.persist_noclobber(path) };
    kept.map(drop).map_err(|error| error.error)
}

fn exists(path: &Path) -> Diagnostic {
    Diagnostic::error(Code::Exists, format!("{} exists", path.display()))
        .help("overwrite it with `--force`, or print the spec with `--stdout`")
}

fn unreadable(root: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::io("look into", root, error);
    let help = match error.kind() {
        std::io::ErrorKind::NotADirectory => "name the folder of the project, not a file in it",
        std::io::ErrorKind::PermissionDenied => "run confgen as a user who may read the folder",
        _ => return failure,
    };
    Failure {
        diagnostics: failure.diagnostics.into_iter().map(|diagnostic| diagnostic.help(help)).collect(),
        ..failure
    }
}

fn nothing(root: &Path, found: &Project) -> Failure {
    let message = format!("found no WSGI application in {}", root.display());
    let mut diagnostic = Diagnostic::error(Code::NoApplication, message).note(LOOKED_FOR);
    for note in notes(found) {
        diagnostic = diagnostic.note(note);
    }
    let help = "name the folder of the project: `confgen init DIR`; or serve a script: `confgen start SCRIPT`";
    Failure::new(Exit::Spec, diagnostic.help(help))
}

/// The files for the best application. The spec is read as `start` would read it, so that a name that does not fit is an error now.
fn files(root: &Path, found: &Project, best: &Candidate) -> Result<Files, Failure> {
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = super::start::instance_name(&folder);
    let spec = text::spec(&text::Wanted { name: &name, user: owner(root), found, best });
    let document =
        Document::parse(SPEC, spec.as_str(), Format::Yaml).map_err(|error| Failure::new(Exit::Spec, error.into()))?;
    let root = crate::spec::relative::resolved(document.root, |_| Some(root.to_owned()));
    let draft = Draft::new(root);
    if !draft.errors.is_empty() {
        return Err(Failure { exit: Exit::Spec, diagnostics: draft.errors });
    }
    let script = match &best.serve {
        Serve::Made(text) => Some(text.clone()),
        Serve::Module(_) | Serve::Script { .. } => None,
    };
    Ok(Files { spec, script })
}

/// The user whose project it is, when root asks: the web server's own user may not be able to read it.
fn owner(root: &Path) -> Option<String> {
    if !Account::current().is_root() {
        return None;
    }
    let account = Account::by_id(fs::metadata(root).ok()?.uid()).ok()?;
    (!account.is_root()).then_some(account.name)
}

fn notes(found: &Project) -> Vec<String> {
    let mut notes = Vec::new();
    let others: Vec<_> =
        found.candidates.iter().skip(1).map(|other| format!("`{}` in {}", other.name, other.file)).collect();
    if !others.is_empty() {
        let shown = others.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if others.len() > 5 { format!(" and {} more", others.len() - 5) } else { String::new() };
        notes.push(format!("other applications were found: {shown}{more}"));
    }
    for (path, reason) in found.unreadable.iter().take(5) {
        notes.push(format!("cannot read {}: {reason}", path.display()));
    }
    notes.extend(found.notes.iter().cloned());
    notes
}

fn venv(found: &Project) -> Option<&str> {
    found.venv.as_ref().map(|venv| match venv {
        Venv::Inside(path) | Venv::Activated(path) => path.as_str(),
    })
}

fn report(root: &Path, found: &Project, best: &Candidate, written: &[&str], given: &Path) -> String {
    let mut text = format!("found     {}\n", best.title());
    if let Some(venv) = venv(found) {
        text += &format!("found     the virtual environment {venv}\n");
    }
    for folder in found.statics.iter().filter(|folder| folder.certain) {
        text += &format!("found     the static files in {}, for {}\n", folder.folder, folder.url);
    }
    for name in written {
        let what = if *name == SCRIPT { ", which makes the application" } else { "" };
        text += &format!("wrote     {}{what}\n", root.join(name).display());
    }
    let spec = if given == Path::new(".") { PathBuf::from(SPEC) } else { given.join(SPEC) };
    text + &format!("to serve it: confgen start {}\n", word(&spec.display().to_string()))
}

/// A path as one word of the shell.
fn word(path: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-._/+,:@%=".contains(letter);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn answer(
    root: &Path,
    found: &Project,
    best: &Candidate,
    files: &Files,
    written: &[&str],
    printed: bool,
) -> serde_json::Value {
    let described = |candidate: &Candidate| json!({"framework": candidate.framework.to_string(), "name": candidate.name, "file": candidate.file});
    let statics = found.statics.iter().filter(|folder| folder.certain);
    let mut answer = json!({
        "directory": root,
        "application": described(best),
        "others": found.candidates.iter().skip(1).map(described).collect::<Vec<_>>(),
        "venv": venv(found),
        "static": statics.map(|folder| json!({"url": folder.url, "dir": folder.folder})).collect::<Vec<_>>(),
        "written": written.iter().map(|name| root.join(name)).collect::<Vec<_>>(),
        "notes": notes(found),
        "exit": 0,
    });
    if printed {
        answer["spec"] = files.spec.clone().into();
        answer["script"] = files.script.clone().into();
    }
    answer
}
