//! What is known of directives: of the wsgi module all of it, of httpd and its modules their names and where they may stand.

mod httpd;
mod wsgi;

pub use httpd::{Httpd, Place, all as of_httpd};
pub use wsgi::{Directive, Kind, Status, all, daemon_option, directive};

/// The name of a directive or a section as its module writes it, whatever case it is given in.
pub fn spelled(name: &str) -> Option<&'static str> {
    httpd::named(name).map(|entry| entry.name.as_str()).or_else(|| directive(name).map(|entry| entry.name.as_str()))
}

/// A name of a directive that differs from a written one by at most two letters.
pub fn nearly(name: &str) -> Option<&'static str> {
    let written = name.to_ascii_lowercase();
    let known = httpd::all().iter().map(|entry| entry.name.as_str());
    let wsgi = all().iter().filter(|entry| matches!(entry.kind, Kind::Directive | Kind::Container));
    known
        .chain(wsgi.map(|entry| entry.name.as_str()))
        .filter(|known| known.len().abs_diff(written.len()) <= 2)
        .map(|known| (strsim::damerau_levenshtein(&written, &known.to_ascii_lowercase()), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Whether a directive gets its arguments as words, so that quotes around one that has no need of them change nothing. Not those that
/// read their line themselves or take regular expressions and rules, and none that is not known.
pub fn takes_words(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let pattern = lower.contains("match") || matches!(lower.as_str(), "substitute" | "inputsed" | "outputsed");
    let of_httpd = httpd::named(name).is_some_and(|entry| !entry.section && !httpd::is_raw(name));
    let of_wsgi = || {
        let arity =
            directive(name).filter(|entry| entry.kind == Kind::Directive).and_then(|entry| entry.arity.as_deref());
        arity.is_some_and(|arity| arity != "raw" && !arity.ends_with('+'))
    };
    !pattern && (of_httpd || of_wsgi())
}

/// Whether the lines of a section are read as directives when the configuration is read, and nothing is put into them before.
/// Those of a macro have parameters in them.
pub fn has_directives(section: &str) -> bool {
    let of_wsgi = || directive(section).is_some_and(|entry| entry.kind == Kind::Container);
    let known = httpd::section(section).is_some() || of_wsgi();
    known && !section.eq_ignore_ascii_case("Macro") && !has_code(section)
}

/// Whether a section holds a program in another language.
pub fn has_code(section: &str) -> bool {
    let of_lua = httpd::section(section).is_some_and(|entry| entry.module == "lua");
    of_lua || section.eq_ignore_ascii_case("Perl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_words() {
        for name in ["DocumentRoot", "loadmodule", "ServerName", "WSGIPythonHome", "WSGIPassAuthorization", "CustomLog"]
        {
            assert!(takes_words(name), "{name}");
        }
        for name in [
            "RewriteRule",
            "Header",
            "AliasMatch",
            "SetEnvIf",
            "WSGIDaemonProcess",
            "WSGIScriptAlias",
            "Nonsense",
            "Directory",
        ] {
            assert!(!takes_words(name), "{name}");
        }
        assert!(has_directives("virtualhost") && !has_directives("Macro") && !has_directives("Nonsense"));
        assert!(has_code("LuaQuickHandler") && has_code("perl") && !has_code("Directory"));
    }

    #[test]
    fn names_in_any_case() {
        for name in ["DocumentRoot", "VirtualHost", "WSGIScriptAlias", "IfModule", "RequestReadTimeout"] {
            assert_eq!(spelled(&name.to_lowercase()), Some(name));
            assert_eq!(spelled(&name.to_uppercase()), Some(name));
        }
        assert_eq!(spelled("Nonsense"), None);
    }
}
