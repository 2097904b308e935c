//! What confgen takes for large configurations.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use confgen::httpd::ServerRoot;

use crate::report::{Bound, Row};
use crate::statistics::{median, milliseconds};
use crate::{Failure, Places};

/// How often each program runs.
const RUNS: usize = 15;
/// Virtual hosts, sites.
const HOSTS: usize = 500;

/// Lint, import and rendering of many hosts, and the memory of lint.
pub(crate) fn confgen(places: &Places) -> Result<Vec<Row>, Failure> {
    let folder = ServerRoot::temporary(None)?;
    let (configuration, spec) = (folder.path().join("httpd.conf"), folder.path().join("big.yaml"));
    let text = hosts();
    let lines = text.lines().count();
    fs::write(&configuration, text)?;
    fs::write(&spec, sites())?;
    let confgen = places.dist.join("confgen");
    let tree = places.root.join("crates/confgen/tests/configurations/debian-like");
    let lint = measured(&confgen, &["lint".as_ref(), &configuration])?;
    let render = measured(&confgen, &["render".as_ref(), &spec, "--facts".as_ref(), &places.facts])?;
    let import = measured(&confgen, &["import".as_ref(), "httpd".as_ref(), &tree])?;
    let row = |what: String, value: f64, unit, bound| Row {
        what,
        value: Some(value),
        unit,
        bound: Bound::AtMost(bound),
        detail: format!("median of {RUNS} runs, whole process"),
    };
    Ok(vec![
        row(format!("`confgen lint` of {HOSTS} virtual hosts ({lines} lines)"), lint.time, "ms", 150.0),
        row(format!("memory of `confgen lint` of {HOSTS} virtual hosts"), lint.memory, "MB", 100.0),
        row(format!("`confgen render` of {HOSTS} sites with `--facts`"), render.time, "ms", 150.0),
        row("`confgen import httpd` of a tree like Debian's".to_owned(), import.time, "ms", 50.0),
    ])
}

/// Time in milliseconds and the largest resident memory in megabytes, both medians.
struct Measured {
    time: f64,
    memory: f64,
}

fn measured(program: &Path, arguments: &[&Path]) -> Result<Measured, Failure> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let began = Instant::now();
        memory.push(run(program, arguments)?);
        times.push(milliseconds(began.elapsed()));
    }
    Ok(Measured { time: median(&times), memory: median(&memory) })
}

/// Runs a program to its end; its largest resident memory in megabytes.
#[expect(clippy::disallowed_methods, reason = "whole processes are what is measured here")]
fn run(program: &Path, arguments: &[&Path]) -> Result<f64, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|cause| format!("cannot run {command:?}: {cause}"))?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: a structure of integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are to live variables of the right types, and nobody else waits for this child.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if waited != pid || !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) > 1 {
        return Err(format!("{command:?} ended with the status {status}").into());
    }
    #[expect(clippy::cast_precision_loss, reason = "kilobytes of one process")]
    Ok(usage.ru_maxrss as f64 / 1000.0)
}

fn hosts() -> String {
    let mut text = String::from(
        "ServerRoot /etc/httpd\nListen 80\nLoadModule reqtimeout_module modules/mod_reqtimeout.so\nLoadModule wsgi_module modules/mod_wsgi_rs.so\n<Directory />\n    Require all denied\n</Directory>\n",
    );
    for host in 0..HOSTS {
        let _ = write!(
            text,
            "\n# Host {host}\nWSGIDaemonProcess app{host} threads=5 user=app{host} \\\n    python-home=/srv/app{host}/venv \\\n    request-timeout=20 socket-timeout=120 \\\n    lang=C.UTF-8 display-name=%{{GROUP}}\n<VirtualHost *:80>\n    ServerName host{host}.example.org\n    ServerAlias www.host{host}.example.org\n    DocumentRoot /srv/www/host{host}\n"
        );
        for folder in ["static", "media"] {
            let _ = write!(
                text,
                "    Alias /{folder} /srv/app{host}/{folder}\n    <Directory /srv/app{host}/{folder}>\n        Options -Indexes\n        AllowOverride None\n        Require all granted\n    </Directory>\n"
            );
        }
        let _ = write!(
            text,
            "    <IfModule mod_headers.c>\n        Header set X-Host host{host}\n    </IfModule>\n    WSGIScriptAlias / /srv/app{host}/app.wsgi process-group=app{host} application-group=%{{GLOBAL}}\n    <Directory /srv/app{host}>\n        Require all granted\n    </Directory>\n    <Location /admin>\n        Require ip 10.0.0.0/8\n    </Location>\n    ErrorLog /var/log/host{host}.log\n    CustomLog /var/log/host{host}-access.log combined\n    RewriteEngine On\n    RewriteCond %{{HTTP_HOST}} ^old\\.\n    RewriteRule ^/old/(.*) /new/$1 [R=301,L]\n</VirtualHost>\n"
        );
    }
    text
}

fn sites() -> String {
    let mut text = String::from("schema: confgen/1\nserver: {name: big, listen: {http: 8080}}\ndaemons:\n");
    for host in 0..HOSTS {
        let _ = writeln!(text, "  app{host}: {{threads: 5, timeouts: {{request: 20s, socket: 120s}}}}");
    }
    text += "sites:\n";
    for host in 0..HOSTS {
        let _ = write!(
            text,
            "  host{host}:\n    hosts: [host{host}.example.org, www.host{host}.example.org]\n    apps: {{/: {{script: /srv/app{host}/app.wsgi, daemon: app{host}, interpreter: main}}}}\n    static: {{/static: {{dir: /srv/app{host}/static}}}}\n"
        );
    }
    text
}
