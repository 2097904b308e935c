use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::configuration::{Configuration, Texts, load_main};
use crate::diagnostic::Style;
use crate::lint::{Reported, Scripts, apply_fixes, lint};

/// What is reported of an example of a rule, by that rule or by all of them.
fn reported<T>(rule: &Rule, text: &str, look: impl FnOnce(&[Reported], &Configuration<'_>, &Texts<'_>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.conf");
    fs::write(&file, format!("{text}\n")).unwrap();
    let loaded = load_main(&file).unwrap();
    assert_eq!(loaded.reading.refusal, None, "{}", rule.name);
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    let texts = Texts::new(&loaded.reading);
    let scripts: BTreeMap<String, String> =
        rule.scripts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let found: Vec<Reported> = lint(&configuration, &texts, &Scripts::Given(scripts));
    look(&found, &configuration, &texts)
}

fn shown(rule: &Rule, text: &str) -> String {
    reported(rule, text, |found, configuration, _| {
        let own = found.iter().filter(|reported| reported.diagnostic.code == rule.code);
        let folder = configuration.reading.sources[0].path.parent().unwrap().display().to_string();
        own.map(|reported| reported.diagnostic.render(Style::Plain).replace(&format!("{folder}/"), "") + "\n\n")
            .collect()
    })
}

#[test]
fn every_rule_finds_its_bad_example_and_not_its_good_one() {
    for rule in RULES {
        let bad = shown(rule, rule.bad);
        assert!(!bad.is_empty(), "{} finds nothing in its bad example", rule.name);
        let text = format!("{}\n\n{bad}", rule.bad.lines().map(|line| format!("    {line}\n")).collect::<String>());
        insta::assert_snapshot!(rule.name, text);
        assert_eq!(shown(rule, rule.good), "", "{} finds something in its good example", rule.name);
    }
}

#[test]
fn the_table_is_in_order_and_complete() {
    assert_eq!(RULES.len(), 58);
    for (index, rule) in RULES.iter().enumerate() {
        assert_eq!(rule.code.id(), format!("CG2{:02}", index + 1), "{}", rule.name);
        let info = rule.code.info();
        assert!(info.cause.ends_with('.') && info.fix.ends_with('.'), "{}", rule.name);
        assert!(!info.title.ends_with('.'), "{}", rule.name);
        assert!(rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", rule.name);
    }
}

#[test]
fn fixes_leave_nothing_to_find_and_move_nothing_else() {
    let mut fixable = 0;
    for rule in RULES {
        let fixed = reported(rule, rule.bad, |found, configuration, texts| {
            let own: Vec<Reported> =
                found.iter().filter(|reported| reported.diagnostic.code == rule.code).cloned().collect();
            let files = apply_fixes(&own, configuration, texts);
            assert_eq!(
                files.iter().map(|file| file.number).sum::<usize>(),
                own.iter().filter(|reported| reported.fix.is_some()).count(),
                "{}",
                rule.name
            );
            files.into_iter().next()
        });
        let Some(fixed) = fixed else { continue };
        fixable += 1;
        let after = String::from_utf8(fixed.after).unwrap();
        assert_eq!(shown(rule, after.trim_end()), "", "{}: {after}", rule.name);
        // Lines without a finding stay as they were.
        let kept = after.lines().filter(|line| rule.bad.lines().any(|before| before == *line)).count();
        assert!(kept + 2 >= rule.bad.lines().count(), "{}: {after}", rule.name);
    }
    assert!(fixable >= 8, "{fixable}");
}
