//! `WSGIAuthUserScript` and `WSGIAuthGroupScript`: the providers `wsgi` (Basic, Digest) and `wsgi-group` (`Require`).

use std::ffi::{CStr, c_char, c_void};

use wsgi_protocol::consult::{Advice, Question};

use crate::codes::Code;
use crate::config::Settings;
use crate::guard::wall;
use crate::host::{Pool, Request, log};
use crate::scripts::ask::{Answer, Inquiry};
use crate::scripts::group_rule::Rule;
use crate::{codes, sys};

/// Structures that Apache keeps pointers to and only reads.
struct Shared<T>(T);

// SAFETY: never changed.
unsafe impl<T> Sync for Shared<T> {}

static USERS: Shared<sys::authn_provider> =
    Shared(sys::authn_provider { check_password: Some(check_password), get_realm_hash: Some(get_realm_hash) });

static GROUPS: Shared<sys::authz_provider> = Shared(sys::authz_provider {
    check_authorization: Some(check_authorization),
    parse_require_line: Some(parse_require_line),
});

/// Registers the providers for as long as the configuration lives.
pub(crate) fn register(pool: Pool<'_>) {
    let providers: [(&CStr, &CStr, *const c_void); 2] =
        [(c"authn", c"wsgi", (&raw const USERS.0).cast()), (c"authz", c"wsgi-group", (&raw const GROUPS.0).cast())];
    for (kind, name, provider) in providers {
        // SAFETY: the structures are those that Apache expects of the two kinds; they live as long as the module, whose
        // end is the end of the pool. The names are copied, as the hash of providers outlives the module's memory.
        unsafe {
            let kept = |text: &CStr| pool.text(text.to_bytes()).as_ptr();
            sys::ap_register_auth_provider(
                pool.raw(),
                kept(kind),
                kept(name),
                kept(c"0"),
                provider,
                // User and group scripts decide by the path too; see the access checker in `hooks.rs`.
                sys::AP_AUTH_INTERNAL_PER_URI.cast_signed(),
            );
        }
    }
}

/// What differs between the two ways to prove who one is.
struct Method {
    question: Question,
    no_script: &'static Code,
    no_interpreter: &'static Code,
}

const BASIC: Method = Method {
    question: Question::Password,
    no_script: &codes::BASIC_WITHOUT_SCRIPT,
    no_interpreter: &codes::BASIC_INTERPRETER,
};

const DIGEST: Method = Method {
    question: Question::RealmHash,
    no_script: &codes::DIGEST_WITHOUT_SCRIPT,
    no_interpreter: &codes::DIGEST_INTERPRETER,
};

/// Asks the user script; `None` when there is no answer, which was logged.
fn ask_user<'r>(request: Request<'r>, method: &Method, user: &'r CStr, detail: &'r CStr) -> Option<Answer> {
    let Some(script) = Settings::of(request).scripts.and_then(|scripts| scripts.user) else {
        log::request(
            request,
            method.no_script,
            format_args!("Location of WSGI user authentication script not provided."),
        );
        return None;
    };
    let inquiry =
        Inquiry { request, script, question: method.question, subject: user.to_bytes(), detail: detail.to_bytes() };
    let answer = inquiry.ask();
    if answer.advice == Advice::Unavailable {
        log::request(
            request,
            method.no_interpreter,
            format_args!(
                "No Python interpreter is available for the user authentication script '{}'.",
                script.path.to_string_lossy()
            ),
        );
    }
    Some(answer)
}

/// # Safety
/// Null, or a text that lives as long as the request.
unsafe fn given<'r>(text: *const c_char) -> &'r CStr {
    // SAFETY: promised by the caller.
    if text.is_null() { c"" } else { unsafe { CStr::from_ptr(text) } }
}

