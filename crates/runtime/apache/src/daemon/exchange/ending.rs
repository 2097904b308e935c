//! How a try ends: with a whole response, with a failure that the process tells, or with a connection that breaks.

use std::io;

use wsgi_protocol::frame::FailureCode;
use wsgi_protocol::keys;
use wsgi_protocol::page::described;
use wsgi_protocol::tally::Failed;

use super::{Ending, Exchange, Turn, internal};
use crate::codes::{self, Code};
use crate::daemon::connection::ReadError;
use crate::daemon::status_page::StatusPage;
use crate::host::{Failure, Status, Verdict, log};
use crate::{environ, sys};

impl Exchange<'_> {
    /// The response is complete.
    pub(super) fn complete(&mut self, keep: bool) -> Turn {
        self.log_unsent_body();
        let verdict = match self.ending {
            Ending::Gone => Verdict::Done,
            Ending::Status(status) => Verdict::Http(Status(status)),
            Ending::Redirect(location) => {
                environ::publish(self.request, self.entries);
                self.request.redirect_internally(location);
                Verdict::Done
            }
            Ending::Normal if !self.response.has_head() => {
                return self.done(Err(internal(
                    &codes::HEAD_MALFORMED,
                    format!("Daemon process '{}' ended a response without a head.", self.group.name),
                )));
            }
            Ending::Normal if self.response.is_whole() == Some(false) => {
                return self.broken_off(&"fewer bytes than its Content-Length", &codes::PROXY_FAILED);
            }
            Ending::Normal => {
                // The client may be gone: there is nobody left to tell.
                let _ = self.response.finish();
                Verdict::Done
            }
        };
        Turn::Done { verdict: Ok(verdict), keep }
    }

    /// The response ends in its middle, through no fault of the client.
    fn broken_off(&mut self, cause: &dyn std::fmt::Display, code: &'static Code) -> Turn {
        log::request(self.request, code, format_args!("Unable to proxy response from daemon to client. ({cause})"));
        self.group.count(Failed::Truncated);
        let verdict = self.cut();
        self.done(Ok(verdict))
    }

    /// The process has answered without the whole body.
    fn log_unsent_body(&mut self) {
        if let Some(error) = self.body_unsent.take() {
            log::request(
                self.request,
                &codes::BODY_WRITE_FAILED,
                format_args!("Request data write error when proxying data to daemon process: {error}."),
            );
        }
    }

    /// The process says that there is no response, or no more of it.
    pub(super) fn failure(&mut self, code: FailureCode, text: &str, keep: bool) -> Turn {
        self.log_unsent_body();
        let verdict = match code {
            FailureCode::Rejected if !self.body_begun => return Turn::Rejected,
            FailureCode::Rejected => Err(internal(
                &codes::HEAD_MALFORMED,
                format!("Daemon process '{}' turned a request away whose body it had read.", self.group.name),
            )),
            FailureCode::QueueTimeout => Err(self.queue_timeout()),
            FailureCode::Status if !self.response.has_head() => {
                let status = text.parse().ok().filter(|status| (400..=599).contains(status)).unwrap_or(500);
                // An application that gave up because of the body did not fail.
                let status = if status == 500 { self.body_failed.unwrap_or(status) } else { status };
                Ok(Verdict::Http(Status(status)))
            }
            FailureCode::Status | FailureCode::Truncated => Ok(self.cut()),
            FailureCode::Protocol => Err(internal(
                &codes::HEAD_MALFORMED,
                format!("Daemon process '{}' did not understand the request ({text}).", self.group.name),
            )),
        };
        Turn::Done { verdict, keep }
    }

    /// Breaks off a response so that the client notices.
    fn cut(&mut self) -> Verdict {
        match self.ending {
            Ending::Normal => {
                self.response.truncate();
                Verdict::Done
            }
            Ending::Status(status) => Verdict::Http(Status(status)),
            Ending::Redirect(_) => Verdict::Http(Status(502)),
            Ending::Gone => Verdict::Done,
        }
    }

    /// Which request of which process was lost, in the words of the line about the end of that process (WSGI0902).
    fn lost(&self) -> String {
        let value = |key| {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            entry.map_or(&b"?"[..], |entry| entry.value.or_empty())
        };
        let request = described(value(keys::id("REQUEST_METHOD")), value(keys::id("REQUEST_URI")));
        // A process that starts and exits at once may be gone before its pid is read; the line about its exit has the pid.
        self.pid.map_or_else(
            || format!(" It was serving {request}."),
            |pid| format!(" It was pid {pid}, serving {request}."),
        )
    }

    /// The connection can be read no more.
    pub(super) fn broken(&mut self, error: &ReadError, page: &StatusPage) -> Turn {
        let name = &self.group.name;
        let gone = match error {
            ReadError::Closed => true,
            ReadError::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            ReadError::TimedOut | ReadError::Malformed(_) => false,
        };
        let taken = || {
            self.accepted
                || self.body_begun
                || self.response.has_head()
                || (self.ticket != 0 && page.has_taken(self.ticket))
        };
        if gone && !taken() {
            return Turn::Stale;
        }
        if self.response.has_head() {
            // The client has everything that it was promised: whatever broke afterwards is not its business.
            if matches!(self.ending, Ending::Normal)
                && !matches!(error, ReadError::Malformed(_))
                && self.response.is_whole() == Some(true)
            {
                return self.complete(false);
            }
            let code =
                if matches!(error, ReadError::TimedOut) { &codes::PROXY_READ_TIMEOUT } else { &codes::PROXY_FAILED };
            return self.broken_off(error, code);
        }
        let (status, code, text) = match error {
            ReadError::Closed => (
                sys::HTTP_BAD_GATEWAY,
                &codes::CLOSED_BEFORE_HEAD,
                format!(
                    "Daemon process '{name}' closed connection before sending complete response headers. (Truncated or \
                     oversized response headers received from daemon process '{name}'){}",
                    self.lost()
                ),
            ),
            ReadError::TimedOut => (
                sys::HTTP_GATEWAY_TIME_OUT,
                &codes::HEAD_TIMEOUT,
                format!("Timeout when reading response headers from daemon process '{name}'."),
            ),
            ReadError::Io(error) => (
                sys::HTTP_BAD_GATEWAY,
                &codes::HEAD_READ_FAILED,
                format!(
                    "Error reading response headers from daemon process '{name}' ({error}). (Truncated or oversized \
                     response headers received from daemon process '{name}'){}",
                    self.lost()
                ),
            ),
            ReadError::Malformed(malformed) => (
                sys::HTTP_INTERNAL_SERVER_ERROR,
                &codes::HEAD_MALFORMED,
                format!(
                    "Malformed header '{}' found when reading script headers from daemon process '{name}'.",
                    malformed.what
                ),
            ),
        };
        self.done(Err(Failure::new(status, code, text)))
    }
}
