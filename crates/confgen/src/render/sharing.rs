//! Applications that share an interpreter because nobody chose one for them.

use super::builder::Builder;
use super::python;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{Interpreter, Name};

/// An application in the main interpreter of its processes.
struct Tenant<'a> {
    key: Path,
    daemon: Option<&'a Name>,
    /// Whether the spec names the interpreter.
    chosen: bool,
    /// What Python loads: a script, or a module without its callable.
    code: &'a str,
    /// The settings module that the code selects for Django.
    django: Option<String>,
}

/// Reports applications that share the default interpreter of a daemon, or of Apache's own processes.
pub(super) fn check(builder: &mut Builder<'_>) {
    // A spec for one process has no daemons any more; what counts is the one that it was made from.
    let spec = builder.original;
    let mut tenants: Vec<Tenant<'_>> = Vec::new();
    for (name, site) in &spec.sites {
        for (path, app) in &site.apps {
            let key = Path::of(["sites", name.as_str(), "apps", path.as_str()]);
            let code = match (&app.script, &app.module) {
                (Some(script), None) => script.as_str(),
                (None, Some(reference)) => reference.module(),
                _ => continue,
            };
            if app.interpreter != Interpreter::Main {
                continue;
            }
            let chosen = key.join("interpreter").find(&spec.root).is_some_and(|node| !node.is_null());
            let django = python::code_of(builder, app).as_deref().and_then(selected_settings);
            let tenant = Tenant { key, daemon: app.daemon.as_ref(), chosen, code, django };
            // One finding for each application that was not given an interpreter, against the first that it meets.
            let other = tenants.iter().find(|other| {
                other.daemon == tenant.daemon && other.code != tenant.code && !(other.chosen && tenant.chosen)
            });
            let clash = tenants.iter().find(|other| {
                other.daemon == tenant.daemon
                    && !(other.chosen && tenant.chosen)
                    && other.django.as_ref().zip(tenant.django.as_ref()).is_some_and(|(one, two)| one != two)
            });
            if let Some(other) = clash.or(other) {
                report(builder, &tenant, other);
            }
            tenants.push(tenant);
        }
    }
}

fn report(builder: &mut Builder<'_>, tenant: &Tenant<'_>, other: &Tenant<'_>) {
    let root = &builder.spec.root;
    let span = tenant.key.key_span(root);
    let first = other.key.key_span(root);
    let place = match tenant.daemon {
        Some(daemon) => format!("the daemon `{daemon}`"),
        None => "Apache's own processes".to_owned(),
    };
    let diagnostic = match (&tenant.django, &other.django) {
        (Some(settings), Some(others)) if settings != others => Diagnostic::error(
            Code::DjangoShared,
            format!(
                "two Django projects share the main interpreter of {place}: `{others}` and `{settings}` cannot both be its settings"
            ),
        )
        .note("Django reads its settings once per interpreter; whichever application loads first decides for both"),
        _ => Diagnostic::warning(
            Code::SharedInterpreter,
            format!("two applications share the main interpreter of {place}"),
        )
        .note("they share imported modules, os.environ and settings that frameworks keep once per interpreter"),
    };
    let cure = match tenant.daemon {
        Some(_) => "give each its own daemon",
        None => "give each a daemon",
    };
    builder.push(diagnostic.at(span, "shares it").at(first, "with this one").help(format!(
        "{cure}, or a name as its `interpreter`; `interpreter: main` on both says that sharing is meant"
    )));
}

/// The literal that follows the variable's name: `setdefault("DJANGO_SETTINGS_MODULE", "x")` or `environ["…"] = "x"`. The last one
/// that is no comment counts, as it does in Python.
fn selected_settings(text: &str) -> Option<String> {
    const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let (_, rest) = line.split_once(VARIABLE)?;
            let rest = rest.strip_prefix(['"', '\''])?.trim_start();
            let rest = rest.strip_prefix(']').map_or(rest, str::trim_start);
            let rest = rest.strip_prefix([',', '='])?.trim_start();
            let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
            let (value, _) = rest[1..].split_once(quote)?;
            Some(value.to_owned())
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::selected_settings;

    #[test]
    fn settings_in_both_usual_forms() {
        for (text, expected) in [
            ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'a.settings')", Some("a.settings")),
            ("import os\nos.environ[\"DJANGO_SETTINGS_MODULE\"] = \"b\"\n", Some("b")),
            ("#os.environ['DJANGO_SETTINGS_MODULE'] = 'a'", None),
            ("os.environ['DJANGO_SETTINGS_MODULE'] = NAME", None),
            ("print(os.environ['DJANGO_SETTINGS_MODULE'])", None),
        ] {
            assert_eq!(selected_settings(text).as_deref(), expected, "{text}");
        }
    }
}
