//! What is known of directives: of the wsgi module all of it, of httpd and its modules their names and where they may stand.

mod httpd;
mod wsgi;

pub use httpd::{Httpd, Place, all as of_httpd};
pub use wsgi::{Directive, Kind, Status, all, daemon_option, directive};

/// The name of a directive or a section as its module writes it, whatever case it is given in.
pub fn spelled(name: &str) -> Option<&'static str> {
    httpd::named(name).map(|entry| entry.name.as_str()).or_else(|| directive(name).map(|entry| entry.name.as_str()))
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
