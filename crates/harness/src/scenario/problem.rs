//! What is wrong with a scenario: findings of confgen's library, with the harness's own codes.

use confgen::diagnostic::{CODES as SPEC_CODES, Code as AnyCode, Diagnostic};

/// A finding about a scenario.
pub type Problem = Diagnostic;

/// The codes of the harness.
#[derive(Debug)]
pub enum Code {}

confgen::codes! {
    Code, CODES:
    /// The text is not well-formed.
    Syntax = "HS101", "not well-formed",
        "The file is not well-formed YAML, so nothing in it could be read.",
        "Repair the place that the caret shows. Look at the indentation and at unquoted `:`, `#`, `[` and `{` first.";
    /// A key stands twice.
    DuplicateKey = "HS102", "a key is given twice",
        "A map has the same key twice. One of the two would win silently, so neither is taken.",
        "Remove one of them, or merge the two values.";
    /// A key that is not known.
    UnknownKey = "HS103", "unknown key",
        "The key is not part of the format at this place. It would have no effect.",
        "Correct the spelling; docs/scenario-format.md has every key.";
    /// A value of another type.
    Type = "HS104", "wrong type",
        "The value has another type than the key takes.",
        "Write a value of the type that the message names. In YAML a quoted number is text.";
    /// A number outside its range.
    Range = "HS105", "out of range",
        "The number is smaller or larger than the key allows.",
        "Use a value within the range that the message names.";
    /// A word that is not among the allowed ones.
    UnknownValue = "HS106", "unknown value",
        "The value is not one of those that the key takes.",
        "Use one of the values that the message lists.";
    /// Something that has to be there is not.
    Missing = "HS107", "a key is missing",
        "A key that this place needs is not there.",
        "Add the key that the message names.";
    /// Text that does not have the needed form.
    Form = "HS108", "wrong form",
        "The text does not have the form that the key takes, or cannot be read as what it stands for.",
        "Write it in the form that the message names.";
    /// A text that is no expression.
    Expression = "HS201", "not an expression",
        "The text at `symptom`, `healthy`, `if`, `that`, a capture or inside `${{ }}` is not an expression.",
        "Repair the place that the caret shows; docs/scenario-format.md has the language.";
    /// A name that an expression cannot speak of.
    UnknownName = "HS202", "unknown name",
        "The expression names something that no earlier step, variable or axis defines.",
        "Give the step the `id`, or correct the name. A step knows only those before it.";
    /// A member that a value does not have.
    UnknownMember = "HS203", "unknown member",
        "The result of a step of this kind does not have the member.",
        "Use one of the members that the message lists.";
    /// A `${…}` that names nothing, or does not end.
    Placeholder = "HS204", "unknown place",
        "A `${…}` names nothing that the harness fills in, or has no end.",
        "Use `${dir}`, `${port}`, `${venv}` or `${{ EXPRESSION }}`. A dollar sign itself is written `$$`.";
    /// A text that is no regular expression.
    Regex = "HS205", "not a regular expression",
        "The pattern is not a regular expression, so nothing could match it.",
        "Repair the place that the caret shows. In YAML, patterns are best quoted with single quotes.";
    /// A comparison that has no result, such as that of a duration with a number.
    Comparison = "HS206", "values that cannot be compared",
        "Values of these types are never equal, less or greater, so that the comparison could only fail.",
        "Compare values of one type: times have units, as in `1000ms`.";
    /// A name that has a meaning elsewhere, such as `client` outside of a concurrent step.
    OutOfPlace = "HS207", "a name out of its place",
        "The name has a value only at another place, such as `client` inside a concurrent step.",
        "Move it to where it has a value, or use another name.";
    /// A step without a kind, or with several.
    StepKind = "HS301", "not exactly one kind of step",
        "A step does one thing: it has exactly one of the keys that name a kind, such as `http` or `exec`.",
        "Give it one kind, or make several steps of it.";
    /// A step that lacks something, or contradicts itself.
    StepContent = "HS302", "an incomplete step",
        "The step lacks something that its kind needs, or has keys that exclude each other.",
        "Add or remove the keys that the message names.";
    /// A name that stands for two things.
    DuplicateName = "HS303", "a name is used twice",
        "Two steps, captures or variables have the same name, so that an expression could mean either.",
        "Give one of them another name.";
    /// Something refers to nothing.
    Reference = "HS304", "refers to nothing",
        "A step refers to another one, to a file or to a process that is not there.",
        "Correct the name, or add what it refers to.";
    /// Something speaks of a daemon group that the server does not have.
    Daemon = "HS305", "unknown daemon group",
        "An application or a step names a daemon group that the server of the cell does not define.",
        "Correct the name, or add the group to `server.daemons`.";
    /// Two scenarios with one id.
    DuplicateScenario = "HS401", "two scenarios have the same id",
        "An id stands for one scenario: reports and the history of times go by it.",
        "Give one of the two another `id`.";
    /// No condition of an `expect` fits a cell.
    Expectation = "HS402", "no expectation for a cell",
        "The conditions of `expect` leave a cell for which nothing is expected.",
        "Add a condition that fits the cell, or exclude the cell from the matrix.";
    /// A list of conditions is missing.
    NoConditions = "HS403", "nothing to decide by",
        "A cell is expected to show the symptom or health, and the list of conditions for that is empty.",
        "Add `symptom` or `healthy`.";
    /// The matrix leaves no cell.
    NoCells = "HS404", "no cells",
        "The axes and exclusions of `matrix` leave nothing to run.",
        "Take exclusions away, or values that exclude each other.";
    /// `symptom` and `healthy` are the same list.
    SameConditions = "HS405", "symptom and healthy are equal",
        "The two lists are the same, so that a cell would be called both ill and healthy.",
        "State in each list what the other one excludes; or say why both hold with `vacuous: REASON`.";
    /// A symptom without its opposite.
    NoOpposite = "HS406", "a symptom without a healthy list",
        "A scenario with a `symptom` has to say how health looks: otherwise the symptom may hold always.",
        "Add `healthy`, or say with `vacuous: REASON` why there is none.";
    /// An id or a variant that was asked for and does not exist.
    UnknownScenario = "HS407", "no such scenario or variant",
        "The command line names a scenario or a variant that is not in the catalogue.",
        "Correct the name; `harness list` shows all scenarios with their variants.";
    /// A file cannot be read.
    Unreadable = "HS501", "cannot be read",
        "A file or folder that was named cannot be read.",
        "See the message of the system.";
}

