//! `WSGIDispatchScript`: which process, interpreter and callable serve a request.

use wsgi_protocol::abi::Bytes;
use wsgi_protocol::consult::{Advice, Question};
use wsgi_protocol::request::{Facts, OWN_GROUP};

use crate::dispatch::Job;
use crate::host::{Failure, Status};
use crate::scripts::Script;
use crate::scripts::ask::Inquiry;
use crate::tokens::{FromRequest, Token, expand};
use crate::{codes, sys};

/// Lets the script change what the configuration says. A script that cannot be loaded changes nothing; one that fails
/// ends the request.
pub(crate) fn choose<'r>(
    job: &mut Job<'r>,
    facts: &mut Facts<'r>,
    script: Script<'r>,
) -> Result<Result<(), Status>, Failure> {
    let request = job.request;
    let failed = |text: String| Failure::new(sys::HTTP_INTERNAL_SERVER_ERROR, &codes::DISPATCH_INTERPRETER, text);
    let inquiry = Inquiry { request, script, question: Question::Dispatch, subject: b"", detail: b"" };
    let answer = inquiry.ask_with(*facts);
    match answer.advice {
        Advice::Yes => {}
        Advice::NotLoaded => return Ok(Ok(())),
        Advice::Unavailable => {
            let path = script.path.to_string_lossy();
            return Err(failed(format!("No Python interpreter is available for the dispatch script '{path}'.")));
        }
        // Why was logged.
        Advice::Failed | Advice::No | Advice::Nothing => return Ok(Err(Status(500))),
    }
    let source = FromRequest { request, mount_point: job.script_name };
    let mut texts = answer.texts.into_iter().map(|text| text.map(|text| Token::parse(request.pool().bytes(&text))));
    if let Some(token) = texts.next().flatten() {
        job.process_group = expand(token, &source);
    }
    if let Some(token) = texts.next().flatten() {
        job.application_group = expand(token, &source);
        facts.application_group = Bytes::new(job.application_group);
        // It may be made of what the client sent.
        facts.flags &= !OWN_GROUP;
    }
    if let Some(token) = texts.next().flatten() {
        job.callable = crate::dispatch::callable_of(token, &source);
        facts.callable = Bytes::new(job.callable);
    }
    Ok(Ok(()))
}
