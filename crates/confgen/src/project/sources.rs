//! The Python sources of a project, and the applications that they define.

use std::collections::BTreeMap;

use super::python::{Definition, Level, Module, What, is_name};
use super::scan::{Scan, SourceFile};
use super::{Candidate, Framework, MADE, Serve, join, parent};

/// What makes an application, and of which framework.
const MAKERS: &[(&str, Framework)] = &[
    ("flask.Flask", Framework::Flask),
    ("flask.app.Flask", Framework::Flask),
    ("apiflask.APIFlask", Framework::Flask),
    ("flask_openapi3.OpenAPI", Framework::Flask),
    ("falcon.App", Framework::Falcon),
    ("falcon.API", Framework::Falcon),
    ("bottle.Bottle", Framework::Bottle),
    ("bottle.default_app", Framework::Bottle),
    ("bottle.app", Framework::Bottle),
    ("django.core.wsgi.get_wsgi_application", Framework::Django),
    ("pyramid.paster.get_app", Framework::Pyramid),
    ("paste.deploy.loadapp", Framework::PasteDeploy),
];

/// What makes an ASGI application, which mod_wsgi does not serve.
const ASGI: &[(&str, &str)] = &[
    ("fastapi.FastAPI", "FastAPI"),
    ("starlette.applications.Starlette", "Starlette"),
    ("quart.Quart", "Quart"),
    ("sanic.Sanic", "Sanic"),
    ("falcon.asgi.App", "Falcon"),
    ("aiohttp.web.Application", "aiohttp"),
    ("django.core.asgi.get_asgi_application", "Django"),
];

/// Packages of frameworks.
const PACKAGES: &[(&str, Framework)] = &[
    ("flask", Framework::Flask),
    ("pyramid", Framework::Pyramid),
    ("falcon", Framework::Falcon),
    ("bottle", Framework::Bottle),
    ("django", Framework::Django),
];

/// Names of functions that make an application.
const FACTORIES: &[&str] =
    &["create_app", "make_app", "build_app", "create_application", "make_application", "create_wsgi_app"];

/// Names that applications usually have, the most usual first.
const USUAL: &[&str] = &["application", "app", "wsgi_app", "wsgi", "api"];

/// Names of modules that are made to be served.
const ENTRIES: &[&str] = &["wsgi", "passenger_wsgi", "wsgi_app"];

/// Names of modules that an application is usually in.
const PLACES: &[&str] = &["app", "application", "main", "server", "run", "index", "api", "__init__"];

/// Folders whose applications are there to be looked at.
const EXAMPLES: &[&str] =
    &["examples", "example", "samples", "sample", "demo", "demos", "contrib", "vendor", "scripts"];

/// What is added to the rank of an application in such a folder.
const FAR: u8 = 20;

const SCRIPT: u8 = 0;
const ENTRY: u8 = 2;
const INSTANCE: u8 = 4;
const ELSEWHERE: u8 = 5;
const FACTORY: u8 = 6;
const PLAIN: u8 = 7;

/// A file that was read.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) module: Module,
}

/// All files of a project.
pub(super) struct Sources<'a> {
    pub(super) scan: &'a Scan,
    pub(super) all: Vec<Source<'a>>,
}

/// An application that a file defines.
struct Found {
    name: String,
    framework: Framework,
    /// The parameters, if it is a function that makes the application.
    factory: Option<Vec<String>>,
    plain: bool,
}

impl<'a> Sources<'a> {
    pub(super) fn new(scan: &'a Scan) -> Self {
        let is_python = |file: &&SourceFile| !file.path.ends_with(".ini") && !file.text.starts_with(MADE);
        let read =
            |file: &'a SourceFile| Source { path: &file.path, text: &file.text, module: Module::read(&file.text) };
        Self { scan, all: scan.files.iter().filter(is_python).map(read).collect() }
    }

    /// Where a file's module is imported from, and its name there: the packages around it are part of the name. Nothing for a
    /// file whose name is no name of Python.
    pub(super) fn module_of(&self, path: &str) -> Option<(String, String)> {
        let stem = path.strip_suffix(".py")?;
        let (mut folder, mut parts) = (parent(path), vec![stem.rsplit('/').next().unwrap_or(stem)]);
        if parts[0] == "__init__" {
            parts.clear();
            parts.push(folder.rsplit('/').next().unwrap_or(folder));
            folder = parent(folder);
        }
        while !folder.is_empty() && self.scan.has(&join(folder, "__init__.py")) {
            parts.push(folder.rsplit('/').next().unwrap_or(folder));
            folder = parent(folder);
        }
        parts.reverse();
        parts.iter().all(|part| is_name(part)).then(|| (folder.to_owned(), parts.join(".")))
    }

