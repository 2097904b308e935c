//! `${NAME}`: definitions of the configuration first, then httpd's environment. What is not defined stays as it is.

use std::collections::BTreeMap;

/// Replaces variables in a text; unknown ones are reported and stay.
pub(super) fn resolve<'a>(
    text: &[u8],
    lookup: impl Fn(&[u8]) -> Option<&'a [u8]>,
    mut unknown: impl FnMut(&[u8]),
) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = find(rest, b"${") {
        result.extend_from_slice(&rest[..start]);
        let after = &rest[start + 2..];
        let Some(end) = after.iter().position(|byte| *byte == b'}') else {
            result.extend_from_slice(&rest[start..]);
            return result;
        };
        let name = &after[..end];
        match lookup(name) {
            Some(value) => result.extend_from_slice(value),
            None => {
                unknown(name);
                result.extend_from_slice(&rest[start..start + 2 + end + 1]);
            }
        }
        rest = &after[end + 1..];
    }
    result.extend_from_slice(rest);
    result
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Names that are defined; those with a value are variables too.
#[derive(Clone, Debug, Default)]
pub(super) struct Defines {
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Defines {
    pub(super) fn set(&mut self, name: &[u8], value: Option<Vec<u8>>) {
        self.values.insert(name.to_vec(), value);
    }

    pub(super) fn unset(&mut self, name: &[u8]) {
        self.values.remove(name);
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.values.get(name)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_stay() {
        let lookup = |name: &[u8]| (name == b"A").then_some(b"1".as_slice());
        let mut unknown = Vec::new();
        let text = resolve(b"x${A}y${B}${A", lookup, |name| unknown.push(name.to_vec()));
        assert_eq!(text, b"x1y${B}${A");
        assert_eq!(unknown, [b"B".to_vec()]);
    }
}
