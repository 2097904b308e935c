//! Steps made ready to run: expressions are parsed, holes are filled when their turn comes.

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::expression::{EvaluationError, Expression, Scope};
use super::schema::{STEPS, Step, StepKind};
use super::template::{self, Places, TemplateError};
use super::value::Value;
use crate::runner::outcome::{Failure, FailureKind};

/// A step that is ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedStep {
    /// Its place in the scenario.
    pub pointer: String,
    /// Its kind.
    pub kind: StepKind,
    /// Its id.
    pub id: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Whether its failures are recorded only.
    pub soft: bool,
    /// The steps inside: what a `wait` repeats, what concurrent clients do.
    pub nested: Vec<PreparedStep>,
    condition: Option<Expression>,
    until: Option<Expression>,
    captures: Vec<(String, Expression)>,
    value: Json,
}

/// What a repeated step does one after the other: the names that each turn knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Turns {
    /// The names of each turn with their values; `index` is among them.
    pub names: Vec<IndexMap<String, Value>>,
}

impl PreparedStep {
    /// Makes a step ready. The loader has reported everything that is wrong with it; what is left here is nothing at all.
    #[must_use]
    pub fn new(value: &Json, pointer: &str) -> Option<Self> {
        let kind = STEPS.iter().find(|step| value.get(step.name).is_some())?.kind;
        let expression =
            |source: Option<&Json>| source.and_then(Json::as_str).and_then(|source| Expression::parse(source).ok());
        let text = |key: &str| value.get(key).and_then(Json::as_str).map(str::to_owned);
        let captures = value.get("capture").and_then(Json::as_object).into_iter().flatten();
        let mut nested = Vec::new();
        for key in kind.definition().nested {
            let place = format!("{pointer}/{}/{key}", kind.name());
            match value.get(kind.name()).and_then(|own| own.get(key)) {
                Some(Json::Array(steps)) => {
                    nested.extend(
                        steps
                            .iter()
                            .enumerate()
                            .filter_map(|(index, step)| Self::new(step, &format!("{place}/{index}"))),
                    );
                }
                Some(step) => nested.extend(Self::new(step, &place)),
                None => {}
            }
        }
        Some(Self {
            pointer: pointer.to_owned(),
            kind,
            id: text("id"),
            title: text("title"),
            soft: value.get("soft").and_then(Json::as_bool).unwrap_or(false),
            nested,
            condition: expression(value.get("if")),
            until: expression(value.pointer("/repeat/until")),
            captures: captures.filter_map(|(name, source)| Some((name.clone(), expression(Some(source))?))).collect(),
            value: value.clone(),
        })
    }

