//! `confgen init`: a spec for a project of each framework, which `confgen start` then serves; and what it refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use confgen::environment::Environment;

use crate::fixture::workspace;
use crate::place::{Place, module, port};

/// A folder with these files and no others.
fn project(files: &[(&str, &str)]) -> Place {
    let place = Place::new();
    fs::remove_file(place.site().join("app.wsgi")).unwrap();
    for (path, text) in files {
        put(&place, path, text);
    }
    place
}

fn put(place: &Place, path: &str, text: &str) {
    let path = place.site().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The environment with the packages of the tests, if it has this one. A test that lacks its package says so and ends.
#[expect(clippy::print_stderr, reason = "a test that is skipped has to say so")]
fn packages(package: &str) -> Option<PathBuf> {
    let named = Environment::of_process().get("HARNESS_VENV").map(PathBuf::from);
    let venv = named.unwrap_or_else(|| workspace().join("target/venv"));
    let libraries = fs::read_dir(venv.join("lib")).into_iter().flatten().flatten();
    let places = libraries.map(|library| library.path().join("site-packages"));
    let has = |place: &Path| place.join(package).is_dir() || place.join(format!("{package}.py")).is_file();
    if places.into_iter().any(|place| has(&place)) {
        return Some(venv);
    }
    eprintln!("skipped: {} has no package `{package}`; `make setup` installs it", venv.display());
    None
}

/// A project whose virtual environment has a package.
fn project_with(package: &str, files: &[(&str, &str)]) -> Option<Place> {
    let venv = packages(package)?;
    let place = project(files);
    symlink(venv, place.site().join(".venv")).unwrap();
    Some(place)
}

fn init(place: &Place, arguments: &[&str]) -> String {
    let (code, out, err) = place.run(&[&["init"], arguments].concat());
    assert_eq!(code, Some(0), "{err}");
    out + &err
}

fn spec(place: &Place) -> String {
    fs::read_to_string(place.site().join("confgen.yaml")).unwrap()
}

/// Makes a spec, starts it as it is but for the port, and asks for pages.
fn serves(place: &Place, pages: &[(&str, &str)]) -> String {
    let said = init(place, &[]);
    assert!(said.contains("to serve it: confgen start confgen.yaml\n"), "{said}");
    let (listen, wsgi) =
        (format!("server.listen.http=127.0.0.1:{}", port().port()), format!("runtime.module={}", module()));
    let started = place.launch(&["start", "confgen.yaml", "--set", &listen, "--set", &wsgi]);
    for (path, expected) in pages {
        let answer = started.get(path);
        assert!(answer.contains(expected), "{path}: {answer}\n{}", spec(place));
    }
    started.interrupt();
    assert_eq!(started.end().0, Some(0));
    said
}

#[test]
#[expect(clippy::disallowed_methods, reason = "Django makes its own projects")]
fn a_new_django_project_is_served_with_its_static_files() {
    let Some(place) = project_with("django", &[("staticfiles/site.css", "body {}")]) else { return };
    let python = place.site().join(".venv/bin/python");
    let arguments = ["-m", "django", "startproject", "mysite", "."];
    assert!(Command::new(python).args(arguments).current_dir(place.site()).status().unwrap().success());
    let said = serves(&place, &[("/", "The install worked successfully"), ("/static/site.css", "body {}")]);
    for line in [
        "found     the Django application `mysite.wsgi:application` in mysite/wsgi.py\n",
        "found     the virtual environment .venv\n",
        "found     the static files in staticfiles, for /static\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // Without the module a script asks Django for the application.
    fs::remove_file(place.site().join("mysite/wsgi.py")).unwrap();
    let settings = place.site().join("mysite/settings.py");
    let text = fs::read_to_string(&settings).unwrap();
    let text = text.replace("WSGI_APPLICATION =", "# WSGI_APPLICATION =").replace("'static/'", "'/assets/'");
    fs::write(&settings, text).unwrap();
    fs::remove_file(place.site().join("confgen.yaml")).unwrap();
    let said = serves(&place, &[("/", "The install worked successfully"), ("/assets/site.css", "body {}")]);
    assert!(said.contains("site/app.wsgi, which makes the application\n"), "{said}");
}

const FLASK: &str =
    "from flask import Flask\n\napp = Flask(__name__)\n\n@app.route('/')\ndef page():\n    return 'hello from flask'\n";

#[test]
fn a_flask_module_and_a_flask_package_are_served() {
    let Some(place) = project_with("flask", &[("app.py", FLASK), ("static/a.txt", "a file")]) else { return };
    serves(&place, &[("/", "hello from flask"), ("/static/a.txt", "a file")]);
    assert!(spec(&place).contains("/: {module: \"app:app\", daemon: app}"), "{}", spec(&place));
    // A package below `src`, of which `wsgi.py` makes the application.
    let factory = "def create_app(config=None):\n    from flask import Flask\n    app = Flask(__name__)\n    app.add_url_rule('/', 'page', lambda: 'made by a factory')\n    return app\n";
    let files = [("src/shop/__init__.py", factory), ("src/shop/static/b.txt", "b file")];
    let place = project_with("flask", &files).unwrap();
    let said = serves(&place, &[("/", "made by a factory"), ("/static/b.txt", "b file")]);
    assert!(said.contains("the Flask application `shop:create_app` in src/shop/__init__.py"), "{said}");
    assert!(spec(&place).contains("python-path: [src]"), "{}", spec(&place));
    put(&place, "src/wsgi.py", "from shop import create_app\napp = create_app()\n");
    init(&place, &["--force"]);
    assert!(spec(&place).contains("{module: \"wsgi:app\", daemon: app}"), "{}", spec(&place));
}

#[test]
fn a_pyramid_project_is_served_as_its_settings_say() {
    let package = "from pyramid.config import Configurator\nfrom pyramid.response import Response\n\n\ndef main(global_config, **settings):\n    with Configurator(settings=settings) as config:\n        config.add_static_view('files', 'shop:static')\n        config.add_route('home', '/')\n        config.add_view(lambda request: Response('hello from pyramid in ' + settings['mode']), route_name='home')\n        return config.make_wsgi_app()\n";
    let settings = |mode: &str| {
        format!("[app:main]\npaste.app_factory = shop:main\nmode = {mode}\npyramid.reload_templates = false\n")
    };
    let files = [
        ("shop/__init__.py", package),
        ("shop/static/a.txt", "a file"),
        ("production.ini", &settings("production")),
        ("development.ini", &settings("development")),
    ];
    let Some(place) = project_with("pyramid", &files) else { return };
    let said = serves(&place, &[("/", "hello from pyramid in production"), ("/files/a.txt", "a file")]);
    assert!(said.contains("the Pyramid application `main` in production.ini"), "{said}");
    assert!(!said.contains("other applications"), "{said}");
    // Without settings the function is called with none.
    let plain = package.replace(" in ' + settings['mode']", "'");
    let place = project_with("pyramid", &[("shop/__init__.py", &plain)]).unwrap();
    serves(&place, &[("/", "hello from pyramid")]);
    let single = "from pyramid.config import Configurator\nfrom pyramid.response import Response\nconfig = Configurator()\nconfig.add_route('home', '/')\nconfig.add_view(lambda request: Response('one file'), route_name='home')\napp = config.make_wsgi_app()\n";
    let place = project_with("pyramid", &[("hello.py", single)]).unwrap();
    serves(&place, &[("/", "one file")]);
}

#[test]
fn falcon_and_bottle_applications_are_served() {
    let falcon = "import falcon\n\nclass Page:\n    def on_get(self, request, response):\n        response.text = 'hello from falcon'\n\napi = falcon.App()\napi.add_route('/', Page())\n";
    if let Some(place) = project_with("falcon", &[("service/main.py", falcon)]) {
        let said = serves(&place, &[("/", "hello from falcon")]);
        assert!(said.contains("the Falcon application `main:api` in service/main.py"), "{said}");
    }
    let bottle = "import bottle\n\n@bottle.route('/')\ndef page():\n    return 'hello from bottle'\n\napp = bottle.default_app()\n\nif __name__ == '__main__':\n    bottle.run()\n";
    if let Some(place) = project_with("bottle", &[("my-site.py", bottle), ("static/a.txt", "private")]) {
        // A file that cannot be imported is served as a script, and nobody said that the folder may be seen.
        serves(&place, &[("/", "hello from bottle"), ("/static/a.txt", "HTTP/1.1 404")]);
        assert!(spec(&place).contains("{script: my-site.py, callable: app, daemon: app}"), "{}", spec(&place));
        assert!(spec(&place).contains("    #   /static: {dir: static, cache: 1h}"), "{}", spec(&place));
    }
}

const PLAIN: &str = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'plain ' + __name__.encode()]\n";

#[test]
fn a_folder_that_is_a_package_is_named() {
    let place = project(&[("shop/__init__.py", PLAIN), ("shop/views.py", "")]);
    let (code, _, err) = place.run(&["init", "shop"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("the folder is a package; its modules are imported from the folder around it"), "{err}");
    serves(&place, &[("/", "plain shop")]);
}

#[test]
fn scripts_come_first_and_others_are_named() {
    let place = project(&[
        ("deploy/shop.wsgi", "from other_name import app as application\n"),
        ("other_name.py", &PLAIN.replace("application", "app")),
        ("shop.py", &PLAIN.replace("application", "app")),
        ("examples/other.py", PLAIN),
    ]);
    let said = serves(&place, &[("/", "plain other_name")]);
    assert!(said.contains("the WSGI application `application` in deploy/shop.wsgi"), "{said}");
    assert!(
        said.contains(
            "note: other applications were found: `other_name:app` in other_name.py, `shop:app` in shop.py, `other:application` in examples/other.py"
        ),
        "{said}"
    );
}

#[test]
fn nothing_is_executed_and_nothing_is_overwritten() {
    let trap = "import os\nos.mkdir('executed')\n";
    let place = project(&[("wsgi.py", &format!("{trap}{PLAIN}"))]);
    let printed = init(&place, &["--stdout"]);
    assert!(
        printed.contains("module: \"wsgi:application\"") && !place.site().join("confgen.yaml").exists(),
        "{printed}"
    );
    init(&place, &[]);
    assert!(!place.site().join("executed").exists());
    // What would be written again is no loss.
    init(&place, &[]);
    put(&place, "confgen.yaml", "mine");
    let (code, out, err) = place.run(&["init"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.contains("error[CG171]") && err.contains("site/confgen.yaml exists") && err.contains("--force"),
        "{err}"
    );
    assert_eq!(spec(&place), "mine");
    init(&place, &["--force"]);
    assert!(spec(&place).starts_with("# A spec of confgen for the WSGI application `wsgi:application` in wsgi.py.\n"));
    // A script of one's own is in the way of one that is to be made: neither file is written.
    let factory = "from flask import Flask\ndef create_app():\n    return Flask(__name__)\n";
    let place = project(&[("shop.py", factory), ("app.wsgi", "mine = 1\n")]);
    let (code, _, err) = place.run(&["init"]);
    assert!(code == Some(2) && err.contains("site/app.wsgi exists"), "{err}");
    assert!(!place.site().join("confgen.yaml").exists());
    let printed = init(&place, &["--stdout"]);
    assert!(printed.contains("#     from shop import create_app\n"), "{printed}");
    init(&place, &["--force"]);
    let mode = fs::metadata(place.site().join("app.wsgi")).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o644);
    // The script that was made is not found as an application of its own.
    let said = init(&place, &["--force"]);
    assert!(said.contains("the Flask application `shop:create_app`"), "{said}");
}

#[test]
fn a_folder_without_an_application_is_told_what_was_looked_for() {
    let place = project(&[
        ("api.py", "from fastapi import FastAPI\napp = FastAPI()\n"),
        (
            "hello.py",
            "import bottle\nif __name__ == '__main__':\n    app = bottle.default_app()\n    bottle.run(app)\n",
        ),
        ("shop.py", "import flask\ndef create_app(config, *more):\n    return flask.Flask(__name__)\n"),
        ("notes.py", "'''\napplication = object()\n'''\n# app = Flask(__name__)\napplication = None\n"),
        (".hidden/app.py", PLAIN),
        ("env/pyvenv.cfg", ""),
        ("env/app.py", PLAIN),
    ]);
    symlink("..", place.site().join("loop")).unwrap();
    let (code, out, err) = place.run(&["init"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    for expected in [
        "error[CG170]: found no WSGI application in ",
        "looked for: Django (manage.py, wsgi.py), Flask",
        "`app` in api.py is an ASGI application (FastAPI)",
        "`app` in hello.py exists only when the file is run as a program",
        "needs arguments that only you know: `create_app(config)` in shop.py",
        "symbolic links to folders are not followed: loop",
        "`confgen start SCRIPT`",
    ] {
        assert!(err.contains(expected), "no {expected} in\n{err}");
    }
    let (code, out, _) = place.run(&["init", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["exit"], &answer["diagnostics"][0]["code"]), (Some(2), &2.into(), &"CG170".into()));
}

#[test]
fn folders_that_cannot_be_read_are_named() {
    let place = project(&[("app.py", PLAIN), ("closed/other.py", PLAIN)]);
    let (code, _, err) = place.run(&["init", "nowhere"]);
    assert!(code == Some(4) && err.contains("error[CG404]: cannot look into ") && err.contains("nowhere"), "{err}");
    let (code, _, err) = place.run(&["init", "app.py"]);
    assert!(code == Some(4) && err.contains("name the folder of the project, not a file in it"), "{err}");
    fs::set_permissions(place.site().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything: another user looks, with a program that it can reach.
    let program = place.folder().join("confgen");
    fs::copy(env!("CARGO_BIN_EXE_confgen"), &program).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = place.confgen(&[]);
        let output = as_somebody(&mut command, &program, arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["init", "--stdout"]);
    let closed = format!(
        "note: cannot read {}: Permission denied",
        place.site().canonicalize().unwrap().join("closed").display()
    );
    assert!(code == Some(0) && said.contains(&closed), "{said}");
    let (code, said) = run(&["init", "closed"]);
    assert!(code == Some(4) && said.contains("run confgen as a user who may read the folder"), "{said}");
    if nix::unistd::Uid::effective().is_root() {
        let (code, said) = run(&["init"]);
        assert!(code == Some(4) && said.contains("error[CG404]: cannot write "), "{said}");
        assert!(!place.site().join("confgen.yaml").exists());
    }
    fs::set_permissions(place.site().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the program under test runs as another user")]
fn as_somebody(template: &mut Command, program: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(template.get_current_dir().unwrap()).env_clear();
    if nix::unistd::Uid::effective().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.output().unwrap()
}

#[test]
fn a_project_of_another_user_is_served_as_that_user() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root looks at projects of others.
        return;
    }
    let place = project(&[("app.wsgi", crate::place::APPLICATION)]);
    chown(place.site(), Some(1), Some(1)).unwrap();
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o700)).unwrap();
    serves(&place, &[("/x", " 1 /x")]);
    let owner = fs::metadata(place.site().join("confgen.yaml")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1, 1));
}

#[test]
fn the_answer_for_programs_names_everything() {
    let place = project(&[("shop/wsgi.py", PLAIN), ("shop/static/a", "")]);
    // The name of the folder becomes the name of the server.
    for (folder, name) in [("-.my shop", "my-shop"), ("ü", "main"), (".", "site")] {
        put(&place, &format!("{folder}/app.py"), PLAIN);
        let printed = init(&place, &["--stdout", &format!("./{folder}")]);
        assert!(printed.contains(&format!("  name: {name}\n")), "{printed}");
        fs::remove_file(place.site().join(folder).join("app.py")).unwrap();
    }
    put(&place, "venv/pyvenv.cfg", "");
    let (code, out, err) = place.run(&["init", "--json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        answer["application"],
        serde_json::json!({"framework": "WSGI", "name": "wsgi:application", "file": "shop/wsgi.py"})
    );
    assert_eq!((&answer["venv"], &answer["static"]), (&"venv".into(), &serde_json::json!([])));
    assert!(answer["written"][0].as_str().unwrap().ends_with("/site/confgen.yaml"), "{out}");
    let (_, out, _) = place.run(&["init", "--json", "--stdout"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        answer["spec"].as_str().unwrap().contains("home: shop\n") && answer["written"] == serde_json::json!([]),
        "{out}"
    );
}

#[test]
fn an_activated_environment_is_taken_when_the_project_has_none() {
    let place = project(&[("app.py", PLAIN)]);
    let activated = place.folder().join("activated");
    fs::create_dir(&activated).unwrap();
    fs::write(activated.join("pyvenv.cfg"), "").unwrap();
    let run = || {
        let output = place.confgen(&["init", "--stdout"]).env("VIRTUAL_ENV", &activated).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(run().contains(&format!("    venv: {}\n", activated.display())), "{}", run());
    put(&place, "env/pyvenv.cfg", "");
    assert!(
        run().contains("    venv: env\n") && run().contains("another virtual environment is activated: "),
        "{}",
        run()
    );
}

#[test]
fn options_of_an_application_are_refused_with_a_spec() {
    let place = project(&[("app.py", PLAIN)]);
    init(&place, &[]);
    let options: &[&[&str]] = &[
        &["--port", "1"],
        &["--host", "localhost"],
        &["--user", "nobody"],
        &["--processes", "2"],
        &["--threads", "2"],
        &["--venv", "x"],
        &["--module", "auto"],
        &["--debug"],
    ];
    for option in options {
        let (code, _, err) = place.run(&[&["start", "confgen.yaml"], *option].concat());
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(&format!("`{}` applies to an application, and a spec is named", option[0])), "{err}");
    }
}
