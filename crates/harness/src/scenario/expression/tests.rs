use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Scope<'static> {
    let mut scope = Scope::new();
    let reply = |pid: i64, millis: i64| {
        Value::record([
            ("ok", true.into()),
            ("status", 200i64.into()),
            ("header", Value::from(&json!({"content-type": "text/plain"}))),
            ("json", Value::from(&json!({"pid": pid, "hour": 9, "items": [1, 2, 3], "name": "x"}))),
            ("body", format!("pid={pid};").into()),
            ("duration", Value::Duration(millis * 1_000_000)),
        ])
    };
    scope.set("tokyo", reply(11, 40));
    scope.set("ny", reply(12, 700));
    scope.set("second-tokyo", reply(11, 41));
    let results = Value::List(vec![reply(1, 10), reply(1, 20), reply(2, 3000)]);
    scope.set(
        "storm",
        Value::record([("ok", true.into()), ("elapsed", Value::Duration(3_100_000_000)), ("results", results)]),
    );
    let answers = vec![reply(1, 1), Value::record([("json", Value::Null)])];
    scope.set("mixed", Value::record([("results", Value::List(answers))]));
    scope.set("log", Value::record([("error", "caught signal 15\nbye".into())]));
    scope.set("failed", Value::record([("ok", false.into()), ("json", Value::Null), ("status", Value::Null)]));
    scope
}

fn value(source: &str) -> Result<Value, String> {
    let expression =
        Expression::parse(source).map_err(|error| format!("{}: {}", &source[error.span.clone()], error.message))?;
    let scope = scope();
    expression.evaluate(&scope).map_err(|error| format!("{}: {}", &source[error.span.clone()], error.message))
}

#[track_caller]
fn holds(source: &str) {
    assert_eq!(value(source), Ok(Value::Bool(true)), "{source}");
}

#[test]
fn comparisons() {
    for source in [
        "tokyo.json.hour == 9",
        "tokyo.json.pid != ny.json.pid",
        "tokyo.json.pid == second-tokyo.json.pid",
        "1 < 2 and 2 <= 2 and 3 > 2 and 3 >= 3",
        "2 == 2.0",
        "tokyo.duration < 1s and ny.duration >= 0.7s",
        "\"b\" > 'a'",
        "log.error matches \"signal 15\"",
        "log.error matches 'signal \\d+'",
        "log.error matches \"signal \\d+\"",
        "not (log.error contains \"Traceback\")",
        "log.error contains \"bye\"",
        "tokyo.status in [200, 204] and tokyo.status not in [500]",
        "tokyo.json contains \"pid\"",
        "[1, 2] == [1, 2] and [1] != [2]",
        "tokyo.json.missing == null",
        "failed.json == null and tokyo.json.missing.deeper == null",
        "failed.status != 200",
        "!failed.ok && tokyo.ok || false",
        "10MiB == 10485760 and 1kB == 1000",
    ] {
        holds(source);
    }
}

#[test]
fn aggregates_and_methods() {
    for source in [
        "storm.duration.max > 2.5s and storm.duration.min == 10ms",
        "storm.duration.sum == 3030ms and storm.duration.mean == 1010ms",
        "storm.json.pid.distinct.count == 2",
        "storm.json.pid.count(1) == 2",
        "storm.status.all(200) and storm.ok",
        "storm.results.ok.all",
        "storm.status.none(500) and not storm.status.any(500)",
        "storm.json.pid.sorted.last == 2 and storm.json.pid.first == 1",
        "storm.duration.percentile(50) == 20ms",
        "storm[\"elapsed\"] > 3s",
        "storm.results[0].json.pid == 1 and storm.results[-1].json.pid == 2",
        "tokyo.json.items.1 == 2 and tokyo.json.items.len == 3",
        "tokyo.header[\"Content-Type\"] == 'text/plain' and tokyo.header.content-type == 'text/plain'",
        "tokyo.body.match('pid=(\\d+)').number == tokyo.json.pid",
        "storm.body.match('pid=(\\d+)').distinct == [\"1\", \"2\"]",
        "'a,b'.split(',').count == 2 and ' x '.trim == 'x' and 'AB'.lower() == 'ab'",
        "log.error.lines.count == 2",
        "'{\"a\": [1]}'.json.a.0 == 1",
        "ny.duration.seconds > 0.6",
        "[].min == null",
    ] {
        holds(source);
    }
}

