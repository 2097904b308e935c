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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        for name in ["DocumentRoot", "VirtualHost", "WSGIScriptAlias", "IfModule", "RequestReadTimeout"] {
            assert_eq!(spelled(&name.to_lowercase()), Some(name));
            assert_eq!(spelled(&name.to_uppercase()), Some(name));
        }
        assert_eq!(spelled("Nonsense"), None);
    }
}
