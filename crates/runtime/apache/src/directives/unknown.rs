//! Directives that do not exist: those of older versions of mod_wsgi, and misspelt names. httpd says no more of them
//! than that nobody knows them.

use crate::directives::table::DIRECTIVES;
use crate::directives::words::nearest;

/// Directives of older versions of mod_wsgi, and what to do without them.
pub(crate) static REMOVED: &[(&str, &str)] = &[
    (
        "WSGILazyInitialization",
        "Delete the line: Python is always started in the processes that serve, never in the parent.",
    ),
    (
        "WSGIReloadMechanism",
        "Delete the line: WSGIScriptReloading says whether changed scripts are loaded again; in daemon mode the process \
         is replaced.",
    ),
    (
        "WSGIOutputBuffering",
        "Delete the line: each block of a response is sent as it comes. Applications that want one piece return a list.",
    ),
    (
        "WSGIPythonExecutable",
        "Name the virtual environment or the installation with WSGIPythonHome, or with python-home= of WSGIDaemonProcess.",
    ),
    ("WSGIPy3kWarningFlag", "Delete the line: it was an option of Python 2."),
    ("WSGIUserAuthoritative", "Delete the line, or use AuthBasicAuthoritative of mod_auth_basic."),
    (
        "WSGINewRelicConfigFile",
        "Delete the line, and start the agent in the script: newrelic.agent.initialize('/path/newrelic.ini').",
    ),
    (
        "WSGINewRelicEnvironment",
        "Delete the line, and start the agent in the script: newrelic.agent.initialize('/path/newrelic.ini', 'environment').",
    ),
];

/// Names of other modules' directives may be as near as this to ours, and no nearer.
const MISTYPED_PREFIX: usize = 2;

/// What is said of a directive that nobody has; `None` when it has nothing to do with this module.
pub(crate) fn refusal(given: &str) -> Option<String> {
    let is_given = |name: &str| name.eq_ignore_ascii_case(given);
    if DIRECTIVES.iter().any(|row| row.name.to_str().is_ok_and(is_given)) {
        return None;
    }
    if let Some((name, advice)) = REMOVED.iter().find(|(name, _)| is_given(name)) {
        return Some(format!("Invalid command '{given}': mod_wsgi has removed {name}. {advice}"));
    }
    let meant = meant(given)?;
    Some(format!("Invalid command '{given}'. Did you mean '{meant}'?"))
}

/// The directive that a misspelt name stands for.
fn meant(given: &str) -> Option<&'static str> {
    let folded = given.to_ascii_lowercase();
    let names = DIRECTIVES.iter().filter_map(|row| row.name.to_str().ok());
    let known: Vec<(String, &str)> = names.map(|name| (name.to_ascii_lowercase(), name)).collect();
    let near = nearest(&folded, known.iter().map(|(folded, _)| folded.as_str()))
        .filter(|near| folded.starts_with("wsgi") || strsim::damerau_levenshtein(&folded, near) <= MISTYPED_PREFIX);
    // Shortened, such as WSGIPassAuth; "WSGI" alone says nothing.
    let longer = || {
        let mut longer = known.iter().filter(|(name, _)| name.starts_with(&folded) && folded.len() > 6);
        longer.next().filter(|_| longer.next().is_none()).map(|(name, _)| name.as_str())
    };
    let meant = near.or_else(longer)?;
    known.iter().find(|(folded, _)| folded == meant).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_lead_to_the_directive() {
        for (given, name) in [
            ("WSGIDaemonProces", "WSGIDaemonProcess"),
            ("wsgiscriptalais", "WSGIScriptAlias"),
            ("WSGIPassAuth", "WSGIPassAuthorization"),
            ("WGSIScriptAlias", "WSGIScriptAlias"),
            ("WSGIApplicatonGroup", "WSGIApplicationGroup"),
        ] {
            assert_eq!(meant(given), Some(name), "{given}");
        }
        for given in ["ScriptAlias", "FcgidWrapper", "WSGI", "WSGIAuth", "WSGISomethingElse", "PassEnv"] {
            assert_eq!(meant(given), None, "{given}");
        }
    }

    #[test]
    fn what_exists_is_not_refused() {
        for row in DIRECTIVES {
            let name = row.name.to_str().expect("text");
            assert_eq!(refusal(name), None);
            assert_eq!(refusal(&name.to_ascii_lowercase()), None);
        }
    }

    #[test]
    fn removed_directives_are_no_directives_and_come_with_advice() {
        for (name, advice) in REMOVED {
            assert!(refusal(name).is_some_and(|text| text.ends_with(advice)), "{name}");
        }
    }
}
