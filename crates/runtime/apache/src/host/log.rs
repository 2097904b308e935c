//! Apache's error log.

use std::ffi::{CString, c_int};
use std::fmt::Arguments;

use wsgi_protocol::abi::{Level, Record};

use crate::codes::Code;
use crate::host::{Request, Server};
use crate::{module, sys};

/// Where a record goes.
#[derive(Clone, Copy)]
pub(crate) enum Target<'r> {
    /// The log of the request's virtual host, with the client's address.
    Request(Request<'r>),
    /// The log of a server.
    Server(Server<'r>),
    /// The log of the main server.
    Process,
}

impl<'r> Target<'r> {
    /// The highest level number that is logged there.
    pub(crate) fn level(self) -> i32 {
        match self {
            Target::Request(request) => request.log_level(module::index()),
            Target::Server(server) => server.log_level(module::index()),
            Target::Process => main_server().map_or(c_int::MAX, |server| server.log_level(module::index())),
        }
    }

    /// Whether records of a level are logged there. Apache's macros ask this before they evaluate their arguments.
    pub(crate) fn takes(self, level: Level) -> bool {
        i32::from(level as u8) <= self.level()
    }

    /// Writes a record; its text must not hold NUL bytes beyond which it matters.
    pub(crate) fn write(self, record: &Record<'_>) {
        if i32::from(record.level) > self.level() {
            return;
        }
        if let Some(object) = record.object()
            && let Some(server) = self.server()
            && server.append_to_log(object)
        {
            return;
        }
        let file = record.file.get().and_then(|file| CString::new(file).ok());
        let file = file.as_ref().map_or(std::ptr::null(), |file| file.as_ptr());
        let line = c_int::try_from(record.line).unwrap_or(0);
        let level = c_int::from(record.level.min(Level::Trace as u8));
        let text = record.text.or_empty();
        let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
        let start = text.as_ptr();
        let module = module::index();
        // SAFETY: the format takes a length and a pointer to at least that many bytes; request and server are alive.
        unsafe {
            match self {
                Target::Request(request) => {
                    sys::ap_log_rerror_(file, line, module, level, 0, request.raw(), c"%.*s".as_ptr(), length, start);
                }
                Target::Server(server) => {
                    sys::ap_log_error_(file, line, module, level, 0, server.raw(), c"%.*s".as_ptr(), length, start);
                }
                Target::Process => {
                    sys::ap_log_error_(
                        file,
                        line,
                        module,
                        level,
                        0,
                        sys::ap_server_conf,
                        c"%.*s".as_ptr(),
                        length,
                        start,
                    );
                }
            }
        }
    }

    fn server(self) -> Option<Server<'r>> {
        match self {
            Target::Request(request) => Some(request.server()),
            Target::Server(server) => Some(server),
            Target::Process => main_server(),
        }
    }

    fn format(self, level: Level, text: Arguments<'_>) {
        if self.takes(level) {
            let text = text.to_string();
            let text = wsgi_protocol::abi::Bytes::new(text.as_bytes());
            let file = wsgi_protocol::abi::Bytes::NONE;
            self.write(&Record { level: level as u8, line: 0, file, text, json: 0 });
        }
    }
}

/// The main server, once the configuration was read.
pub(crate) fn main_server<'s>() -> Option<Server<'s>> {
    // SAFETY: null until the configuration was read, then the main server for as long as that is used.
    unsafe { (!sys::ap_server_conf.is_null()).then(|| Server::from_raw(sys::ap_server_conf)) }
}

/// Logs a code for a request: `[script F] WSGInnnn: text`.
pub(crate) fn request(request: Request<'_>, code: &Code, text: Arguments<'_>) {
    let target = Target::Request(request);
    match request.filename() {
        Some(script) => {
            let script = script.to_string_lossy();
            target.format(code.level, format_args!("[script {script}] {}: {text}", code.name()));
        }
        None => target.format(code.level, format_args!("{}: {text}", code.name())),
    }
}

/// Logs a code for a request that runs no script: `WSGInnnn: text`.
pub(crate) fn of_request(request: Request<'_>, code: &Code, text: Arguments<'_>) {
    Target::Request(request).format(code.level, format_args!("{}: {text}", code.name()));
}

/// Logs a code for a server.
pub(crate) fn server(server: Server<'_>, code: &Code, text: Arguments<'_>) {
    Target::Server(server).format(code.level, format_args!("{}: {text}", code.name()));
}

/// Logs a code for the process.
pub(crate) fn process(code: &Code, text: Arguments<'_>) {
    Target::Process.format(code.level, format_args!("{}: {text}", code.name()));
}

/// Logs text without a code; only informational levels go without one.
pub(crate) fn info(target: Target<'_>, text: Arguments<'_>) {
    target.format(Level::Info, text);
}
