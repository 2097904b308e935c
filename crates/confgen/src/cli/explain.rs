//! `confgen explain`.

use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::diagnostic::{CODES, Code, CodeInfo, Diagnostic};
use crate::lint::{self, RULES, Rule};

/// Explain a code of an error or warning; without one, list them.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code, for example CG103.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let codes = all();
        let Some(id) = &self.code else {
            match context.json {
                true => context.print_json(&codes.iter().map(|code| as_json(code.info())).collect()),
                false => context.print(
                    &codes.iter().map(|code| format!("{}  {}\n", code.id(), code.info().title)).collect::<String>(),
                ),
            }
            return Ok(Exit::Ok);
        };
        let Some(code) = Code::find(&codes, id) else {
            let mut diagnostic = Diagnostic::error(Code::UnknownValue, format!("there is no code `{id}`"));
            let upper = id.to_uppercase();
            if upper.starts_with("HS") {
                diagnostic =
                    diagnostic.note(format!("codes with HS are those of the harness: `harness explain {upper}`"));
            }
            return Err(Failure::new(
                Exit::Spec,
                diagnostic.did_you_mean(&id.to_uppercase(), codes.iter().map(|code| code.id())),
            ));
        };
        let info = code.info();
        match context.json {
            true => context.print_json(&as_json(info)),
            false => {
                let text = format!("{}: {}\n\nCause: {}\n\nFix: {}\n", info.id, info.title, info.cause, info.fix);
                context.print(&(text + &rule_of(info).map(examples).unwrap_or_default()));
            }
        }
        Ok(Exit::Ok)
    }
}

/// The codes of every table, in order.
fn all() -> Vec<Code> {
    let mut codes: Vec<Code> = CODES.iter().copied().chain(lint::codes()).collect();
    codes.sort_by_key(|code| code.id());
    codes
}

fn rule_of(info: &CodeInfo) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code.id() == info.id)
}

fn as_json(info: &CodeInfo) -> Value {
    let mut answer = json!({"code": info.id, "title": info.title, "cause": info.cause, "fix": info.fix});
    if let Some(rule) = rule_of(info) {
        answer["rule"] = json!({"name": rule.name, "severity": rule.severity, "bad": rule.bad, "good": rule.good});
    }
    answer
}

/// A configuration in which a rule finds something, and the same one mended.
fn examples(rule: &Rule) -> String {
    let lines = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!("\nReported for:\n\n{}\nNot for:\n\n{}", lines(rule.bad), lines(rule.good))
}
