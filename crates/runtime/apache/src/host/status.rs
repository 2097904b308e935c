//! What hooks return to Apache.

use std::ffi::c_int;

use crate::codes::Code;
use crate::host::{Request, log};
use crate::sys;

/// An HTTP status that Apache makes an error response of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16);

impl Status {
    /// Apache's number for it. A request that an input filter has answered gets no second answer.
    fn unless_answered(self, request: Request<'_>) -> c_int {
        if request.is_answered() { sys::OK.cast_signed() } else { c_int::from(self.0) }
    }
}

/// What a request hook decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The hook did its work.
    Done,
    /// It is not for this hook.
    Declined,
    /// Apache answers with this status.
    Http(Status),
}

/// Why a request gets an error response; logged where it becomes Apache's number.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The response's status.
    pub(crate) status: Status,
    /// The code of the log record.
    pub(crate) code: &'static Code,
    /// The text of the log record.
    pub(crate) text: String,
}

impl Failure {
    /// A failure with this status and log record.
    pub(crate) fn new(status: u32, code: &'static Code, text: impl Into<String>) -> Self {
        Self { status: Status(u16::try_from(status).unwrap_or(500)), code, text: text.into() }
    }
}

/// Something that a request hook returns.
pub(crate) trait Answer {
    /// Apache's number for it; failures are logged.
    fn for_apache(self, request: Request<'_>) -> c_int;
}

impl Answer for Verdict {
    fn for_apache(self, request: Request<'_>) -> c_int {
        match self {
            Self::Done => sys::OK.cast_signed(),
            Self::Declined => sys::DECLINED,
            Self::Http(status) => status.unless_answered(request),
        }
    }
}

impl Answer for Result<Verdict, Failure> {
    fn for_apache(self, request: Request<'_>) -> c_int {
        match self {
            Ok(verdict) => verdict.for_apache(request),
            Err(failure) => {
                log::request(request, failure.code, format_args!("{}", failure.text));
                failure.status.unless_answered(request)
            }
        }
    }
}
