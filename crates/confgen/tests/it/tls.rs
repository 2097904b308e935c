//! Sites with TLS.

use std::path::PathBuf;

use confgen::render::RenderOptions;

use crate::fixture::{httpd_conf, rendered, this_machine, workspace};

fn data(name: &str) -> PathBuf {
    // An absolute path stays as it is.
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
        ("rsa.der", "rsa.key", Some("it is in DER form: `openssl x509 -inform der")),
        ("weak.pem", "weak.key", Some("has 1024 bits; OpenSSL refuses less than 2048")),
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

#[test]
fn what_clients_would_refuse_is_found_by_name() {
    let facts = this_machine();
    let warnings = |cert: &str, key: &str, host: &str, more: &str| {
        let text = spec(cert, key).replace("s.example", host).replace("\"tls\":{", &format!("\"tls\":{{{more}"));
        let tree = rendered(&text, &facts, &RenderOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
        crate::fixture::shown(&tree.warnings)
    };
    let closed = tempfile::tempdir().unwrap().keep();
    let key = closed.join("ec.key");
    std::fs::copy(data("ec.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = key.to_str().unwrap();
    assert_eq!(warnings("chain.pem", key, "leaf.example", ""), "");
    assert_eq!(warnings("chain.pem", key, "a.wild.example", ""), "");
    for (cert, host, words) in [
        ("expired.pem", "leaf.example", "expired on Jan"),
        ("early.pem", "leaf.example", "is not valid before Jan"),
        ("leaf.pem", "leaf.example", "an intermediate certificate is missing"),
        ("chain.pem", "other.example", "is not for other.example: it names leaf.example, *.wild.example"),
        ("chain.pem", "a.b.wild.example", "is not for a.b.wild.example"),
    ] {
        let shown = warnings(cert, key, host, "");
        assert!(shown.contains(words) && shown.contains("warning[CG118]"), "{cert} {host}\n{shown}");
    }
    assert!(warnings("chain.pem", "ec.key", "leaf.example", "").contains("everybody can read the private key"));
    let client = |file: &str, depth: &str| {
        let more = format!("\"client-ca\":{},{depth}", serde_json::json!(data(file)));
        warnings("chain.pem", key, "leaf.example", &more)
    };
    assert!(client("inter.pem", "").contains("set `verify-depth: 2`"));
    assert_eq!(client("inter.pem", "\"verify-depth\":2,"), "");
    assert_eq!(client("root.pem", ""), "");
    std::fs::remove_dir_all(closed).unwrap();
    let conf = httpd_conf(
        "server: {listen: {http: 80, https: 443}}\nsites: {s: {hosts: [a.example], tls: {cert: /c, key: /k, client-ca: /a, verify-depth: 3}}}",
    );
    assert!(conf.contains("SSLVerifyDepth 3"), "{conf}");
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