    /// The framework that most likely made an application of which only the maker's name is known.
    fn used(&self, module: &Module) -> Framework {
        let in_module = PACKAGES.iter().find(|(package, _)| module.imports_from(package));
        let anywhere =
            || PACKAGES.iter().find(|(package, _)| self.all.iter().any(|source| source.module.imports_from(package)));
        in_module.or_else(anywhere).map_or(Framework::Wsgi, |(_, framework)| *framework)
    }

    /// Applications that modules and scripts define.
    pub(super) fn candidates(&self, notes: &mut Vec<String>) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let (mut asgi, mut main, mut needy) = (Vec::new(), Vec::new(), Vec::new());
        for source in &self.all {
            let found = self.found(source, &mut asgi, &mut main);
            let is_script = source.path.ends_with(".wsgi");
            let instances = found
                .iter()
                .filter(|found| found.factory.is_none() && (!is_script || found.name == "application" || !found.plain));
            let best = instances.min_by_key(|found| {
                (found.plain, USUAL.iter().position(|usual| *usual == found.name).unwrap_or(USUAL.len()))
            });
            if let Some(best) = best {
                candidates.extend(self.instance(source, best));
                continue;
            }
            for factory in found.iter().filter(|found| found.factory.is_some()) {
                let needed: Vec<_> = factory.factory.iter().flatten().filter(|part| is_needed(part)).cloned().collect();
                match needed.is_empty() || factory.framework == Framework::Pyramid {
                    true => candidates.extend(self.made(source, factory)),
                    false => needy.push(format!("`{}({})` in {}", factory.name, needed.join(", "), source.path)),
                }
            }
        }
        notes.extend(asgi);
        notes.extend(main);
        if !needy.is_empty() {
            notes.push(format!(
                "a function that makes an application needs arguments that only you know: {}; call it in a script of your own",
                super::few(&needy)
            ));
        }
        candidates
    }

    fn found(&self, source: &Source<'_>, asgi: &mut Vec<String>, main: &mut Vec<String>) -> Vec<Found> {
        let module = &source.module;
        let mut made: BTreeMap<&str, Framework> = BTreeMap::new();
        let mut classes: BTreeMap<&str, &str> = BTreeMap::new();
        let mut found: Vec<Found> = Vec::new();
        for definition in &module.definitions {
            let name = definition.name.as_str();
            let maker = |called: &str| {
                let called = classes.get(called).copied().unwrap_or(called);
                MAKERS.iter().find(|(maker, _)| *maker == called).map(|(_, framework)| *framework)
            };
            let framework = match &definition.what {
                What::Call(called, whole) => {
                    let full = classes.get(called.as_str()).copied().unwrap_or(called);
                    if let Some((_, framework)) = ASGI.iter().find(|(maker, _)| *maker == full) {
                        asgi.push(format!(
                            "`{name}` in {} is an ASGI application ({framework}); Apache with this module serves WSGI applications",
                            source.path
                        ));
                        continue;
                    }
                    let last = called.rsplit('.').next().unwrap_or(called);
                    let pyramid = whole.ends_with(".make_wsgi_app()").then_some(Framework::Pyramid);
                    let factory = FACTORIES.contains(&last).then(|| self.used(module));
                    maker(called).or(pyramid).or(factory)
                }
                What::Name(full) => made.get(full.as_str()).copied(),
                What::Class(bases) => {
                    if let Some(base) = bases.iter().find(|base| MAKERS.iter().any(|(maker, _)| maker == base)) {
                        classes.insert(name, base);
                    }
                    None
                }
                What::Function(_) | What::Other => None,
            };
            if let Some(framework) = framework {
                match definition.level {
                    Level::Module => drop(made.insert(name, framework)),
                    Level::Main => main.push(format!(
                        "`{name}` in {} exists only when the file is run as a program (`if __name__ == \"__main__\"`): make it at the level of the module",
                        source.path
                    )),
                    Level::Inner => {}
                }
            }
            if definition.level == Level::Module {
                found.extend(self.of_definition(source, definition, framework));
            }
        }
        found
    }

    fn of_definition(
        &self,
        source: &Source<'_>,
        definition: &Definition,
        framework: Option<Framework>,
    ) -> Option<Found> {
        let name = definition.name.clone();
        if let Some(framework) = framework {
            return Some(Found { name, framework, factory: None, plain: false });
        }
        match &definition.what {
            What::Function(parameters) if is_wsgi(parameters) => {
                Some(Found { name, framework: Framework::Wsgi, factory: None, plain: true })
            }
            What::Function(parameters) if FACTORIES.contains(&name.as_str()) => {
                let framework = self.used(&source.module);
                Some(Found { name, framework, factory: Some(parameters.clone()), plain: false })
            }
            // What PasteDeploy calls, of a project made from one of Pyramid's templates.
            What::Function(parameters)
                if name == "main"
                    && parameters.first().is_some_and(|first| first.starts_with("global_conf"))
                    && source.text.contains("make_wsgi_app(") =>
            {
                let parameters = parameters.clone();
                Some(Found { name, framework: Framework::Pyramid, factory: Some(parameters), plain: false })
            }
            What::Other => None,
            _ if name == "application" => {
                let framework =
                    if source.path.ends_with(".wsgi") { self.used(&source.module) } else { Framework::Wsgi };
                Some(Found { name, framework, factory: None, plain: true })
            }
            _ => None,
        }
    }

    fn rank(source: &Source<'_>, usual: u8) -> u8 {
        let far = source.path.split('/').any(|part| EXAMPLES.contains(&part));
        if far { usual + FAR } else { usual }
    }

    fn instance(&self, source: &Source<'_>, found: &Found) -> Option<Candidate> {
        let stem = source.path.rsplit('/').next()?.rsplit_once('.')?.0;
        let script = || Serve::Script { path: source.path.to_owned(), callable: found.name.clone() };
        let is_script = source.path.ends_with(".wsgi");
        let (serve, base, name) = match self.module_of(source.path) {
            // The module of the folder itself has no name in it.
            None if stem == "__init__" => return None,
            Some((base, module)) => {
                let reference = format!("{module}:{}", found.name);
                (Serve::Module(reference.clone()), base, reference)
            }
            // A script for a server stands anywhere; what it imports is most likely found from the project's folder.
            None if is_script => (script(), String::new(), found.name.clone()),
            None => (script(), parent(source.path).to_owned(), found.name.clone()),
        };
        let usual = match () {
            () if is_script => SCRIPT,
            () if found.framework == Framework::Django => super::django::RANK,
            () if ENTRIES.contains(&stem) => ENTRY,
            () if found.plain => PLAIN,
            () if PLACES.contains(&stem) => INSTANCE,
            () => ELSEWHERE,
        };
        Some(Candidate {
            framework: found.framework,
            name,
            file: source.path.to_owned(),
            serve,
            home: home(&base),
            import_from: imported(&base),
            rank: Self::rank(source, usual),
        })
    }

    /// An application that a function makes: a script has to call it.
    fn made(&self, source: &Source<'_>, found: &Found) -> Option<Candidate> {
        let (base, module) = self.module_of(source.path)?;
        let arguments = if found.framework == Framework::Pyramid { "{}" } else { "" };
        let text = format!(
            "{MADE} It makes the application with `{name}` of {file}.\nfrom {module} import {name}\n\napplication = {name}({arguments})\n",
            name = found.name,
            file = source.path,
        );
        Some(Candidate {
            framework: found.framework,
            name: format!("{module}:{}", found.name),
            file: source.path.to_owned(),
            serve: Serve::Made(text),
            home: home(&base),
            import_from: imported(&base),
            rank: Self::rank(source, FACTORY),
        })
    }
}

/// The folder that an application runs in: the one that its modules are imported from, or the one around `src`.
pub(super) fn home(base: &str) -> String {
    match base.strip_suffix("src").filter(|around| around.is_empty() || around.ends_with('/')) {
        Some(around) => around.trim_end_matches('/').to_owned(),
        None => base.to_owned(),
    }
}

/// The folder that modules are imported from, if that is not the one that the application runs in.
pub(super) fn imported(base: &str) -> Option<String> {
    (home(base) != base).then(|| base.to_owned())
}

/// Whether a function takes what the server passes to an application.
fn is_wsgi(parameters: &[String]) -> bool {
    let [environ, start] = parameters else { return false };
    let bare = |part: &str| part.split(':').next().unwrap_or_default().trim().to_owned();
    matches!(bare(environ).as_str(), "environ" | "env") && bare(start).starts_with("start")
}

/// Whether a parameter has to be given.
fn is_needed(parameter: &str) -> bool {
    !parameter.contains('=') && !parameter.starts_with('*') && parameter != "/"
}
