//! The short form of a start: one application, no file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FsPath, PathBuf};

use serde_json::{Value as Json, json};

use super::{Start, Wanted, environment};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Node, Path, Segment, Source, Span, Value};
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

/// The command line as an error shows it, and the keys of the spec that its words became.
struct CommandLine {
    text: String,
    words: Vec<(std::ops::Range<usize>, Path)>,
}

impl CommandLine {
    fn new(before: &str) -> Self {
        Self { text: before.to_owned(), words: Vec::new() }
    }

    /// Adds an option, or none, with its value, from which the given keys come.
    fn add<const N: usize>(&mut self, option: &str, value: &str, keys: [&[&str]; N]) {
        for word in [option, value].iter().filter(|word| !word.is_empty()) {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
        let place = self.text.len() - value.len()..self.text.len();
        for key in keys {
            let path = key.iter().fold(Path::root(), |path, segment| path.join(*segment));
            self.words.push((place.clone(), path));
        }
    }

    /// The tree of a spec whose places are the words of the command line.
    fn tree(&self, spec: &Json) -> Node {
        let source = Source::new("the command line", &self.text);
        let mut root = Node::from_json(spec, &Span::whole(&source));
        for (range, path) in &self.words {
            place(&mut root, path.segments(), &Span::new(&source, range.clone()));
        }
        root
    }
}

/// Gives a value, and everything in it, a place.
fn place(node: &mut Node, path: &[Segment], span: &Span) {
    if path.is_empty() {
        node.span = span.clone();
    }
    match &mut node.value {
        Value::Map(map) => {
            for entry in &mut map.entries {
                match path {
                    [Segment::Key(key), rest @ ..] if *key == entry.key => {
                        if rest.is_empty() {
                            entry.key_span = span.clone();
                        }
                        place(&mut entry.value, rest, span);
                    }
                    [] => {
                        entry.key_span = span.clone();
                        place(&mut entry.value, &[], span);
                    }
                    _ => {}
                }
            }
        }
        Value::Seq(items) if path.is_empty() => items.iter_mut().for_each(|item| place(item, &[], span)),
        _ => {}
    }
}

/// The spec of one application, and its name.
pub(super) fn wanted(start: &Start, port: &HeldPort, context: &Context<'_>) -> Result<Wanted, Failure> {
    let given = start.application.as_deref().unwrap_or_default();
    let folder = std::env::current_dir()
        .map_err(|error| environment(Code::Io, format!("cannot find the working directory: {error}")))?;
    let application = find(given, &folder)?;
    let account = serving(start, &application, &folder)?;
    let activated =
        context.environment.get("VIRTUAL_ENV").filter(|venv| FsPath::new(venv).join("pyvenv.cfg").is_file());
    let activated = activated.filter(|_| start.venv.is_none());
    let mut line = CommandLine::new(&activated.map(|venv| format!("VIRTUAL_ENV={venv}")).unwrap_or_default());
    if let Some(venv) = activated {
        line.words.push(("VIRTUAL_ENV=".len().."VIRTUAL_ENV=".len() + venv.len(), Path::of(["runtime", "python"])));
    }
    line.add("confgen start", given, [&["sites", "main", "apps", "/"], &["daemons", "app"]]);
    let mut server = json!({
        "listen": {"http": port.addresses().iter().map(|address| std::net::SocketAddr::new(*address, port.port()).to_string()).collect::<Vec<_>>()},
        "log": {"to": "files", "access": "dev"},
    });
    if let Some(port) = start.port {
        line.add("--port", &port.to_string(), [&["server", "listen"]]);
    }
    let mut daemon = json!({"threads": start.threads.unwrap_or(THREADS), "home": folder.display().to_string()});
    if let Some(processes) = start.processes {
        daemon["processes"] = processes.into();
        line.add("--processes", &processes.to_string(), [&["daemons", "app", "processes"]]);
    }
    if let Some(account) = &account {
        server["user"] = account.name.clone().into();
        if let Some(user) = &start.user {
            line.add("--user", user, [&["server", "user"]]);
        }
    }
    let mut runtime = json!({});
    if start.debug {
        runtime["debug"] = json!({"debugger": true});
        line.add("", "--debug", [&["runtime", "debug"]]);
    }
    if let Some(module) = &start.module {
        runtime["module"] = module.clone().into();
        line.add("--module", module, [&["runtime", "module"]]);
    }
    if let Some(venv) = &start.venv {
        let absolute = std::path::absolute(venv).map_err(|error| Failure::io("use", venv, &error))?;
        runtime["python"] = json!({"venv": absolute.display().to_string()});
        line.add("--venv", &venv.display().to_string(), [&["runtime", "python"]]);
    } else if let Some(venv) = activated {
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
    let mut draft = Draft::new(line.tree(&spec));
    if !draft.errors.is_empty() {
        return Err(Failure { exit: Exit::Spec, diagnostics: std::mem::take(&mut draft.errors) });
    }
    let name = start.name.clone().unwrap_or_else(|| instance_name(&name.unwrap_or_default()));
    Ok(Wanted { draft, name, serves: given.to_owned(), short: true })
}

/// A name for the registry out of a file's or a module's.
pub(in crate::cli) fn instance_name(stem: &str) -> String {
    let name: String = stem
        .chars()
        .map(
            |character| {
                if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') { character } else { '-' }
            },
        )
        .take(64)
        .collect();
    // A name begins with a letter, a digit or `_`; that of a hidden folder began with a dot.
    match name.trim_start_matches('-') {
        "" => "main".to_owned(),
        name => name.to_owned(),
    }
}

/// What an argument names. A file that exists is a script; otherwise a colon tells a module from a script that is not there.
fn find(given: &str, folder: &FsPath) -> Result<Application, Failure> {
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
    if let Some(reference) = module_of(given, folder) {
        let help = format!(
            "a module is named as Python imports it, from the folder that it is in: `confgen start {reference}`"
        );
        return Err(wrong(format!("`{given}` is neither a file nor a module"), &help));
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

/// What was meant by a file of a module with a callable, such as `./shop.py:app`.
fn module_of(given: &str, folder: &FsPath) -> Option<String> {
    let (file, callable) = given.rsplit_once(':')?;
    let callable = if callable.is_empty() { "application" } else { callable };
    if !folder.join(file).is_file() {
        return None;
    }
    let relative = FsPath::new(file);
    let relative = relative.strip_prefix(folder).or_else(|_| relative.strip_prefix(".")).unwrap_or(relative);
    let name = relative.to_str()?.strip_suffix(".py")?.replace('/', ".");
    let plain = |part: &str| !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    name.split('.').all(plain).then(|| format!("{name}:{callable}"))
}

/// The file of a module below the working directory.
fn module_file(module: &str, folder: &FsPath) -> Option<PathBuf> {
    let base = folder.join(module.replace('.', "/"));
    [base.with_extension("py"), base.join("__init__.py")].into_iter().find(|path| path.is_file())
}

/// Who serves, when root starts: the named user, or the owner of the application, but never root.
fn serving(start: &Start, application: &Application, folder: &FsPath) -> Result<Option<Account>, Failure> {
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
        fs::write(folder.path().join("shop/views.py"), "").unwrap();
        for meant in ["./shop/views.py:app", "shop/views.py:app"] {
            let failure = find(meant, folder.path()).err().unwrap();
            assert!(failure.diagnostics[0].help[0].contains("`confgen start shop.views:app`"), "{failure:?}");
        }
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
