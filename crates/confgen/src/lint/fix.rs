//! Mending files: changes of single directives, by their places, so that nothing else moves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Reported;
use super::finding::Change;
use crate::conf::{Edit, apply};
use crate::configuration::{Configuration, Texts};

/// A file after the fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The file.
    pub path: PathBuf,
    /// Its text before.
    pub before: Vec<u8>,
    /// Its text now.
    pub after: Vec<u8>,
    /// How many findings were mended in it.
    pub number: usize,
}

/// Applies every fix, and returns the files that change. A fix in a text that a macro made is left out, and so is one that overlaps
/// with an earlier one: run it again.
#[must_use]
pub fn apply_fixes(reported: &[Reported], configuration: &Configuration<'_>, texts: &Texts<'_>) -> Vec<Fixed> {
    let mut files: BTreeMap<PathBuf, Pending> = BTreeMap::new();
    for fix in reported.iter().filter_map(|reported| reported.fix.as_ref()) {
        let wanted: Vec<(usize, Edit)> = fix.changes.iter().map(|change| edit(change, configuration, texts)).collect();
        let path = |source: usize| configuration.reading.sources[source].path.clone();
        // A file that is included twice is one file.
        let fits = wanted.iter().all(|(source, edit)| {
            let taken = files.get(&path(*source)).map_or(&[][..], |pending| &pending.edits);
            path(*source).is_file()
                && !taken.iter().any(|other| edit.span.start < other.span.end && other.span.start < edit.span.end)
        });
        let Some((first, _)) = wanted.first().filter(|_| fits) else { continue };
        files.entry(path(*first)).or_insert_with(|| Pending::new(*first)).number += 1;
        for (source, edit) in wanted {
            files.entry(path(source)).or_insert_with(|| Pending::new(source)).edits.push(edit);
        }
    }
    files
        .into_iter()
        .filter_map(|(path, pending)| {
            let before = configuration.reading.sources[pending.source].bytes.clone();
            let after = apply(&before, &pending.edits).ok()?;
            Some(Fixed { path, before, after, number: pending.number })
        })
        .collect()
}

/// What is to be changed in a file.
struct Pending {
    source: usize,
    edits: Vec<Edit>,
    number: usize,
}

impl Pending {
    fn new(source: usize) -> Self {
        Self { source, edits: Vec::new(), number: 0 }
    }
}

fn edit(change: &Change, configuration: &Configuration<'_>, texts: &Texts<'_>) -> (usize, Edit) {
    match change {
        Change::Remove(at) => {
            let place = configuration.statements[*at].node.place;
            let line = &configuration.reading.sources[place.source].lines[place.line];
            (place.source, Edit { span: line.span.clone(), text: Vec::new() })
        }
        Change::Replace(at, part, text) => {
            let statement = &configuration.statements[*at];
            let span = texts.bytes_of(statement, part);
            (statement.node.place.source, Edit { span, text: text.clone().into_bytes() })
        }
    }
}
