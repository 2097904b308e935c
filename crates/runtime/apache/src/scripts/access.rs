//! `WSGIAccessScript`.

use wsgi_protocol::consult::{Advice, Question};

use crate::config::Settings;
use crate::host::{Failure, Request, Status, Verdict, log};
use crate::scripts::ask::Inquiry;
use crate::{codes, sys};

/// The access-checker hook.
pub(crate) fn check(request: Request<'_>) -> Result<Verdict, Failure> {
    let Some(script) = Settings::of(request).scripts.and_then(|scripts| scripts.access) else {
        return Ok(Verdict::Declined);
    };
    let host = request.remote_host().or(request.client_ip()).map_or(&b""[..], std::ffi::CStr::to_bytes);
    let inquiry = Inquiry { request, script, question: Question::Access, subject: host, detail: b"" };
    match inquiry.ask().advice {
        Advice::Yes => return Ok(Verdict::Done),
        Advice::Nothing => return Ok(Verdict::Declined),
        Advice::Unavailable => log::request(
            request,
            &codes::ACCESS_INTERPRETER,
            format_args!(
                "No Python interpreter is available for the access script '{}'.",
                script.path.to_string_lossy()
            ),
        ),
        Advice::No | Advice::Failed | Advice::NotLoaded => {}
    }
    // The client may still prove who it is: whether it is let in is not decided yet.
    if request.is_satisfied_by_any() && request.needs_authentication() {
        return Ok(Verdict::Http(Status(403)));
    }
    let resource = request.filename().unwrap_or_default().to_string_lossy().into_owned();
    Err(Failure::new(
        sys::HTTP_FORBIDDEN,
        &codes::ACCESS_DENIED,
        format!("Client denied by server configuration: '{resource}'."),
    ))
}
