//! Django projects: `manage.py`, the settings, and the module that has the application.

use regex_lite::Regex;

use super::python::{Level, What};
use super::sources::{Source, Sources};
use super::{Candidate, Framework, MADE, Serve, parent};

pub(super) const RANK: u8 = 1;

/// What makes Django's application.
const MAKER: &str = "django.core.wsgi.get_wsgi_application";

/// The applications of projects with a `manage.py`: the module that has it, else a script that asks Django for it.
pub(super) fn candidates(sources: &Sources<'_>) -> Vec<Candidate> {
    let managers = sources.all.iter().filter(|source| source.path.rsplit('/').next() == Some("manage.py"));
    managers.filter_map(|manager| candidate(sources, manager)).collect()
}

fn candidate(sources: &Sources<'_>, manager: &Source<'_>) -> Option<Candidate> {
    let base = parent(manager.path);
    let settings = settings(manager.text)?;
    let below = |path: &str| base.is_empty() || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
    let mut modules: Vec<_> = sources
        .all
        .iter()
        .filter(|source| below(source.path))
        .filter_map(|source| Some((source.path, module_below(base, source.path)?, application(source)?)))
        .collect();
    // The one beside the settings is the project's own.
    let package = settings.split('.').next().unwrap_or_default();
    modules.sort_by_key(|(path, module, _)| (module.split('.').next() != Some(package), path.len()));
    let (file, name, serve) = match modules.first() {
        Some((path, module, callable)) => {
            let reference = format!("{module}:{callable}");
            ((*path).to_owned(), reference.clone(), Serve::Module(reference))
        }
        None => {
            let text = format!(
                "{MADE} It asks Django for the application, as `wsgi.py` of a new project does.\nimport os\n\nfrom django.core.wsgi import get_wsgi_application\n\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"{settings}\")\napplication = get_wsgi_application()\n"
            );
            (manager.path.to_owned(), settings, Serve::Made(text))
        }
    };
    Some(Candidate {
        framework: Framework::Django,
        name,
        file,
        serve,
        home: base.to_owned(),
        import_from: None,
        rank: RANK,
    })
}

/// The module of the settings that `manage.py` names.
fn settings(text: &str) -> Option<String> {
    let pattern = Regex::new(r#"DJANGO_SETTINGS_MODULE["']\s*[,\]]\s*=?\s*["']([A-Za-z_][A-Za-z0-9_.]*)["']"#).ok()?;
    Some(pattern.captures(text)?.get(1)?.as_str().to_owned())
}

/// A module as it is imported from the folder of `manage.py`, where packages need no `__init__.py`.
fn module_below(base: &str, path: &str) -> Option<String> {
    let relative = path.strip_prefix(base)?.trim_start_matches('/').strip_suffix(".py")?;
    let name = relative.replace('/', ".");
    name.split('.').all(super::python::is_name).then_some(name)
}

/// The name of Django's application in a module.
fn application(source: &Source<'_>) -> Option<String> {
    let definitions = source.module.definitions.iter().filter(|definition| definition.level == Level::Module);
    let mut makes = definitions.filter(|definition| {
        matches!(&definition.what, What::Call(_, whole) if whole.contains("get_wsgi_application("))
            || matches!(&definition.what, What::Call(called, _) if called == MAKER)
    });
    makes.next().map(|definition| definition.name.clone())
}
