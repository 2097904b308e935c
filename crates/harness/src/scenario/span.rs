//! From a part of a text back to its place in the file, which may have been quoted, folded or indented.

use std::ops::Range;

use confgen::document::{Node, Path, Span};

/// The place of a JSON pointer, or of its nearest ancestor.
#[must_use]
pub fn of_pointer(root: &Node, pointer: &str) -> Span {
    Path::from_pointer(pointer, root).map_or_else(|_| root.span.clone(), |path| path.span(root))
}

/// The node at a JSON pointer.
#[must_use]
pub fn node_at<'n>(root: &'n Node, pointer: &str) -> Option<&'n Node> {
    Path::from_pointer(pointer, root).ok()?.find(root)
}

/// The place of a part of a node's text. The part is looked up in the source as it was written; where quoting has
/// changed it, the whole value is meant.
#[must_use]
pub fn of_part(node: &Node, part: &Range<usize>) -> Span {
    let whole = node.span.clone();
    let Some(text) = node.as_str() else { return whole };
    let written = whole.text();
    let at =
        |range: Range<usize>| Span::new(&whole.source, whole.range.start + range.start..whole.range.start + range.end);
    if let Some(offset) = written.find(text) {
        return at(offset + part.start..offset + part.end.max(part.start));
    }
    // A block of several lines lost its indentation: look for the part's own line, as often as it occurs before.
    let Some(fragment) = text.get(part.clone()).filter(|fragment| !fragment.is_empty()) else { return whole };
    let before = text[..part.start].matches(fragment).count();
    match written.match_indices(fragment).nth(before) {
        Some((offset, _)) => at(offset..offset + fragment.len()),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use confgen::document::{Document, Format};

    use super::*;

    fn place(yaml: &str, part: &str) -> String {
        let document = Document::parse("s.yaml", yaml, Format::Yaml).unwrap();
        let node = node_at(&document.root, "/a").unwrap();
        let start = node.as_str().unwrap().rfind(part).unwrap();
        let span = of_part(node, &(start..start + part.len()));
        let (line, column) = span.line_column();
        format!("{line}:{column} {}", span.text())
    }

    #[test]
    fn parts_are_found_again() {
        assert_eq!(place("a: x.ok and y.ok\n", "y.ok"), "1:13 y.ok");
        assert_eq!(place("a: 'x.ok and y.ok'\n", "y.ok"), "1:14 y.ok");
        assert_eq!(place("a: |\n  one ${{ x }}\n  two ${{ x }}\n", "x"), "3:11 x");
    }

    #[test]
    fn a_changed_text_is_meant_as_a_whole() {
        assert_eq!(place("a: \"x\\ty.ok\"\n", "\ty"), "1:4 \"x\\ty.ok\"");
    }

    #[test]
    fn pointers_find_the_nearest_place() {
        let document = Document::parse("s.yaml", "a:\n  b: 1\n", Format::Yaml).unwrap();
        assert_eq!(of_pointer(&document.root, "/a/b/c").line_column(), (2, 6));
        assert_eq!(of_pointer(&document.root, "/a/x").line_column(), (1, 1));
    }
}