#[test]
fn arithmetic() {
    for source in [
        "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9",
        "7 / 2 == 3.5 and 6 / 2 == 3 and 7 % 4 == 3",
        "-3 + 5 == 2 and --3 == 3",
        "ny.duration - tokyo.duration == 660ms",
        "2 * 50ms == 0.1s and 1s / 4 == 250ms and 1s / 250ms == 4",
        "'a' + 'b' == 'ab' and [1] + [2] == [1, 2]",
    ] {
        holds(source);
    }
}

#[test]
fn what_has_no_value_says_why() {
    for (source, error) in [
        ("tokyo.json.hour == \"9\"", "tokyo.json.hour == \"9\": a number and a text cannot be compared: 9 == \"9\""),
        ("1s < 5", "1s < 5: a duration and a number have no order: 1s < 5"),
        ("toyko.ok", "toyko: there is no `toyko` here"),
        ("tokyo.jsno", "jsno: there is no `jsno`, only ok, status, header, json, body, duration"),
        ("1 / 0", "1 / 0: 1 / 0: division by zero"),
        ("9223372036854775807 + 1", "9223372036854775807 + 1: 9223372036854775807 + 1 is too large"),
        ("'x' matches '('", "'x' matches '(': regex parse error"),
        ("tokyo.ok.pid", "pid: a truth value has no `pid`"),
        ("failed.json.error == null", "failed.json: the body is not JSON (or there is no body), so it has no members"),
        ("failed.json.error.len", "failed.json: the body is not JSON"),
        ("failed.json[\"error\"] == null", "failed.json: the body is not JSON"),
        ("mixed.json.pid.count(1) == 1", "mixed.json: 1 of 2 bodies are not JSON, so they have no members"),
        ("failed.json == failed.status", "failed.json == failed.status: both sides are null"),
        ("tokyo.json.missing == ny.json.missing", "tokyo.json.missing == ny.json.missing: both sides are null"),
        ("tokyo.ok and tokyo.body", "tokyo.body: expected true or false, got a text: \"pid=11;\""),
        ("not failed.status", "failed.status: expected true or false, got null"),
        ("tokyo.json.hour or tokyo.ok", "tokyo.json.hour: expected true or false, got a number: 9"),
        ("storm.json.pid.all", "all: `all`: expected a list of true and false, got a number: 1"),
        ("-'x'", "-'x': a text has no negative"),
        ("storm.duration.percentile(101)", "percentile: `percentile`: it takes a number from 0 to 100"),
    ] {
        let found = value(source).unwrap_err();
        assert!(found.starts_with(error), "{source}\n{found}");
    }
}

#[test]
fn what_is_no_expression_says_where() {
    for (source, part, message) in [
        ("", "", "the expression is empty"),
        ("a ==", "", "the expression ends where a value is needed"),
        ("a = 1", "=", "`=` is no operator"),
        ("a & b", "&", "`&` is no operator"),
        ("a b", "b", "`b` stands where an operator or the end is needed"),
        ("1 < 2 < 3", "<", "comparisons cannot be chained"),
        ("(a", "", "the expression ends where `)` is needed"),
        ("5 parsecs", "parsecs", "`parsecs` stands where an operator or the end is needed"),
        ("5parsecs", "parsecs", "`parsecs` is not a unit"),
        ("a.mix()", "mix", "there is no method `mix`"),
        ("'open", "'open", "the text that begins with ' does not end"),
        ("a ? b", "?", "`?` begins nothing here"),
        ("99999999999999999999", "99999999999999999999", "`99999999999999999999` is too large"),
        ("a not b", "b", "`b` stands where `in` after `not` is needed"),
    ] {
        let error = Expression::parse(source).unwrap_err();
        assert_eq!((&source[error.span.clone()], error.message.as_str()), (part, message), "{source}");
    }
    let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    assert_eq!(Expression::parse(&deep).unwrap_err().message, "the expression is nested too deeply");
}

