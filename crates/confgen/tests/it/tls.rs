//! Sites with TLS.

use std::path::PathBuf;

use confgen::render::RenderOptions;

use crate::fixture::{httpd_conf, rendered, this_machine, workspace};

fn data(name: &str) -> PathBuf {
    workspace().join("crates/confgen/tests/data").join(name)
}

fn spec(cert: &str, key: &str) -> String {
    serde_json::json!({
        "server": {"listen": {"http": 8080, "https": 8443}},
        "sites": {"s": {"hosts": ["s.example"], "tls": {"cert": data(cert), "key": {"file": data(key)}}}},
    })
    .to_string()
}

#[test]
fn a_key_has_to_be_the_one_of_the_certificate() {
    let facts = this_machine();
    for (cert, key, message) in [
        ("rsa.pem", "rsa.key", None),
        ("rsa.pem", "rsa-traditional.key", None),
        ("ec.pem", "ec.key", None),
        ("ec.pem", "ec-traditional.key", None),
        ("ed.pem", "ed.key", None),
        ("rsa.pem", "other.key", Some("the private key is not the one of the certificate")),
        ("rsa.pem", "ec.key", Some("the private key is not the one of the certificate")),
        ("ec.pem", "rsa.key", Some("the private key is not the one of the certificate")),
        ("rsa.pem", "encrypted.key", Some("has a pass phrase")),
        ("rsa.key", "rsa.key", Some("holds no certificate")),
        ("rsa.pem", "rsa.pem", Some("holds no private key")),
    ] {
        match (rendered(&spec(cert, key), &facts, &RenderOptions::default()), message) {
            (Ok(_), None) => {}
            (Err(errors), Some(message)) => {
                assert!(errors.contains(message) && errors.contains("error[CG118]"), "{cert} {key}\n{errors}")
            }
            (Ok(_), Some(message)) => panic!("{cert} {key} passed: {message}"),
            (Err(errors), None) => panic!("{cert} {key}\n{errors}"),
        }
    }
}

const HOSTS: &str = "hosts: [a.example, b.example], tls: {cert: /c, key: /k}";

#[test]
fn redirects() {
    let listen = "server: {listen: {http: 80, https: 443}}\n";
    let conf = |redirect: &str| httpd_conf(&format!("{listen}sites: {{s: {{{HOSTS}{redirect}}}}}"));
    let count = |conf: &str, text: &str| conf.matches(text).count();
    let default = conf("");
    assert_eq!((count(&default, "https://a.example/"), count(&default, "https://b.example/")), (1, 1), "{default}");
    assert_eq!(default, conf(", redirect: https"));
    let canonical = conf(", redirect: canonical-https");
    assert_eq!(
        (count(&canonical, "https://a.example/"), count(&canonical, "https://b.example/")),
        (2, 0),
        "{canonical}"
    );
    let none = conf(", redirect: none");
    assert_eq!(count(&none, "Redirect permanent"), 0, "{none}");
    let other = httpd_conf(&format!("server: {{listen: {{http: 80, https: 8443}}}}\nsites: {{s: {{{HOSTS}}}}}"));
    assert!(other.contains("\"https://a.example:8443/\""), "{other}");
}

#[test]
fn contradictions_are_refused() {
    let facts = crate::fixture::machine();
    for text in [
        "sites: {s: {hosts: [a.example], tls: {cert: /c, key: /k}}}",
        "server: {listen: {http: 80, https: 443}}\nsites: {s: {hosts: [a.example]}}",
        "server: {listen: {http: 80, https: 443}}\nsites: {s: {tls: {cert: /c, key: /k}}}",
        "sites: {s: {hosts: [a.example], redirect: https}}",
        "server: {listen: {https: 443}}\nsites: {s: {hosts: [a.example], tls: {cert: /c, key: /k}}, t: {hosts: [b.example]}}",
    ] {
        let errors = rendered(text, &facts, &RenderOptions::default()).unwrap_err();
        assert!(errors.contains("error[CG119]"), "{text}\n{errors}");
    }
}
