//! Schemas with alternatives: one of them has to fit, and the one that was most likely meant says what is wrong.

use serde_json::Value as Json;

use super::super::node::Value;
use super::super::path::Path;
use super::super::vocabulary::{property_names, required, words, words_of};
use super::walker::{Place, Walker};
use crate::diagnostic::Diagnostic;

impl<'s> Walker<'s> {
    /// The alternatives of a schema, nested ones included.
    pub(super) fn branches(&self, schema: &'s Json) -> Vec<&'s Json> {
        let mut branches = Vec::new();
        for keyword in ["anyOf", "oneOf"] {
            for branch in schema.get(keyword).and_then(Json::as_array).into_iter().flatten() {
                let branch = self.resolve(branch);
                let nested = self.branches(branch);
                // An alternative that has words of its own for what it takes is judged as one.
                match nested.is_empty() || branch.get("x-expected").is_some() {
                    true => branches.push(branch),
                    false => branches.extend(nested),
                }
            }
        }
        branches
    }

    /// One alternative has to fit. When none does, the errors of the one that was most likely meant are shown.
    pub(super) fn visit_branches(&mut self, schema: &'s Json, branches: &[&'s Json], place: &Place<'_>) {
        let attempt = |branch: &'s Json| {
            let mut walker = Walker { root: self.root, found: Vec::new() };
            walker.visit(branch, place);
            walker.found
        };
        let mut results: Vec<(&'s Json, Vec<(Path, Diagnostic)>)> = Vec::with_capacity(branches.len());
        for branch in branches {
            let found = attempt(branch);
            if found.is_empty() {
                return;
            }
            results.push((branch, found));
        }
        let words: Vec<&str> = branches.iter().flat_map(|branch| words(branch)).collect();
        let fitting: Vec<usize> = (0..results.len())
            .filter(|index| self.type_fits(results[*index].0, place.node) && words_of(results[*index].0).is_none())
            .collect();
        match (&place.node.value, fitting.as_slice()) {
            // A word where words are expected, and no other text fits.
            (Value::String(text), []) if !words.is_empty() => self.unknown_word(text, &words, place),
            (Value::String(text), [_, ..]) if schema.get("x-expected").is_some() => {
                self.wrong_form(schema, text, place)
            }
            (_, [only]) => {
                let (_, found) = results.swap_remove(*only);
                self.found.extend(found);
            }
            (Value::Map(_), [_, ..]) => self.visit_map_branches(&fitting, results, place),
            (_, [_, ..]) => {
                let best = fitting.into_iter().min_by_key(|index| results[*index].1.len()).unwrap_or_default();
                let (_, found) = results.swap_remove(best);
                self.found.extend(found);
            }
            (_, []) => self.wrong_type(schema, place),
        }
    }

    /// Among several alternatives for a map, the one that shares most keys is meant; when each alternative is told by
    /// one key (an enum with content) and none of them is there, the keys are listed.
    pub(super) fn visit_map_branches(
        &mut self,
        fitting: &[usize],
        mut results: Vec<(&'s Json, Vec<(Path, Diagnostic)>)>,
        place: &Place<'_>,
    ) {
        let Some(map) = place.node.as_map() else { return };
        let known =
            |branch: &Json, key: &str| branch.get("properties").is_some_and(|properties| properties.get(key).is_some());
        let score = |branch: &Json| {
            let shared = map.entries.iter().filter(|entry| known(branch, &entry.key)).count();
            let required = required(branch).filter(|key| map.entry(key).is_some()).count();
            (required, shared)
        };
        let best = fitting
            .iter()
            .copied()
            .max_by_key(|index| (score(results[*index].0), std::cmp::Reverse(results[*index].1.len())));
        let Some(best) = best else { return };
        if score(results[best].0) == (0, 0) {
            let keys: Vec<&str> = fitting.iter().flat_map(|index| property_names(results[*index].0)).collect();
            if let Some(entry) = map.entries.first()
                && !keys.is_empty()
            {
                self.unknown_key(entry, &keys, place);
                return;
            }
        }
        let (_, found) = results.swap_remove(best);
        self.found.extend(found);
    }
}
