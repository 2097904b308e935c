//! One application, loaded twice.

use crate::configuration::{Mount, Part};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG258",
        title: "one application, loaded twice",
        cause: "Two virtual hosts mount the same script in the same processes, but in interpreters of different \
                names: the application is loaded twice, with twice the memory and twice its background threads.",
        fix: "Use `application-group=%{GLOBAL}`, or the same name, in both.",
    }),
    name: "loaded-twice",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a\n<VirtualHost *:80>\nServerName shop.example\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=a\n</VirtualHost>\n<VirtualHost *:80>\nServerName www.shop.example\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=a\n</VirtualHost>",
    good: "WSGIDaemonProcess a\n<VirtualHost *:80>\nServerName shop.example\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=a application-group=%{GLOBAL}\n</VirtualHost>\n<VirtualHost *:80>\nServerName www.shop.example\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=a application-group=%{GLOBAL}\n</VirtualHost>",
    scripts: &[],
    check,
};

/// The name of an application's interpreter, as far as the configuration decides it.
fn name(input: &Input<'_>, mount: &Mount) -> String {
    let host = &input.hosts[mount.host];
    let server = host.name.clone().unwrap_or_default();
    let port = host.ports().into_iter().flatten().find(|port| !matches!(port, 80 | 443));
    let server = port.map_or_else(|| server.clone(), |port| format!("{server}:{port}"));
    input
        .interpreter_of(mount)
        .replace("%{RESOURCE}", &format!("{server}|{}", mount.url.trim_end_matches('/')))
        .replace("%{SERVER}", &server)
        .replace("%{GLOBAL}", "")
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, mount) in input.mounts.iter().enumerate() {
        let twice = input.mounts[..index].iter().find(|other| {
            other.script == mount.script
                && other.host != mount.host
                && other.group == mount.group
                && name(input, other) != name(input, mount)
        });
        if let Some(other) = twice
            && !input.of_mount(mount).is_unresolved()
        {
            let finding = Finding::new(
                input.of_mount(mount),
                format!("{} is loaded once more for this virtual host", mount.script),
            );
            found.push(finding.also(input.of_mount(other), Part::Whole, "the same application"));
        }
    }
    found
}