unsafe extern "C" fn check_password(
    request: *mut sys::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> sys::authn_status {
    wall("check_password", sys::AUTH_GENERAL_ERROR, || {
        // SAFETY: mod_auth_basic passes a request and texts that live as long as it.
        let (request, user, password) = unsafe { (Request::from_raw(request), given(user), given(password)) };
        let Some(answer) = ask_user(request, &BASIC, user, password) else { return sys::AUTH_GENERAL_ERROR };
        match answer.advice {
            Advice::Yes => {
                if let Some(Some(name)) = answer.texts.first() {
                    request.set_user(request.pool().text(name));
                }
                sys::AUTH_GRANTED
            }
            Advice::No => sys::AUTH_DENIED,
            Advice::Nothing => sys::AUTH_USER_NOT_FOUND,
            Advice::Failed | Advice::NotLoaded | Advice::Unavailable => sys::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn get_realm_hash(
    request: *mut sys::request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> sys::authn_status {
    wall("get_realm_hash", sys::AUTH_GENERAL_ERROR, || {
        // SAFETY: mod_auth_digest passes a request and texts that live as long as it.
        let (request, user, realm) = unsafe { (Request::from_raw(request), given(user), given(realm)) };
        let Some(answer) = ask_user(request, &DIGEST, user, realm) else { return sys::AUTH_GENERAL_ERROR };
        match (answer.advice, answer.texts.first()) {
            (Advice::Yes, Some(Some(found))) => {
                // SAFETY: mod_auth_digest passes a place for the text, which lives as long as the request.
                unsafe { *hash = request.pool().text(found).as_ptr().cast_mut() };
                sys::AUTH_USER_FOUND
            }
            (Advice::Nothing, _) => sys::AUTH_USER_NOT_FOUND,
            _ => sys::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn parse_require_line(
    command: *mut sys::cmd_parms,
    line: *const c_char,
    parsed: *mut *const c_void,
) -> *const c_char {
    wall("parse_require_line", c"Internal error in mod_wsgi_rs.".as_ptr(), || {
        // SAFETY: mod_authz_core passes its command, the rest of the line and a place for what is made of it.
        unsafe {
            let rule = Rule::read(command, given(line));
            *parsed = std::ptr::from_ref(rule).cast();
        }
        std::ptr::null()
    })
}

unsafe extern "C" fn check_authorization(
    request: *mut sys::request_rec,
    line: *const c_char,
    parsed: *const c_void,
) -> sys::authz_status {
    wall("check_authorization", sys::AUTHZ_GENERAL_ERROR, || {
        // SAFETY: mod_authz_core passes a request, the text of the rule and what `parse_require_line` made of it.
        let (request, line, rule) =
            unsafe { (Request::from_raw(request), given(line), parsed.cast::<Rule<'_>>().as_ref()) };
        let Some(user) = request.user() else { return sys::AUTHZ_DENIED_NO_USER };
        let groups = match groups(request, user) {
            Ok(groups) => groups,
            // A denial would let the user in where the rule is turned round.
            Err(Unknown) if rule.is_some_and(|rule| rule.may_be_negated) => return sys::AUTHZ_GENERAL_ERROR,
            Err(Unknown) => return sys::AUTHZ_DENIED,
        };
        let wanted = rule.map_or_else(|| Rule::names_of(request.pool(), line), |rule| rule.names);
        if wanted.iter().any(|wanted| groups.iter().any(|group| group.eq_ignore_ascii_case(wanted))) {
            return sys::AUTHZ_GRANTED;
        }
        let (code, what): (&'static Code, _) = match groups.is_empty() {
            true => (&codes::NO_GROUPS, "any groups"),
            false => (&codes::NOT_A_MEMBER, "designated groups"),
        };
        log::request(
            request,
            code,
            format_args!(
                "Authorization of user '{}' to access '{}' failed. User is not a member of {what}.",
                user.to_string_lossy(),
                request.uri().to_string_lossy()
            ),
        );
        sys::AUTHZ_DENIED
    })
}

/// The groups of a user cannot be told; why was logged.
struct Unknown;

fn groups<'r>(request: Request<'r>, user: &'r CStr) -> Result<Vec<Vec<u8>>, Unknown> {
    let Some(script) = Settings::of(request).scripts.and_then(|scripts| scripts.group) else {
        log::request(
            request,
            &codes::GROUPS_WITHOUT_SCRIPT,
            format_args!("Location of WSGI group authorization script not provided."),
        );
        return Err(Unknown);
    };
    let inquiry = Inquiry { request, script, question: Question::Groups, subject: user.to_bytes(), detail: b"" };
    let answer = inquiry.ask();
    match answer.advice {
        Advice::Yes => Ok(answer.texts.into_iter().flatten().collect()),
        Advice::Unavailable => {
            log::request(
                request,
                &codes::GROUPS_INTERPRETER,
                format_args!(
                    "No Python interpreter is available for the group script '{}'.",
                    script.path.to_string_lossy()
                ),
            );
            Err(Unknown)
        }
        Advice::No | Advice::Nothing | Advice::Failed | Advice::NotLoaded => Err(Unknown),
    }
}
