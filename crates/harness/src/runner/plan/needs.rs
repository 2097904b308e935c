//! Needs that are not met, with the reason.

use crate::runner::machine::{Machine, normalised};
use crate::scenario::schema::{Module, Needs, PythonTag};

/// Whether a version fits requirements such as `>=3.12` or `>=3.11, <3.13`.
///
/// # Errors
/// Where the text is no requirement.
pub(super) fn version_fits(requirement: &str, version: (u32, u32)) -> Result<bool, String> {
    let wrong = || format!("`{requirement}` is no version: write `>=3.12` or `>=3.11, <3.13`");
    let mut fits = true;
    for part in requirement.split(',') {
        let part = part.trim();
        let digits = part.find(|c: char| c.is_ascii_digit()).ok_or_else(wrong)?;
        let (operator, number) = part.split_at(digits);
        let (major, minor) = number.trim().split_once('.').ok_or_else(wrong)?;
        let wanted = (major.parse::<u32>().map_err(|_| wrong())?, minor.parse::<u32>().map_err(|_| wrong())?);
        fits &= match operator.trim() {
            ">=" => version >= wanted,
            "<=" => version <= wanted,
            ">" => version > wanted,
            "<" => version < wanted,
            "==" | "=" | "" => version == wanted,
            "!=" => version != wanted,
            _ => return Err(wrong()),
        };
    }
    Ok(fits)
}

/// Why a version of Python cannot run a cell that asks for it.
pub(super) fn engine_missing(wanted: Option<PythonTag>, module: Module, machine: &Machine) -> Option<String> {
    let wanted = wanted.filter(|wanted| *wanted != machine.python_tag())?;
    match module {
        Module::ModWsgi => Some(format!("C mod_wsgi is built for Python {}", machine.python_text())),
        Module::Ours if machine.engines.contains(&wanted.to_string()) => None,
        Module::Ours => Some(format!("there is no engine for Python {wanted}: run `make engine` with that Python")),
    }
}

/// The first need that the machine does not meet.
pub(super) fn unmet(needs: &Needs, python: PythonTag, machine: &Machine) -> Option<String> {
    for package in needs.python_package.as_slice() {
        if python != machine.python_tag() {
            return Some(format!(
                "the Python package {package} is installed for Python {} only",
                machine.python_text()
            ));
        }
        if !machine.packages.contains_key(&normalised(package)) {
            return Some(match &machine.venv {
                Some(venv) => format!("the Python package {package} is not installed in {}", venv.display()),
                None => format!("the Python package {package} is not installed: there is no environment (--venv)"),
            });
        }
    }
    if let Some(requirement) = &needs.python {
        match version_fits(requirement, python.version()) {
            Ok(true) => {}
            Ok(false) => return Some(format!("Python is {python}, not {requirement}")),
            Err(reason) => return Some(reason),
        }
    }
    for engine in needs.engine.as_slice() {
        if !machine.engines.contains(engine) {
            return Some(format!("there is no engine for Python {engine}: run `make engine` with that Python"));
        }
    }
    if needs.root && !machine.root {
        return Some("must run as root".to_owned());
    }
    if needs.non_root && machine.root {
        return Some("must run as an ordinary user".to_owned());
    }
    for module in needs.module.as_slice() {
        if module == "mod_wsgi" {
            if machine.peer.is_none() {
                return Some(NO_PEER.to_owned());
            }
        } else if !machine.modules.contains(module.trim_start_matches("mod_")) {
            return Some(format!("httpd has no module {module}"));
        }
    }
    for zone in needs.zoneinfo.as_slice() {
        if zone.split('/').any(|part| part == "..") || !machine.zoneinfo.join(zone).is_file() {
            return Some(format!("there is no time zone {zone} in {}", machine.zoneinfo.display()));
        }
    }
    for locale in needs.locale.as_slice() {
        if !machine.locales.iter().any(|known| same_locale(known, locale)) {
            return Some(format!("the locale {locale} is not installed"));
        }
    }
    for command in needs.command.as_slice() {
        if !machine.has_command(command) {
            return Some(format!("there is no program {command}"));
        }
    }
    match needs.cpus {
        Some(cpus) if cpus > machine.cpus => Some(format!("needs {cpus} processors, there are {}", machine.cpus)),
        _ => None,
    }
}

/// Why a cell of the C module is skipped.
pub(super) const NO_PEER: &str = "C mod_wsgi is not installed: run `make peer`";

/// Why cells whose server has `${venv}` are not run.
pub(super) const NO_VENV: &str = "there is no environment of Python packages: run `make setup`, or name one by --venv";

/// Names of locales are compared as the C library does: `C.UTF-8` is `C.utf8`.
fn same_locale(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace('-', "");
    plain(one) == plain(other)
}
