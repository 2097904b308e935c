use std::fs;

use super::*;
use crate::configuration::load_main;

fn routed(text: &str, url: &str, here: bool) -> Route {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.conf");
    fs::write(&file, text).unwrap();
    let loaded = load_main(&file).unwrap();
    assert_eq!(loaded.reading.refusal, None);
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    route(&configuration, &Request::parse(url).unwrap(), here)
}

#[test]
fn urls_are_read() {
    let request = Request::parse("https://user@[::1]:8443/a?b=c#d").unwrap();
    assert_eq!((request.host.as_str(), request.port, request.path.as_str()), ("::1", 8443, "/a"));
    assert_eq!(request.query.as_deref(), Some("b=c"));
    assert_eq!(Request::parse("http://x").unwrap().path, "/");
    assert_eq!(Request::parse("http://x?y").unwrap().query.as_deref(), Some("y"));
    assert_eq!(Request::parse("x/y"), Err(UrlError::Scheme("x/y".to_owned())));
    assert_eq!(Request::parse("http:///y"), Err(UrlError::Host("http:///y".to_owned())));
    assert_eq!(Request::parse("http://x:99999/"), Err(UrlError::Port("99999".to_owned())));
}

#[test]
fn paths_are_normalized_as_httpd_does() {
    let normal = |path: &str| {
        let mut request = Request::parse("http://x/").unwrap();
        request.path = path.to_owned();
        request.normalized(false)
    };
    for (path, expected) in [
        ("/a//b/./c/../d", Ok("/a/b/d")),
        ("/a/..", Ok("/")),
        ("/%61%2e%2e", Ok("/a..")),
        ("/%2e%2e/", Err(400)),
        ("/..", Err(400)),
        ("/a%2fb", Err(404)),
        ("/a%zz", Err(400)),
        ("/%C3%A4", Ok("/ä")),
        ("//", Ok("/")),
    ] {
        assert_eq!(normal(path), expected.map(str::to_owned), "{path}");
    }
}

#[test]
fn an_application_with_its_process_and_interpreter() {
    let text = "Listen 80\nWSGIDaemonProcess shop processes=2 threads=3\n<VirtualHost *:80>\nServerName shop.example\nServerAlias *.shop.example\nWSGIScriptAlias /app /srv/shop/app.wsgi process-group=shop\n<Location /app>\nRequire ip 10.0.0.0/8\n</Location>\n</VirtualHost>\n";
    let found = routed(text, "http://www.shop.example/app/x", false);
    let expected = Application {
        script: "/srv/shop/app.wsgi".to_owned(),
        script_name: "/app".to_owned(),
        path_info: "/x".to_owned(),
        group: Some("shop".to_owned()),
        interpreter: "shop.example|/app".to_owned(),
        callable: "application".to_owned(),
    };
    assert_eq!(found.outcome, Outcome::Application(expected));
    let steps: Vec<&str> = found.steps.iter().map(|step| step.what).collect();
    assert_eq!(steps, ["listener", "host", "alias", "access", "script", "process", "daemon", "interpreter"]);
    assert!(matches!(routed(text, "http://x:81/", false).outcome, Outcome::Open(_)));
}

#[test]
fn rewrite_rules_are_followed_as_far_as_they_are_known() {
    let text = "RewriteEngine On\nRewriteCond %{HTTPS} !=on\nRewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]\nRewriteCond %{TIME_HOUR} >12\nRewriteRule ^/late /y [R]\nRewriteRule ^/old/(.*) /app/$1 [PT]\nWSGIScriptAlias /app /srv/app.wsgi application-group=%{GLOBAL}\n";
    let location = |location: &str| Outcome::Answer { status: 301, location: Some(location.to_owned()) };
    assert_eq!(routed(text, "http://a.example/x?y=1", false).outcome, location("https://a.example/x?y=1"));
    assert!(matches!(routed(text, "https://a.example/late", false).outcome, Outcome::Open(_)));
    let Outcome::Application(application) = routed(text, "https://a.example/old/b", false).outcome else { panic!() };
    assert_eq!((application.script_name.as_str(), application.path_info.as_str()), ("/app", "/b"));
}
