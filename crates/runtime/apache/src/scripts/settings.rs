//! What the directives say of scripts. A directory's settings hold one pointer to it, null where no such directive
//! applies, so that requests without these scripts pay nothing.

use std::ffi::CStr;

use crate::host::Pool;
use crate::tokens::{FromRequest, Token, expand, is_own};

/// A script that decides something of a request, and the interpreter that runs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Script<'p> {
    /// Its path.
    pub(crate) path: &'p CStr,
    /// `application-group=`; the main interpreter when it is not given.
    pub(crate) application_group: Option<Token<'p>>,
}

impl<'p> Script<'p> {
    /// The application group for a request, and whether it is one that the configuration names.
    pub(crate) fn group<'r>(&self, source: &FromRequest<'r>) -> (&'r [u8], bool)
    where
        'p: 'r,
    {
        let token = self.token();
        (expand(token, source), is_own(token, source))
    }

    /// `%{RESOURCE}` and `%{ENV:…}` mean nothing here, as there is no application yet: they are names like any other.
    fn token(&self) -> Token<'p> {
        match self.application_group {
            None => Token::Global,
            Some(Token::Resource) => Token::Literal(b"%{RESOURCE}"),
            Some(Token::Variable(whole, _)) => Token::Literal(whole),
            Some(token) => token,
        }
    }
}

/// `WSGIHandlerScript`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HandlerScript<'p> {
    /// The handler's name, as `SetHandler` and `AddHandler` know it.
    pub(crate) name: &'p CStr,
    /// The script's path.
    pub(crate) script: &'p CStr,
    pub(crate) process_group: Option<Token<'p>>,
    pub(crate) application_group: Option<Token<'p>>,
    pub(crate) pass_authorization: Option<bool>,
}

/// The scripts that apply to a directory or location.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scripts<'p> {
    /// `WSGIAccessScript`
    pub(crate) access: Option<Script<'p>>,
    /// `WSGIAuthUserScript`
    pub(crate) user: Option<Script<'p>>,
    /// `WSGIAuthGroupScript`
    pub(crate) group: Option<Script<'p>>,
    /// `WSGIDispatchScript`
    pub(crate) dispatch: Option<Script<'p>>,
    /// `WSGIHandlerScript`: inner scopes first, so that the first of a name counts.
    pub(crate) handlers: &'p [HandlerScript<'p>],
}

impl<'p> Scripts<'p> {
    /// What the inner scope sets replaces what the outer one set, handlers name by name.
    pub(crate) fn merge(pool: Pool<'p>, outer: Option<&'p Self>, inner: Option<&'p Self>) -> Option<&'p Self> {
        let (Some(outer), Some(inner)) = (outer, inner) else { return inner.or(outer) };
        Some(pool.put(Self {
            access: inner.access.or(outer.access),
            user: inner.user.or(outer.user),
            group: inner.group.or(outer.group),
            dispatch: inner.dispatch.or(outer.dispatch),
            handlers: overlay(pool, inner.handlers, outer.handlers),
        }))
    }

    /// The same with one more handler; a name that is there already gets the new script.
    pub(crate) fn with_handler(self, pool: Pool<'p>, handler: HandlerScript<'p>) -> Self {
        let first = &*pool.slice(1, handler);
        Self { handlers: overlay(pool, first, self.handlers), ..self }
    }

    /// The handler script of this name.
    pub(crate) fn handler(&self, name: &CStr) -> Option<&HandlerScript<'p>> {
        self.handlers.iter().find(|handler| handler.name == name)
    }
}

fn overlay<'p>(
    pool: Pool<'p>,
    inner: &'p [HandlerScript<'p>],
    outer: &'p [HandlerScript<'p>],
) -> &'p [HandlerScript<'p>] {
    let hidden = |name: &CStr| inner.iter().any(|handler| handler.name == name);
    let (Some(first), true) = (inner.first(), outer.iter().any(|handler| !hidden(handler.name))) else {
        return if inner.is_empty() { outer } else { inner };
    };
    let both = inner.iter().chain(outer.iter().filter(|handler| !hidden(handler.name)));
    let joined = pool.slice(both.clone().count(), *first);
    for (place, handler) in joined.iter_mut().zip(both) {
        *place = *handler;
    }
    joined
}
