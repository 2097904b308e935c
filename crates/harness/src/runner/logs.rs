//! The error logs of a rendered server: its own, and those of virtual hosts.

use std::path::{Path, PathBuf};

use confgen::render::{Content, Tree};

use super::filter::glob;

/// How deep files may include each other.
const DEPTH: usize = 8;

/// Every file that an `ErrorLog` of the tree names, in the tree or in a file of the cell that it includes. Pipes and syslog
/// have no lines to look at.
pub(super) fn error_logs(tree: &Tree, main: &Path) -> Vec<PathBuf> {
    let mut found = vec![main.to_owned()];
    for file in &tree.files {
        if let Content::Text { text, .. } = &file.content
            && file.path.ends_with(".conf")
        {
            collect(text, &tree.server_root, DEPTH, &mut found);
        }
    }
    found
}

fn collect(text: &str, root: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for (name, argument) in text.replace("\\\n", " ").lines().filter_map(directive) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("ErrorLog") {
            let path = root.join(&argument);
            if !argument.starts_with('|') && !argument.starts_with("syslog") && !found.contains(&path) {
                found.push(path);
            }
        } else if is("Include") || is("IncludeOptional") {
            let path = root.join(&argument);
            // What lies outside of the cell's folder is the system's.
            if depth == 0 || !path.starts_with(root) {
                continue;
            }
            for included in expand(&path) {
                if let Ok(text) = std::fs::read_to_string(&included) {
                    collect(&text, root, depth - 1, found);
                }
            }
        }
    }
}

/// A directive's name and its first argument, without quotes.
fn directive(line: &str) -> Option<(&str, String)> {
    let (name, rest) = line.trim().split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let argument = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next()?.to_owned(),
        _ => rest.split_whitespace().next()?.to_owned(),
    };
    Some((name, argument))
}

/// The files of a path whose last part may have wildcards.
fn expand(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    if !name.contains('*') {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| glob(name, &entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_virtual_hosts_and_included_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("sites")).unwrap();
        std::fs::write(root.path().join("sites/a.conf"), "errorlog logs/a.log\n").unwrap();
        std::fs::write(root.path().join("sites/b.txt"), "ErrorLog logs/b.log\n").unwrap();
        let text = "ErrorLog \"logs/error.log\"\n<VirtualHost *:80>\n  ErrorLog \\\n '/var/log/x y.log'\n</VirtualHost>\n\
                    ErrorLogFormat \"%M\"\nErrorLog \"|cat\"\nErrorLog syslog:local7\nInclude sites/*.conf\nIncludeOptional /etc/none.conf\n";
        let mut found = Vec::new();
        collect(text, root.path(), 8, &mut found);
        let expected = [root.path().join("logs/error.log"), "/var/log/x y.log".into(), root.path().join("logs/a.log")];
        assert_eq!(found, expected);
    }
}