#[test]
fn a_failed_test_names_the_part_and_its_operands() {
    let source = "tokyo.ok and tokyo.json.hour == ny.json.pid";
    let tested = Expression::parse(source).unwrap().test(&scope()).unwrap();
    assert!(!tested.holds);
    assert_eq!(&source[tested.span], "tokyo.json.hour == ny.json.pid");
    let operands: Vec<_> =
        tested.operands.iter().map(|operand| format!("{} {}", operand.label, operand.value)).collect();
    assert_eq!(operands, ["tokyo.json.hour 9", "ny.json.pid 12"]);
    assert!(Expression::parse("not failed.ok").unwrap().test(&scope()).unwrap().holds);
}

#[test]
fn only_true_and_false_are_conditions() {
    for source in ["tokyo.body", "1", "storm.results", "failed.status", "2s", "tokyo.json"] {
        let expression = Expression::parse(source).unwrap();
        let error = expression.test(&scope()).unwrap_err();
        assert!(error.message.starts_with("expected true or false, got ") && error.may_pass, "{source}: {error}");
        assert_eq!(expression.holds(&scope()).unwrap_err(), error);
    }
    assert_eq!(Expression::parse("tokyo.ok").unwrap().holds(&scope()), Ok(true));
}

#[test]
fn references_and_time_bounds() {
    let expression = Expression::parse("a.b.c == d[e.f].g and h.count(i) > 1s").unwrap();
    let paths: Vec<_> = expression
        .references()
        .iter()
        .map(|reference| reference.path.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("."))
        .collect();
    assert_eq!(paths, ["a.b.c", "d", "e.f", "h", "i"]);
    for (source, bounded) in [
        ("a < 1s", true),
        ("1s >= a", true),
        ("not (x.ok and a <= 5ms)", true),
        ("a > 1s", false),
        ("a < 5", false),
        ("a < b", false),
    ] {
        assert_eq!(Expression::parse(source).unwrap().bounds_time_from_above(), bounded, "{source}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_an_error_within_it(text in "[a-z0-9 .()\\[\\]<>=!&|+*/%'\"-]{0,24}|\\PC{0,16}") {
        match Expression::parse(&text) {
            Ok(expression) => {
                let _ = expression.evaluate(&scope());
            }
            Err(error) => {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                prop_assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
            }
        }
    }

    #[test]
    fn whole_numbers_compute_as_numbers_do(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000, c in 1i64..1000) {
        prop_assert_eq!(value(&format!("{a} + {b} * {c}")), Ok(Value::Int(a + b * c)));
        prop_assert_eq!(value(&format!("({a} - {b}) % {c}")), Ok(Value::Int((a - b) % c)));
        prop_assert_eq!(value(&format!("{a} < {b}")), Ok(Value::Bool(a < b)));
        prop_assert_eq!(value(&format!("{a} >= {b} or {a} < {b}")), Ok(Value::Bool(true)));
    }

    #[test]
    fn no_arithmetic_ever_panics(a in any::<i64>(), b in any::<i64>(), operator in "[+*/%-]|<|>=") {
        // A number that only its sign makes fit is written as a difference.
        let text = |number: i64| if number < 0 { format!("({} - 1)", number + 1) } else { number.to_string() };
        let _ = value(&format!("{} {operator} {}", text(a), text(b)));
    }

    #[test]
    fn a_shown_value_reads_as_itself(number in any::<u32>(), text in "[ -!#-\\[\\]-~]{0,12}", flag in any::<bool>()) {
        let shown = Value::List(vec![Value::Int(number.into()), Value::Text(text), Value::Bool(flag), Value::Null]);
        prop_assert_eq!(value(&shown.to_string()), Ok(shown));
    }

    #[test]
    fn conditions_follow_logic(a in any::<bool>(), b in any::<bool>(), c in any::<bool>()) {
        prop_assert_eq!(value(&format!("{a} and {b} or not {c}")), Ok(Value::Bool(a && b || !c)));
        let tested = Expression::parse(&format!("{a} and ({b} or {c})")).unwrap().test(&scope()).unwrap();
        prop_assert_eq!(tested.holds, a && (b || c));
    }
}
