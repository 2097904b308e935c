//! The reference pages of the directives: what the table knows, then the prose of `reference/<Name>.md`, with links. Only
//! for the test that writes and compares them.
//!
//! A prose file begins with `group: <heading of the index>`. In it, `` `WSGIName` `` becomes a link to that directive's page
//! and `WSGI0151` a link to the code; a line `options: a b c` becomes a table of these options of `WSGIDaemonProcess`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::codes::CODES;
use crate::directives::daemon_options::OPTIONS;
use crate::directives::json::{default, own_folder};
use crate::directives::spec::{Directive, Place, Support};
use crate::directives::table::DIRECTIVES;
use crate::directives::unknown::REMOVED;

/// The headings of the index, in its order.
const GROUPS: &[&str] = &[
    "From the URL to the script",
    "Process and interpreter",
    "Requests and responses",
    "Python",
    "Daemon sockets",
    "Access and authentication",
    "Watching a server",
];

const SECTIONS: &[&str] = &["## Example", "## What goes wrong", "## See also"];

/// Name of the page below `docs/` → its text: the index and a page for each directive.
pub(crate) fn pages(reference: &Path) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut groups: Vec<String> = GROUPS.iter().map(|_| String::new()).collect();
    for row in DIRECTIVES {
        let name = row.plain_name();
        let path = reference.join(format!("{name}.md"));
        let prose = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (group, prose) = divided(name, &prose);
        let place = GROUPS.iter().position(|known| *known == group);
        let place = place.unwrap_or_else(|| panic!("{name}: the index has no group '{group}'"));
        let marks = marks(row);
        let help = linked(&row.help.to_string_lossy(), name);
        let _ = writeln!(groups[place], "| [{name}](directives/{name}.md) | {help}{marks} |");
        pages.insert(format!("directives/{name}.md"), page(row, prose));
    }
    let mut index = String::from(
        "# Directives\n\nGenerated from the tables in `crates/runtime/apache/src/directives` and the texts in \
         `crates/runtime/apache/reference`; `make generate` writes it anew.\n\nEvery directive of mod_wsgi 6.1 is here, \
         and some of ours. Where a page says nothing else, it works as in mod_wsgi; [differences.md](differences.md) \
         lists what differs.\n",
    );
    for (heading, rows) in GROUPS.iter().zip(groups) {
        let _ = write!(index, "\n## {heading}\n\n| Directive | What it does |\n|---|---|\n{rows}");
    }
    index.push_str(
        "\n## Directives of older versions\n\nmod_wsgi has removed them. The server does not start with them, and says what is \
         written here.\n\n| Directive | Without it |\n|---|---|\n",
    );
    for (name, advice) in REMOVED {
        let _ = writeln!(index, "| {name} | {advice} |");
    }
    pages.insert("directives.md".to_owned(), index);
    pages
}

/// The group and the text behind it.
fn divided<'a>(name: &str, prose: &'a str) -> (&'a str, &'a str) {
    let (first, rest) = prose.split_once('\n').unwrap_or((prose, ""));
    let group = first.strip_prefix("group: ").unwrap_or_else(|| panic!("{name}: the first line names no group"));
    (group, rest.trim())
}

fn marks(row: &Directive) -> String {
    let mut marks = String::new();
    if row.extension {
        marks.push_str(" *Ours.*");
    }
    if row.support() == Support::Known {
        marks.push_str(" *Not supported yet: refused by name.*");
    }
    marks
}

fn page(row: &Directive, prose: &str) -> String {
    let name = row.plain_name();
    let container = row.name.to_bytes().starts_with(b"<");
    let syntax =
        if container { format!("<{name} {} … </{name}>", row.syntax) } else { format!("{name} {}", row.syntax) };
    let default = default(row.fallback).map_or_else(|| "–".to_owned(), |text| format!("`{text}`"));
    let mut page = format!("# {name}\n\n{}{}\n\n", row.help.to_string_lossy(), marks(row));
    let _ = writeln!(page, "| | |\n|---|---|");
    let _ = writeln!(page, "| Syntax | `{}` |", syntax.replace('|', "\\|"));
    let _ = writeln!(page, "| Default | {default} |");
    let _ = writeln!(page, "| Where | {} |", contexts(row.place));
    let _ = writeln!(page, "| In `.htaccess` | {} |", allowed(row.place));
    let _ = writeln!(page, "| Merging | {} |\n", merging(row.place, prose));
    page.push_str(&text(name, prose));
    if !prose.contains("## Compared with mod_wsgi 6.1") {
        page.push_str("\n## Compared with mod_wsgi 6.1\n\n");
        page.push_str(if row.extension {
            "mod_wsgi has no such directive and refuses it.\n"
        } else {
            "No difference.\n"
        });
    }
    page
}

fn contexts(place: Place) -> &'static str {
    match place {
        Place::Main => "main server",
        Place::Servers => "main server, virtual host",
        Place::Sections => "main server, virtual host, directory",
        Place::Everywhere => "main server, virtual host, directory, `.htaccess`",
        Place::Directories => "directory, `.htaccess`",
    }
}

fn allowed(place: Place) -> &'static str {
    match place {
        Place::Main | Place::Servers | Place::Sections => "no",
        Place::Everywhere => "with `AllowOverride FileInfo`",
        Place::Directories => "with `AllowOverride AuthConfig`",
    }
}

