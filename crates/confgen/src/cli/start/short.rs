//! The short form of a start: one application, no file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{Start, Wanted, environment};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Document;
use crate::httpd::{Account, HeldPort};
use crate::render::files;
use crate::spec::Draft;

/// Threads of the daemon process, unless told otherwise.
const THREADS: u32 = 5;

/// What is served.
enum Application {
    /// A script.
    Script(PathBuf),
    /// A module with the application's name, and where it stands if it is a file below the working directory.
    Module(String, Option<PathBuf>),
}

/// The spec of one application, its name, and what the serving user has to reach.
pub(super) fn wanted(start: &Start, port: &HeldPort, context: &Context<'_>) -> Result<Wanted, Failure> {
    let given = start.application.as_deref().unwrap_or_default();
    let folder = std::env::current_dir()
        .map_err(|error| environment(Code::Io, format!("cannot find the working directory: {error}")))?;
    let application = find(given, &folder)?;
    let account = serving(start, &application, &folder)?;
    let mut server = json!({
        "listen": {"http": port.addresses().iter().map(|address| std::net::SocketAddr::new(*address, port.port()).to_string()).collect::<Vec<_>>()},
        "log": {"to": "files", "access": "dev"},
    });
    let mut daemon = json!({"threads": start.threads.unwrap_or(THREADS), "home": folder.display().to_string()});
    if let Some(processes) = start.processes {
        daemon["processes"] = processes.into();
    }
    if let Some(account) = &account {
        server["user"] = account.name.clone().into();
    }
    let mut runtime = json!({});
    if start.debug {
        runtime["debug"] = json!({"debugger": true});
    }
    if let Some(module) = &start.module {
        runtime["module"] = module.clone().into();
    }
    if let Some(venv) = &start.venv {
        let venv = std::path::absolute(venv).map_err(|error| Failure::io("use", venv, &error))?;
        runtime["python"] = json!({"venv": venv.display().to_string()});
    } else if let Some(venv) =
        context.environment.get("VIRTUAL_ENV").filter(|venv| Path::new(venv).join("pyvenv.cfg").is_file())
    {
        runtime["python"] = json!({"venv": venv});
    }
    let (app, name) = match &application {
        Application::Script(path) => (
            json!({"script": path.display().to_string(), "daemon": "app"}),
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        ),
        Application::Module(reference, _) => {
            (json!({"module": reference, "daemon": "app"}), reference.split([':', '.']).next().map(str::to_owned))
        }
    };
    let spec = json!({"server": server, "runtime": runtime, "daemons": {"app": daemon}, "sites": {"main": {"apps": {"/": app}}}});
    let draft = draft(&spec)?;
    let mut reach = Vec::new();
    if let Some(account) = account {
        reach.push((account.clone(), folder));
        match application {
            Application::Script(path) | Application::Module(_, Some(path)) => reach.push((account, path)),
            Application::Module(_, None) => {}
        }
    }
    let name = start.name.clone().unwrap_or_else(|| instance_name(&name.unwrap_or_default()));
    Ok(Wanted { draft, name, serves: given.to_owned(), reach, echo: true })
}

fn draft(spec: &Json) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Document::from_json("the command line", spec).root);
    let errors = std::mem::take(&mut draft.errors);
    if errors.is_empty() { Ok(draft) } else { Err(Failure { exit: Exit::Spec, diagnostics: errors }) }
}

/// A name for the registry out of a file's or a module's.
fn instance_name(stem: &str) -> String {
    let name: String = stem
        .chars()
        .map(
            |character| {
                if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') { character } else { '-' }
            },
        )
        .take(64)
        .collect();
    if name.is_empty() { "main".to_owned() } else { name }
}

