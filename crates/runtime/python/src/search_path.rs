//! `sys.path` of an interpreter.

use pyo3::Python;
use pyo3::ffi;
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, Raised, append, call, done, filesystem, find, from_sys, import, list, list_item, list_length,
    path_of, shown, size, type_name,
};

/// Applies `python-path`: each entry through `site.addsitedir`, so that its `.pth` files count, then everything that
/// was added moves to the front in the configured order. `home` stands before all of it.
pub(crate) fn extend(py: Python<'_>, interpreter: &Interpreter) -> Raise<()> {
    let setting = interpreter.setting;
    let scopes = setting.config.scopes.iter();
    let scoped =
        scopes.filter(|scope| scope.application_group.as_ref().is_none_or(|group| *group == interpreter.group));
    // One after the other, so that the entries of a more specific block stand before those of a less specific one.
    for entries in [&setting.config.path].into_iter().chain(scoped.map(|scope| &scope.path)) {
        if !entries.is_empty() {
            add_site_folders(py, interpreter, entries)?;
        }
    }
    if let Some(home) = &setting.config.working_directory {
        let path = from_sys(py, c"path")?;
        let home = filesystem(py, home)?;
        // SAFETY: alive, attached; the index is within the list.
        done(unsafe { ffi::PyList_Insert(path.as_ptr(), 0, home.as_ptr()) })?;
    }
    Ok(())
}

fn add_site_folders(py: Python<'_>, interpreter: &Interpreter, entries: &[Vec<u8>]) -> Raise<()> {
    let setting = interpreter.setting;
    let logged = |raised: Raised, code: &str, what: &str| {
        setting.log_attached(py, Level::Error, &format!("WSGI{code}: {what}"));
        if let Some(exception) = raised.take(py) {
            let message = format!("{}: {}", type_name(&exception), shown(&exception));
            setting.log_attached(py, Level::Error, &message);
        }
    };
    let site = match import(py, c"site") {
        Ok(site) => site,
        Err(raised) => {
            logged(raised, "0095", "Unable to import Python module 'site'; the module search path is not extended.");
            return Ok(());
        }
    };
    let add = match find(&site, c"addsitedir") {
        Ok(Some(add)) => add,
        Ok(None) | Err(_) => {
            logged(Raised, "0094", "Unable to locate 'site.addsitedir'; the module search path is not extended.");
            return Ok(());
        }
    };
    let path = from_sys(py, c"path")?;
    let before = items(&path);
    for entry in entries {
        let shown = String::from_utf8_lossy(entry);
        let process = &setting.phrases.process;
        setting.log_attached(py, Level::Info, &format!("Adding '{shown}' to Python module search path for {process}."));
        let folder = filesystem(py, entry)?;
        if let Err(raised) = call(&add, &[&folder]) {
            logged(raised, "0091", &format!("Call to 'site.addsitedir()' failed for '{shown}'."));
            break;
        }
    }
    // `site` appends; what it appended goes to the front. A folder that was there before moves as well when it is one of
    // the entries themselves.
    let mut added = Vec::new();
    let mut kept = Vec::new();
    for item in items(&path) {
        let bytes = path_of(&item).unwrap_or_default();
        let listed = before.iter().any(|old| path_of(old).unwrap_or_default() == bytes);
        let own = entries.iter().any(|entry| **entry == bytes);
        if own || !listed { added.push(item) } else { kept.push(item) }
    }
    let reordered = list(py)?;
    for item in added.iter().chain(&kept) {
        append(&reordered, item)?;
    }
    // SAFETY: alive, attached; replaces the list's whole content.
    done(unsafe { ffi::PyList_SetSlice(path.as_ptr(), 0, size(list_length(&path)), reordered.as_ptr()) })
}

fn items<'py>(list: &Object<'py>) -> Vec<Object<'py>> {
    let item = |index| list_item(list, index).map_err(|raised| raised.forget(list.py())).ok();
    (0..list_length(list)).filter_map(item).collect()
}