    /// What reports call the step.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.id.as_deref().or(self.title.as_deref())
    }

    /// Whether its `if` holds.
    ///
    /// # Errors
    /// Where it cannot be evaluated.
    pub fn applies(&self, scope: &Scope<'_>) -> Result<bool, Failure> {
        match &self.condition {
            None => Ok(true),
            Some(condition) => {
                condition.holds(scope).map_err(|error| evaluation(error, format!("{}/if", self.pointer)))
            }
        }
    }

    /// The turns of a repeated step; nothing for a step that is done once.
    ///
    /// # Errors
    /// Where a hole cannot be filled, or a list is none.
    pub fn turns(&self, scope: &Scope<'_>, places: &Places) -> Result<Option<Turns>, Failure> {
        let (repeat, each) = (self.value.get("repeat"), self.value.get("for-each").and_then(Json::as_object));
        if repeat.is_none() && each.is_none() {
            return Ok(None);
        }
        let mut turns = vec![IndexMap::new()];
        for (name, list) in each.into_iter().flatten() {
            let pointer = format!("{}/for-each/{name}", self.pointer);
            let Json::Array(values) = fill(list, scope, places, &pointer, &|_| false)? else {
                return Err(Failure::new(FailureKind::Expression, pointer, "`for-each` needs a list"));
            };
            turns = turns
                .iter()
                .flat_map(|turn: &IndexMap<String, Value>| {
                    values.iter().map(|value| {
                        let mut turn = turn.clone();
                        turn.insert(name.clone(), Value::from(value));
                        turn
                    })
                })
                .collect();
        }
        if let Some(repeat) = repeat {
            let pointer = format!("{}/repeat", self.pointer);
            let times = fill(repeat.get("times").unwrap_or(repeat), scope, places, &pointer, &|_| false)?;
            let Some(times) = times.as_u64().filter(|times| *times <= 1_000_000) else {
                return Err(Failure::new(FailureKind::Expression, pointer, "`repeat` needs a number of times"));
            };
            turns = (0..times).flat_map(|_| turns.clone()).collect();
        }
        for (index, turn) in turns.iter_mut().enumerate() {
            turn.insert("index".to_owned(), index.into());
        }
        Ok(Some(Turns { names: turns }))
    }

    /// Whether a repetition ends after this result.
    ///
    /// # Errors
    /// Where `until` cannot be evaluated.
    pub fn ends_with(&self, result: &Value, scope: &Scope<'_>) -> Result<bool, Failure> {
        match &self.until {
            None => Ok(false),
            Some(until) => until
                .holds(&scope.with_members(result))
                .map_err(|error| evaluation(error, format!("{}/repeat/until", self.pointer))),
        }
    }

    /// The step with its holes filled. Steps inside keep theirs.
    ///
    /// # Errors
    /// Where a hole cannot be filled, or what it is filled with does not fit.
    pub fn resolve(&self, scope: &Scope<'_>, places: &Places) -> Result<Step, Failure> {
        let kind = self.kind.name();
        let nested = self.kind.definition().nested;
        // Expressions that stand bare, and steps that are filled in their own turn.
        let skip = |path: &[&str]| match path {
            ["if" | "capture" | "repeat" | "for-each"] => true,
            [own, key] if *own == kind => nested.contains(key),
            ["check", .., "that"] => true,
            _ => false,
        };
        let mut value = fill(&self.value, scope, places, &self.pointer, &skip)?;
        if let Some(step) = value.as_object_mut() {
            step.shift_remove("repeat");
            step.shift_remove("for-each");
        }
        serde_json::from_value(value)
            .map_err(|error| Failure::new(FailureKind::Expression, &self.pointer, error.to_string()))
    }

    /// The names that the step gives to parts of its result.
    ///
    /// # Errors
    /// Where a part cannot be taken.
    pub fn captured(&self, result: &Value, scope: &Scope<'_>) -> Result<Vec<(String, Value)>, Failure> {
        if self.captures.is_empty() {
            return Ok(Vec::new());
        }
        let scope = scope.with_members(result);
        self.captures
            .iter()
            .map(|(name, expression)| match expression.evaluate(&scope) {
                Ok(value) => Ok((name.clone(), value)),
                Err(error) => Err(evaluation(error, format!("{}/capture/{name}", self.pointer))),
            })
            .collect()
    }

    /// The names that the step and those inside give to parts of their results.
    #[must_use]
    pub fn captured_names(&self) -> Vec<String> {
        let own = self.captures.iter().map(|(name, _)| name.clone());
        let ids = self.nested.iter().filter_map(|step| step.id.clone());
        own.chain(ids).chain(self.nested.iter().flat_map(Self::captured_names)).collect()
    }

    /// The step as it was written.
    #[must_use]
    pub const fn value(&self) -> &Json {
        &self.value
    }

    /// Whether the step or one inside demands that something takes at most a certain time.
    #[must_use]
    pub fn bounds_time_from_above(&self) -> bool {
        fn upper(matcher: &Json) -> bool {
            match matcher {
                Json::String(text) => text.trim_start().starts_with('<'),
                Json::Object(operators) => operators.contains_key("lt") || operators.contains_key("le"),
                _ => false,
            }
        }
        fn bounded(check: &Json) -> bool {
            let duration = check.get("duration").is_some_and(upper);
            let that = check.get("that").and_then(Json::as_array).into_iter().flatten();
            let that = that.filter_map(Json::as_str).filter_map(|source| Expression::parse(source).ok());
            duration
                || that.into_iter().any(|expression| expression.bounds_time_from_above())
                || ["all", "any"].iter().any(|key| check.get(key).is_some_and(bounded))
        }
        self.value.get("check").is_some_and(bounded) || self.nested.iter().any(Self::bounds_time_from_above)
    }
}

fn evaluation(error: EvaluationError, pointer: String) -> Failure {
    let kind = if error.may_pass { FailureKind::Check } else { FailureKind::Expression };
    let mut failure = Failure::new(kind, pointer, error.message);
    failure.within = Some(error.span);
    failure.notes.extend(error.help);
    failure
}

/// A hole that cannot be filled, as a failure.
pub(crate) fn unfilled(error: TemplateError, pointer: &str) -> Failure {
    let mut failure = Failure::new(FailureKind::Expression, pointer, error.message);
    failure.within = Some(error.span);
    failure.notes.extend(error.help);
    failure
}

