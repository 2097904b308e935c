//! `<WSGIInterpreterOptions>`: values for the interpreters that a block selects, and what they come to in a process.

use wsgi_protocol::launch::Scope;

/// The values of directives that may stand in a block. Unset ones are left to less specific blocks, and in the end to
/// the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scoped {
    pub(crate) python_path: Option<Vec<u8>>,
    pub(crate) switch_interval: Option<f64>,
    pub(crate) own_gil: Option<bool>,
    pub(crate) free_threading: Option<bool>,
    pub(crate) restrict_stdin: Option<bool>,
    pub(crate) restrict_stdout: Option<bool>,
    pub(crate) restrict_signal: Option<bool>,
}

/// One block.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    /// `process-group=`; empty is embedded mode.
    pub(crate) process_group: Option<Vec<u8>>,
    /// `application-group=`; empty is the main interpreter.
    pub(crate) application_group: Option<Vec<u8>>,
    pub(crate) values: Scoped,
}

impl Block {
    fn specificity(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }
}

/// The blocks that apply to a process, least specific first; of equals the later one comes later, and wins.
fn applying<'m>(blocks: &'m [Block], process_group: &[u8]) -> Vec<&'m Block> {
    let selected = |block: &&Block| block.process_group.as_ref().is_none_or(|group| group == process_group);
    let mut blocks: Vec<&Block> = blocks.iter().filter(selected).collect();
    blocks.sort_by_key(|block| block.specificity());
    blocks
}

/// What holds for a process as a whole: blocks that name an application group do not count.
pub(crate) fn of_process<T: Copy>(
    server: &Scoped,
    blocks: &[Block],
    process_group: &[u8],
    value: impl Fn(&Scoped) -> Option<T>,
) -> Option<T> {
    let blocks = applying(blocks, process_group);
    let blocks = blocks.iter().rev().filter(|block| block.application_group.is_none());
    blocks.map(|block| &block.values).chain([server]).find_map(value)
}

/// What the interpreters of a process differ in, least specific first.
pub(crate) fn scopes(server: &Scoped, blocks: &[Block], process_group: &[u8]) -> Vec<Scope> {
    let own_gil = server.own_gil.map(|own_gil| Scope { own_gil: Some(own_gil), ..Scope::default() });
    let blocks = applying(blocks, process_group).into_iter().map(|block| {
        let Scoped { python_path, switch_interval, own_gil, restrict_stdin, restrict_stdout, restrict_signal, .. } =
            &block.values;
        Scope {
            application_group: block.application_group.clone(),
            restrict_stdin: *restrict_stdin,
            restrict_stdout: *restrict_stdout,
            restrict_signal: *restrict_signal,
            // The process's own interval is among its values already.
            switch_interval: switch_interval.filter(|_| block.application_group.is_some()),
            own_gil: *own_gil,
            path: split_path(python_path.as_deref()),
        }
    });
    own_gil.into_iter().chain(blocks).collect()
}

/// The entries of a search path.
pub(crate) fn split_path(path: Option<&[u8]>) -> Vec<Vec<u8>> {
    let entries = path.into_iter().flat_map(|path| path.split(|byte| *byte == b':'));
    entries.filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(process_group: Option<&str>, application_group: Option<&str>, stdin: bool) -> Block {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let values = Scoped { restrict_stdin: Some(stdin), ..Scoped::default() };
        Block { process_group: bytes(process_group), application_group: bytes(application_group), values }
    }

    fn stdin(blocks: &[Block], process_group: &str) -> Vec<(Option<Vec<u8>>, Option<bool>)> {
        let scopes = scopes(&Scoped::default(), blocks, process_group.as_bytes());
        scopes.into_iter().map(|scope| (scope.application_group, scope.restrict_stdin)).collect()
    }

    // Covers: rule:config/interpreter-options-specific, rule:config/interpreter-options-match
    #[test]
    fn the_most_specific_block_comes_last_and_later_equals_after_earlier_ones() {
        let blocks = [
            block(Some("web"), Some("a"), true),
            block(None, Some("a"), false),
            block(Some("web"), None, true),
            block(None, None, false),
            block(Some("other"), None, true),
            block(Some(""), Some("a"), true),
        ];
        let a = || Some(b"a".to_vec());
        assert_eq!(
            stdin(&blocks, "web"),
            [(None, Some(false)), (a(), Some(false)), (None, Some(true)), (a(), Some(true))]
        );
        assert_eq!(stdin(&blocks, ""), [(None, Some(false)), (a(), Some(false)), (a(), Some(true))]);
    }

    #[test]
    fn a_process_takes_its_values_from_blocks_without_an_application_group() {
        let mut blocks = [block(Some("web"), Some("a"), true), block(Some("web"), None, true), block(None, None, true)];
        for (block, interval) in blocks.iter_mut().zip([0.1, 0.2, 0.3]) {
            block.values.switch_interval = Some(interval);
        }
        let server = Scoped { switch_interval: Some(0.4), ..Scoped::default() };
        let interval = |group: &[u8]| of_process(&server, &blocks, group, |values| values.switch_interval);
        assert_eq!((interval(b"web"), interval(b"")), (Some(0.2), Some(0.3)));
        assert_eq!(of_process(&server, &[], b"", |values| values.switch_interval), Some(0.4));
        let scopes = scopes(&server, &blocks, b"web");
        let intervals: Vec<_> = scopes.iter().map(|scope| scope.switch_interval).collect();
        assert_eq!(intervals, [None, None, Some(0.1)]);
    }

    #[test]
    fn a_path_has_entries() {
        assert_eq!(split_path(Some(b"/a::/b:")), [b"/a".to_vec(), b"/b".to_vec()]);
        assert!(split_path(None).is_empty());
    }
}
