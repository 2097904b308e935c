//! From the question to the answer: load the script, call its function, end what belongs to the call.

use pyo3::Python;
use wsgi_protocol::abi::Level;
use wsgi_protocol::consult::{Advice, Consultation, Question};
use wsgi_protocol::request::JSON_LOG;

use super::aids::Aids;
use super::answers::{self, Advised, Unfit};
use super::environ;
use crate::gateway::Gateway;
use crate::interpreter::Interpreter;
use crate::object::{Object, Raise, Raised, call, latin1};
use crate::script::{self, Wanted};
use crate::traceback::{Destination, report};
use crate::wsgi::errors;
use crate::wsgi::session::Session;

/// Closes the session's way to the gateway, also while a panic unwinds.
struct Opened<'a, 'py> {
    py: Python<'py>,
    session: &'a Session,
}

impl Drop for Opened<'_, '_> {
    fn drop(&mut self) {
        self.session.close_attached(self.py);
    }
}

/// Asks the script, attached.
pub(crate) fn run(
    py: Python<'_>,
    interpreter: &'static Interpreter,
    asked: &Consultation<'_>,
    wanted: &Wanted<'_>,
    gateway: &mut dyn Gateway,
) -> Advised {
    let id = if asked.facts.has(JSON_LOG) { gateway.request_id() } else { Vec::new() };
    let aids = match Aids::take(py, interpreter, asked, id) {
        Ok(aids) => aids,
        Err(raised) => {
            report(py, raised, Destination::Process(interpreter), &String::from_utf8_lossy(wanted.path));
            return (Advice::Failed, Vec::new());
        }
    };
    let session = &aids.session;
    // SAFETY: closed when `opened` is dropped, before the gateway's borrow ends.
    unsafe { session.open(gateway) };
    let opened = Opened { py, session };
    let advised = Asking { py, aids: &aids, asked, wanted }.advice();
    errors::flush_request(py, session);
    errors::flush_streams(py, interpreter);
    session.state.borrow_mut(py).finished = true;
    drop(opened);
    aids.leave(py);
    advised
}

/// Why there is no answer. What can be said was logged.
enum NoAnswer {
    NotLoaded,
    Failed,
}

struct Asking<'a, 'py> {
    py: Python<'py>,
    aids: &'a Aids,
    asked: &'a Consultation<'a>,
    wanted: &'a Wanted<'a>,
}

impl<'py> Asking<'_, 'py> {
    fn advice(&self) -> Advised {
        match self.answer() {
            Ok(advised) => advised,
            Err(NoAnswer::NotLoaded) => (Advice::NotLoaded, Vec::new()),
            Err(NoAnswer::Failed) => (Advice::Failed, Vec::new()),
        }
    }

    fn to(&self) -> Destination<'_> {
        Destination::Request(&self.aids.session)
    }

    fn script(&self) -> String {
        String::from_utf8_lossy(self.wanted.path).into_owned()
    }

    fn answer(&self) -> Result<Advised, NoAnswer> {
        let module = script::module(self.py, self.to(), self.wanted, script::standing(self.py, self.to(), self.wanted))
            .map_err(|_| NoAnswer::NotLoaded)?;
        match self.asked.question {
            Question::Password => {
                let result = self.call(&module, &[self.asked.subject.or_empty(), self.asked.detail.or_empty()])?;
                self.judge(answers::password(&result))
            }
            Question::RealmHash => {
                let result = self.call(&module, &[self.asked.subject.or_empty(), self.asked.detail.or_empty()])?;
                self.judge(answers::realm_hash(&result))
            }
            Question::Groups => {
                let result = self.call(&module, &[self.asked.subject.or_empty()])?;
                self.judge(answers::groups(&result, &self.script()))
            }
            Question::Access => {
                let result = self.call(&module, &[self.asked.subject.or_empty()])?;
                self.judge(answers::access(&result, &self.script()))
            }
            Question::Dispatch => self.dispatch(&module),
        }
    }

    /// Calls the function that answers the question.
    fn call(&self, module: &Object<'py>, texts: &[&[u8]]) -> Result<Object<'py>, NoAnswer> {
        let (name, missing) = match self.asked.question {
            Question::Password => (
                "check_password",
                format!(
                    "WSGI0043: Target WSGI user authentication script '{}' does not provide 'Basic' auth provider.",
                    self.script()
                ),
            ),
            Question::RealmHash => (
                "get_realm_hash",
                format!(
                    "WSGI0046: Target WSGI user authentication script '{}' does not provide 'Digest' auth provider.",
                    self.script()
                ),
            ),
            Question::Groups => (
                "groups_for_user",
                format!(
                    "WSGI0052: Target WSGI group authentication script '{}' does not provide 'groups_for_user' callable.",
                    self.script()
                ),
            ),
            Question::Access | Question::Dispatch => (
                "allow_access",
                format!(
                    "WSGI0056: Target WSGI host access script '{}' does not provide 'allow_access' callable.",
                    self.script()
                ),
            ),
        };
        let called = || -> Raise<Option<Object<'py>>> {
            let Some(function) = script::callable(module, name.as_bytes())? else { return Ok(None) };
            let environ = environ::build(self.py, self.aids, self.asked)?;
            let texts = texts.iter().map(|text| latin1(self.py, text)).collect::<Raise<Vec<_>>>()?;
            let arguments: Vec<&Object<'py>> = std::iter::once(&environ).chain(&texts).collect();
            call(&function, &arguments).map(Some)
        };
        match called() {
            Ok(Some(result)) => Ok(result),
            Ok(None) => {
                self.to().prefixed(self.py, Level::Error, &missing);
                Err(NoAnswer::Failed)
            }
            Err(raised) => Err(self.failed(raised)),
        }
    }

    fn dispatch(&self, module: &Object<'py>) -> Result<Advised, NoAnswer> {
        let asked = || -> Raise<Vec<Option<Vec<u8>>>> {
            let mut environ = None;
            let mut texts = Vec::with_capacity(answers::DISPATCH.len());
            for choice in answers::DISPATCH {
                let Some(function) = script::callable(module, choice.function.as_bytes())? else {
                    texts.push(None);
                    continue;
                };
                let environ = match &environ {
                    Some(environ) => environ,
                    None => environ.insert(environ::build(self.py, self.aids, self.asked)?),
                };
                texts.push(choice.read(&call(&function, &[environ])?)?);
            }
            Ok(texts)
        };
        match asked() {
            Ok(texts) => Ok((Advice::Yes, texts)),
            Err(raised) => Err(self.failed(raised)),
        }
    }

    fn judge(&self, answer: Result<Advised, Unfit>) -> Result<Advised, NoAnswer> {
        answer.map_err(|unfit| match unfit {
            Unfit::Raised(raised) => self.failed(raised),
            Unfit::Wrong(text) => {
                self.to().prefixed(self.py, Level::Error, &text);
                NoAnswer::Failed
            }
            Unfit::Both(text, raised) => {
                // Logging runs Python code, which must not meet a set exception.
                let exception = raised.take(self.py);
                self.to().prefixed(self.py, Level::Error, &text);
                if let Some(exception) = exception {
                    self.failed(crate::object::restore(&exception));
                }
                NoAnswer::Failed
            }
        })
    }

    fn failed(&self, raised: Raised) -> NoAnswer {
        report(self.py, raised, self.to(), &self.script());
        NoAnswer::Failed
    }
}