impl Code {
    /// The harness's code for a code of confgen's that is about the form of a document. Others, of the nested server, stay.
    fn of_document(code: AnyCode) -> AnyCode {
        let number = code.id().strip_prefix("CG1").filter(|number| *number <= "08");
        let own = number.map(|number| format!("HS1{number}"));
        own.and_then(|id| AnyCode::find(CODES, &id)).unwrap_or(code)
    }

    /// A code of either program.
    #[must_use]
    pub fn find(id: &str) -> Option<AnyCode> {
        AnyCode::find(CODES, id).or_else(|| AnyCode::find(SPEC_CODES, id))
    }

    /// The names of all codes of both programs.
    pub fn ids() -> impl Iterator<Item = &'static str> {
        CODES.iter().chain(SPEC_CODES).map(|code| code.id())
    }
}

/// A finding about a scenario as a document, under the harness's code.
#[must_use]
pub fn of_document(diagnostic: Diagnostic) -> Problem {
    Problem { code: Code::of_document(diagnostic.code), ..diagnostic }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_complete() {
        assert!(CODES.is_sorted_by(|a, b| a.id() < b.id()));
        for code in CODES {
            let info = code.info();
            assert!(info.id.starts_with("HS") && info.id.len() == 5, "{}", info.id);
            assert!(info.cause.ends_with('.') && info.fix.ends_with('.'), "{}", info.id);
            assert_eq!(Code::find(&info.id.to_lowercase()), Some(*code));
        }
        assert_eq!(Code::find("CG103"), Some(AnyCode::UnknownKey));
    }

    #[test]
    fn mistakes_of_a_document_have_our_codes() {
        for (theirs, ours) in [
            (AnyCode::Syntax, Code::Syntax),
            (AnyCode::UnknownKey, Code::UnknownKey),
            (AnyCode::Form, Code::Form),
            (AnyCode::Conflict, AnyCode::Conflict),
        ] {
            assert_eq!(Code::of_document(theirs), ours);
        }
    }
}