fn merging(place: Place, prose: &str) -> &'static str {
    if prose.contains("## Merging") {
        return "[see below](#merging)";
    }
    match place {
        Place::Main => "one value for the whole server; the last one holds",
        Place::Servers => "a virtual host's own, else the main server's",
        Place::Sections | Place::Everywhere | Place::Directories => {
            "the innermost value holds; what is not set there comes from outside"
        }
    }
}

/// The prose with its links and tables.
fn text(name: &str, prose: &str) -> String {
    let mut text = String::new();
    let mut fenced = false;
    for line in prose.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if let Some(names) = line.strip_prefix("options: ").filter(|_| !fenced) {
            options(names, &mut text);
        } else if fenced || line.starts_with('#') {
            let _ = writeln!(text, "{line}");
        } else {
            let _ = writeln!(text, "{}", linked(line, name));
        }
    }
    text
}

fn options(names: &str, text: &mut String) {
    text.push_str("| Option | Unit | Default | Meaning |\n|---|---|---|---|\n");
    for name in names.split_whitespace() {
        let option = OPTIONS.iter().find(|option| option.name == name);
        let option = option.unwrap_or_else(|| panic!("WSGIDaemonProcess has no option '{name}'"));
        let unit = match option.syntax {
            "SECONDS" => "seconds",
            "MILLISECONDS" => "milliseconds",
            "BYTES" => "bytes",
            _ => "",
        };
        let mut meaning = option.help.to_owned();
        if option.extension {
            meaning.push_str(" *Ours.*");
        }
        let syntax = option.syntax.replace('|', "\\|");
        let _ = writeln!(text, "| `{name}={syntax}` | {unit} | {} | {meaning} |", option.default);
    }
}

/// A line with links to the directives and codes that it names.
fn linked(line: &str, own: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("WSGI") {
        let (before, found) = rest.split_at(at);
        let end = found.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(found.len());
        let (word, behind) = found.split_at(end);
        rest = behind;
        if word.len() == 8 && word[4..].bytes().all(|byte| byte.is_ascii_digit()) {
            let _ = write!(out, "{before}[{word}](../errors.md#{})", word.to_ascii_lowercase());
        } else if word != own && is_directive(word) && before.ends_with('`') && behind.starts_with('`') {
            rest = &behind[1..];
            let _ = write!(out, "{}[`{word}`]({word}.md)", &before[..before.len() - 1]);
        } else if word != own && is_directive(word) && before.ends_with("`<") && behind.starts_with(">`") {
            rest = &behind[2..];
            let _ = write!(out, "{}[`<{word}>`]({word}.md)", &before[..before.len() - 2]);
        } else {
            out.push_str(before);
            out.push_str(word);
        }
    }
    out.push_str(rest);
    out
}

fn is_directive(word: &str) -> bool {
    DIRECTIVES.iter().any(|row| row.plain_name() == word)
}

#[test]
fn every_entry_of_the_table_has_prose_and_an_example() {
    let reference = own_folder().join("reference");
    for row in DIRECTIVES {
        let name = row.plain_name();
        let prose = std::fs::read_to_string(reference.join(format!("{name}.md"))).expect("a text for each directive");
        let (_, prose) = divided(name, &prose);
        assert!(!prose.starts_with('#') && prose.len() > 200, "{name}: says too little of what it is for");
        for section in SECTIONS {
            assert!(prose.contains(&format!("\n{section}\n")), "{name}: {section} is missing");
        }
        let example = prose.split("\n## Example\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or("");
        assert!(example.contains("```apache\n") && example.contains(name), "{name}: the example does not use it");
        for option in row.options {
            assert!(prose.contains(&format!("`{option}=")), "{name}: nothing is said of the option {option}");
        }
    }
    let texts = std::fs::read_dir(&reference).expect("the folder of the texts").count();
    assert_eq!(texts, DIRECTIVES.len(), "a text of a directive that does not exist");
}

#[test]
fn every_option_of_a_daemon_process_is_in_one_table_and_in_the_text() {
    let path = own_folder().join("reference/WSGIDaemonProcess.md");
    let prose = std::fs::read_to_string(path).expect("its text");
    let listed: Vec<&str> =
        prose.lines().filter_map(|line| line.strip_prefix("options: ")).flat_map(str::split_whitespace).collect();
    for option in OPTIONS {
        let count = listed.iter().filter(|name| **name == option.name).count();
        assert_eq!(count, 1, "{}: must be in one of the tables", option.name);
        assert!(prose.contains(&format!("`{}=", option.name)), "{}: nothing is said of it", option.name);
    }
}

/// Whether a code is one of the module's, or stands in the sources of the engine, which logs its own.
fn is_code(word: &str) -> bool {
    fn stands_in(folder: &Path, word: &str) -> bool {
        std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return stands_in(&path, word);
            }
            let number = format!("\"{}\"", &word[4..]);
            std::fs::read_to_string(path).is_ok_and(|text| text.contains(word) || text.contains(&number))
        })
    }
    CODES.iter().any(|code| code.name() == word) || stands_in(&own_folder().join("../python/src"), word)
}

#[test]
fn codes_and_directives_that_the_texts_name_exist() {
    let reference = own_folder().join("reference");
    for row in DIRECTIVES.iter().filter(|row| row.support() == Support::Supported) {
        let name = row.plain_name();
        let prose = std::fs::read_to_string(reference.join(format!("{name}.md"))).expect("a text for each directive");
        for word in prose.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("WSGI")) {
            let code = word.len() == 8 && word[4..].bytes().all(|byte| byte.is_ascii_digit());
            let found = if code { is_code(word) } else { is_directive(word) };
            assert!(found || word == "WSGI", "{name}: {word} does not exist");
        }
    }
}