/// What an argument names. A file that exists is a script; otherwise a colon tells a module from a script that is not there.
fn find(given: &str, folder: &Path) -> Result<Application, Failure> {
    let path = folder.join(given);
    let wrong = |message: String, help: &str| {
        Failure::new(Exit::Spec, Diagnostic::error(Code::MissingFile, message).help(help))
    };
    if path.is_file() {
        return Ok(Application::Script(path.canonicalize().map_err(|error| Failure::io("use", &path, &error))?));
    }
    if path.is_dir() {
        return Err(wrong(
            format!("{given} is a directory"),
            "name the WSGI script in it, or a `package.module:callable`",
        ));
    }
    if let Some((module, callable)) = given.split_once(':')
        && !module.contains('/')
        && !module.is_empty()
        && !callable.is_empty()
    {
        return Ok(Application::Module(given.to_owned(), module_file(module, folder)));
    }
    let message = format!("there is no file {}", path.display());
    Err(match files::neighbour(&path) {
        Some(near) => wrong(message, &format!("did you mean `{}`?", near.display())),
        None => {
            wrong(message, "name a WSGI script, or a module and the application in it as `package.module:callable`")
        }
    })
}

/// The file of a module below the working directory.
fn module_file(module: &str, folder: &Path) -> Option<PathBuf> {
    let base = folder.join(module.replace('.', "/"));
    [base.with_extension("py"), base.join("__init__.py")].into_iter().find(|path| path.is_file())
}

/// Who serves, when root starts: the named user, or the owner of the application, but never root.
fn serving(start: &Start, application: &Application, folder: &Path) -> Result<Option<Account>, Failure> {
    let current = Account::current();
    if !current.is_root() {
        return match &start.user {
            Some(user) if *user != current.name => {
                let diagnostic = Diagnostic::error(
                    Code::NeedsRoot,
                    format!("serving as {user} needs a start as root; this is {}", current.name),
                );
                Err(Failure::new(Exit::Environment, diagnostic.help("leave out `--user`, or start as root")))
            }
            _ => Ok(None),
        };
    }
    if let Some(user) = &start.user {
        let account = Account::by_name(user)
            .map_err(|error| Failure::new(Exit::Spec, Diagnostic::error(Code::UnknownUser, error.to_string())))?;
        if account.is_root() {
            return Err(as_root("--user names root"));
        }
        return Ok(Some(account));
    }
    let owned = match application {
        Application::Script(path) | Application::Module(_, Some(path)) => path.as_path(),
        Application::Module(_, None) => folder,
    };
    let owner = fs::metadata(owned).map_err(|error| Failure::io("read", owned, &error))?.uid();
    let account = if owner == 0 { None } else { Account::by_id(owner).ok() };
    match account.or_else(Account::of_web_server) {
        Some(account) => Ok(Some(account)),
        None => Err(as_root(&format!(
            "{} belongs to root, and there is none of the usual users of a web server",
            owned.display()
        ))),
    }
}

fn as_root(reason: &str) -> Failure {
    let diagnostic = Diagnostic::error(Code::ServesAsRoot, format!("requests would be served as root: {reason}"));
    Failure::new(Exit::Environment, diagnostic.help("name an unprivileged user with `--user`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_modules_and_slips() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app.wsgi"), "").unwrap();
        fs::create_dir(folder.path().join("shop")).unwrap();
        fs::write(folder.path().join("shop/__init__.py"), "").unwrap();
        assert!(matches!(find("app.wsgi", folder.path()), Ok(Application::Script(_))));
        assert!(
            matches!(find("shop:application", folder.path()), Ok(Application::Module(_, Some(path))) if path.ends_with("shop/__init__.py"))
        );
        assert!(matches!(find("elsewhere.wsgi:app", folder.path()), Ok(Application::Module(_, None))));
        for wrong in ["ap.wsgi", "shop", "a/b.wsgi:x", ":x", "x:"] {
            assert!(find(wrong, folder.path()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_for_the_registry() {
        assert_eq!(instance_name("my app.v2"), "my-app-v2");
        assert_eq!(instance_name(""), "main");
    }
}
