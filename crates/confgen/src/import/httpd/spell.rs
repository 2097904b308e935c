//! Values of httpd in the words of a spec, and directives as text.

use serde_json::Value;

use crate::conf::reader::Node;

/// A directive or section as lines of text. Conditions, includes, macros and variables have been replaced by what they stand for.
pub(super) fn text(node: &Node) -> String {
    let mut text = String::new();
    lines(node, 0, &mut text);
    text
}

fn lines(node: &Node, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let arguments = String::from_utf8_lossy(&node.arguments).into_owned();
    let space = if arguments.is_empty() { "" } else { " " };
    match &node.children {
        None => *text += &format!("{indent}{}{space}{arguments}\n", node.name),
        Some(children) => {
            *text += &format!("{indent}<{}{space}{arguments}>\n", node.name);
            for child in children {
                lines(child, depth + 1, text);
            }
            *text += &format!("{indent}</{}>\n", node.name);
        }
    }
}

/// Seconds as a time.
pub(super) fn seconds(text: &str) -> Option<Value> {
    let seconds: u64 = text.parse().ok()?;
    // A number of more than nine digits has no form of its own.
    Some(Value::from(match seconds {
        0..=999_999_999 => format!("{seconds}s"),
        _ => format!("{}m{}s", seconds / 60, seconds % 60),
    }))
}

/// A number.
pub(super) fn number(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}

/// `On` and `Off`.
pub(super) fn switch(text: &str) -> Option<Value> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Some(Value::from(true)),
        "off" => Some(Value::from(false)),
        _ => None,
    }
}

/// A name as the keys of `daemons` and `sites` may be.
pub(super) fn name(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-') { letter } else { '-' })
        .take(60)
        .collect();
    match plain.trim_start_matches('-') {
        "" => "main".to_owned(),
        name => name.to_owned(),
    }
}

/// An interpreter of the configuration.
pub(super) fn interpreter(text: &str) -> String {
    match text {
        "%{GLOBAL}" | "" => "main".to_owned(),
        "%{RESOURCE}" => "resource".to_owned(),
        other => other.to_owned(),
    }
}
