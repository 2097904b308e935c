//! Whether Apache's own processes run applications, which decides on `WSGIRestrictEmbedded`.

use crate::document::Path;
use crate::spec::Model;

/// Whether applications may run in Apache's own processes: what the spec says, or else what it needs.
pub(super) fn restricted(model: &Model) -> Option<bool> {
    model.runtime.restrict.embedded.or_else(|| (only_daemons(model) && by_raw(model).is_none()).then_some(true))
}

/// The line of a raw text that alone keeps Python in Apache's own processes.
pub(super) fn opened_by_raw(model: &Model) -> Option<Path> {
    by_raw(model).filter(|_| model.runtime.restrict.embedded.is_none() && only_daemons(model))
}

/// Whether everything that has a key runs in daemons.
fn only_daemons(model: &Model) -> bool {
    let apps = model.sites.values().flat_map(|site| site.apps.values()).map(|app| app.daemon.is_some());
    let handlers = model.sites.values().flat_map(|site| site.handlers.values());
    let mut in_daemon = apps.chain(handlers.map(|handler| handler.daemon.is_some())).peekable();
    let any = in_daemon.peek().is_some();
    any && in_daemon.all(|daemon| daemon) && model.runtime.import.is_empty()
}

/// The first raw line that mounts something in Apache's own processes, or may do so out of sight.
fn by_raw(model: &Model) -> Option<Path> {
    model.raw.iter().enumerate().find_map(|(index, raw)| {
        let lines = || raw.text.lines().map(|line| words(line.trim_start_matches([' ', '\t', '<'])));
        // What a text mounts may get its group from the same text.
        let grouped = lines().any(|words| {
            words.first().is_some_and(|name| name.eq_ignore_ascii_case("WSGIProcessGroup"))
                && words.get(1).is_some_and(|group| !in_apache(group))
        });
        let number = lines().position(|words| mounts(&words, grouped))?;
        Some(Path::of(["raw"]).join(index).join("text").join(number))
    })
}

/// The words of a line, without quotes.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.trim_matches(['"', '\'', '>']).to_owned()).collect()
}

/// Whether a process group is Apache's own, or chosen by the request.
fn in_apache(group: &str) -> bool {
    let group = group.trim_matches(['"', '\'']);
    group.is_empty() || group.starts_with("%{")
}

fn mounts(words: &[String], grouped: bool) -> bool {
    let Some((name, rest)) = words.split_first() else { return false };
    let name = name.to_ascii_lowercase();
    let group = rest.iter().find_map(|word| word.strip_prefix("process-group="));
    match name.as_str() {
        "wsgiscriptalias" | "wsgiscriptaliasmatch" | "wsgihandlerscript" => group.map_or(!grouped, in_apache),
        "wsgiimportscript" => group.is_none_or(in_apache),
        "sethandler" | "addhandler" => !grouped && rest.iter().any(|word| word.eq_ignore_ascii_case("wsgi-script")),
        "wsgiprocessgroup" => rest.first().is_some_and(|group| in_apache(group)),
        // Lines that stand elsewhere.
        "include" | "includeoptional" | "use" => true,
        "allowoverride" => rest.iter().any(|word| !word.eq_ignore_ascii_case("None")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_mount_in_apache() {
        for (line, grouped, expected) in [
            ("Header set X y", false, false),
            ("# WSGIScriptAlias /x /x.wsgi", false, false),
            ("WSGIScriptAlias /x /x.wsgi", false, true),
            ("WSGIScriptAlias /x /x.wsgi", true, false),
            ("wsgiscriptalias /x /x.wsgi process-group=d", false, false),
            ("WSGIScriptAlias /x /x.wsgi process-group=\"%{GLOBAL}\"", true, true),
            ("SetHandler wsgi-metrics", false, false),
            ("AddHandler wsgi-script .wsgi", false, true),
            ("AllowOverride None", false, false),
            ("AllowOverride FileInfo", false, true),
            ("IncludeOptional /etc/x/*.conf", true, true),
            ("WSGIImportScript /x.py application-group=a process-group=d", false, false),
        ] {
            assert_eq!(mounts(&words(line), grouped), expected, "{line}");
        }
    }
}