/// Fills the holes of all texts of a value but those below the paths that `skip` names.
fn fill(
    value: &Json,
    scope: &Scope<'_>,
    places: &Places,
    pointer: &str,
    skip: &dyn Fn(&[&str]) -> bool,
) -> Result<Json, Failure> {
    fn walk<'v>(
        value: &'v Json,
        path: &mut Vec<&'v str>,
        pointer: &str,
        fill: &dyn Fn(&str) -> Result<Json, TemplateError>,
        skip: &dyn Fn(&[&str]) -> bool,
    ) -> Result<Json, Failure> {
        if skip(path) {
            return Ok(value.clone());
        }
        match value {
            Json::String(text) => fill(text).map_err(|error| unfilled(error, pointer)),
            Json::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| walk(item, path, &format!("{pointer}/{index}"), fill, skip))
                .collect::<Result<_, _>>()
                .map(Json::Array),
            Json::Object(members) => {
                let mut filled = serde_json::Map::new();
                for (key, member) in members {
                    path.push(key);
                    let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let value = walk(member, path, &place, fill, skip);
                    path.pop();
                    filled.insert(key.clone(), value?);
                }
                Ok(Json::Object(filled))
            }
            other => Ok(other.clone()),
        }
    }
    walk(value, &mut Vec::new(), pointer, &|text| template::fill(text, scope, places), skip)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scenario::schema::Action;

    fn step(value: Json) -> PreparedStep {
        PreparedStep::new(&value, "/steps/0").unwrap()
    }

    fn scope() -> Scope<'static> {
        let mut scope = Scope::new();
        scope.set("pid", 4711i64);
        scope.set("n", 3i64);
        scope
    }

    #[test]
    fn holes_are_filled_with_their_types() {
        let step = step(json!({"concurrent": {"n": "${{ n }}", "each": {"http": {"get": "/${{ client }}"}}}}));
        let resolved = step.resolve(&scope(), &Places::sample()).unwrap();
        let Some(Action::Concurrent(concurrent)) = resolved.action() else { panic!() };
        assert_eq!(concurrent.n, Some(3));
        assert_eq!(step.nested[0].pointer, "/steps/0/concurrent/each");
        let mut client = scope();
        client.set("client", 1i64);
        let inner = step.nested[0].resolve(&client, &Places::sample()).unwrap();
        assert_eq!(inner.http.unwrap().target().path, "/1");
    }

    #[test]
    fn an_unfilled_hole_has_its_place() {
        let step = step(json!({"signal": {"send": "TERM", "to": "pid ${{ pdi }}"}}));
        let failure = step.resolve(&scope(), &Places::sample()).unwrap_err();
        assert_eq!((failure.pointer.as_str(), failure.within), ("/steps/0/signal/to", Some(8..11)));
        assert_eq!(failure.notes, ["did you mean `pid`?"]);
    }

    #[test]
    fn what_does_not_fit_is_a_failure() {
        let failure = step(json!({"signal": {"send": "TERM", "to": "pid ${{ 0 }}"}}))
            .resolve(&scope(), &Places::sample())
            .unwrap_err();
        assert!(failure.message.contains("no process id"), "{}", failure.message);
    }

    #[test]
    fn turns() {
        let turns = |value| step(value).turns(&scope(), &Places::sample());
        assert_eq!(turns(json!({"http": {"get": "/"}})), Ok(None));
        assert_eq!(turns(json!({"repeat": "${{ n }}", "http": {"get": "/"}})).unwrap().unwrap().names.len(), 3);
        let both =
            turns(json!({"repeat": 2, "for-each": {"a": [1, 2], "b": ["x"]}, "http": {"get": "/"}})).unwrap().unwrap();
        assert_eq!(both.names.len(), 4);
        assert_eq!(both.names[3]["a"], Value::Int(2));
        assert_eq!(both.names[3]["index"], Value::Int(3));
        assert!(turns(json!({"for-each": {"a": 1}, "http": {"get": "/"}})).is_err());
    }

    #[test]
    fn captures_and_conditions() {
        let step = step(
            json!({"if": "n > 2", "capture": {"x": "json.a"}, "repeat": {"times": 9, "until": "json.a == n"}, "http": {"get": "/"}}),
        );
        assert_eq!(step.applies(&scope()), Ok(true));
        let result = Value::record([("json", Value::from(&json!({"a": 3})))]);
        assert_eq!(step.captured(&result, &scope()).unwrap(), [("x".to_owned(), Value::Int(3))]);
        assert_eq!(step.ends_with(&result, &scope()), Ok(true));
    }

    #[test]
    fn time_bounds_are_seen_wherever_they_stand() {
        for bounded in [
            json!({"http": {"get": "/"}, "check": {"duration": "< 500ms"}}),
            json!({"http": {"get": "/"}, "check": {"duration": {"le": "1s"}}}),
            json!({"concurrent": {"each": {"http": {"get": "/"}}}, "check": {"all": {"duration": "<1s"}}}),
            json!({"concurrent": {"each": {"http": {"get": "/"}, "check": {"that": ["duration < 1s"]}}}}),
        ] {
            assert!(step(bounded.clone()).bounds_time_from_above(), "{bounded}");
        }
        assert!(!step(json!({"http": {"get": "/"}, "check": {"duration": "> 2s"}})).bounds_time_from_above());
    }
}
