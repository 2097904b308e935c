//! Who may come in, and where a request goes: directives of a location that name scripts.

use super::builder::Builder;
use super::daemons::application_group;
use super::files;
use super::view::{Line, Word};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{Auth, AuthScheme, Decider, FilePath, Interpreter, UserAuth};

/// The scheme's names: of its module, of `AuthType`, and of the directive for its providers.
fn names(scheme: AuthScheme) -> (&'static str, &'static str, &'static str) {
    match scheme {
        AuthScheme::Basic => ("auth_basic", "Basic", "AuthBasicProvider"),
        AuthScheme::Digest => ("auth_digest", "Digest", "AuthDigestProvider"),
    }
}

/// A directive that names a script of Apache's own processes, with its interpreter.
fn deciding(
    builder: &mut Builder<'_>,
    directive: &'static str,
    (script, script_key): (&FilePath, &Path),
    (interpreter, interpreter_key): (&Interpreter, &Path),
) -> Line {
    files::check(builder, script, files::Wanted::File, script_key);
    if *interpreter == Interpreter::Resource {
        let message = "`resource` is no interpreter that this script could run in: it is asked about many resources";
        let diagnostic = Diagnostic::error(Code::Conflict, message);
        builder.report(interpreter_key, "", diagnostic.help("use `main` or a name"));
    }
    let group = builder.arg(interpreter_key, application_group(interpreter));
    let mut line = Line::quoted(directive, [builder.arg(script_key, script)]);
    line.words.push(Word::option("application-group", group));
    line
}

/// A directive for a script that is given with or without its interpreter.
pub(super) fn decider(
    builder: &mut Builder<'_>,
    directive: &'static str,
    given: Option<&Decider>,
    key: &Path,
) -> Option<Line> {
    let given = given?;
    let (script, interpreter) = given.parts();
    let (script_key, interpreter_key) = match given {
        Decider::File(_) => (key.clone(), key.clone()),
        Decider::Script(_) => (key.join("script"), key.join("interpreter")),
    };
    Some(deciding(builder, directive, (script, &script_key), (interpreter, &interpreter_key)))
}

/// What a location says of who may come in.
pub(super) fn lines(builder: &mut Builder<'_>, access: Option<&Decider>, auth: Option<&Auth>, key: &Path) -> Vec<Line> {
    let mut lines: Vec<Line> = decider(builder, "WSGIAccessScript", access, &key.join("access")).into_iter().collect();
    let own = key.join("auth");
    match auth {
        None => {}
        Some(Auth::Open(_)) => {
            lines.push(Line::bare("Require", [builder.arg(&own, "all"), builder.arg(&own, "granted")]));
        }
        Some(Auth::Users(users)) => lines.extend(users_lines(builder, users, &own)),
    }
    lines
}

fn users_lines(builder: &mut Builder<'_>, auth: &UserAuth, key: &Path) -> Vec<Line> {
    let type_key = key.join("type");
    let (module, name, provider) = names(auth.scheme);
    builder.modules.need(module);
    let (script_key, interpreter_key) = (key.join("script"), key.join("interpreter"));
    let script = (&auth.script, &script_key);
    let mut lines = vec![
        Line::bare("AuthType", [builder.arg(&type_key, name)]),
        Line::quoted("AuthName", [builder.arg(&key.join("realm"), &auth.realm)]),
        Line::bare(provider, [builder.arg(&type_key, "wsgi")]),
        deciding(builder, "WSGIAuthUserScript", script, (&auth.interpreter, &interpreter_key)),
    ];
    let users_key = key.join("users");
    let listed = |builder: &Builder<'_>, what: &str, names: &[crate::spec::Principal], key: &Path| {
        let mut line = Line::bare("Require", [builder.arg(key, what)]);
        line.words
            .extend(names.iter().enumerate().map(|(index, name)| Word::quoted(builder.arg(&key.join(index), name))));
        line
    };
    if !auth.users.is_empty() {
        lines.push(listed(builder, "user", &auth.users, &users_key));
    }
    match &auth.groups {
        Some(groups) => {
            let own = key.join("groups");
            let group_script = match &groups.script {
                Some(script) => (script, own.join("script")),
                None => (&auth.script, script_key.clone()),
            };
            let interpreter = (&groups.interpreter, &own.join("interpreter"));
            lines.push(deciding(builder, "WSGIAuthGroupScript", (group_script.0, &group_script.1), interpreter));
            lines.push(listed(builder, "wsgi-group", &groups.any_of, &own.join("any-of")));
        }
        None if auth.users.is_empty() => {
            lines.push(Line::bare("Require", [builder.arg(key, "valid-user")]));
        }
        None => {}
    }
    lines
}
