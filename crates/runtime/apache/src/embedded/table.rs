//! The functions that the engine calls, behind the panic wall.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use wsgi_protocol::abi::{ABI_VERSION, Bytes, HostTable, RawHead, Record, Sent, TakeBytes};

use crate::config::ServerConfig;
use wsgi_protocol::scoreboard;

use crate::embedded::exchange::Exchange;
use crate::guard::wall;
use crate::host::{Target, main_server};
use crate::response::{Rules, Stop};

/// What the engine gets.
pub(super) static HOST: HostTable = HostTable {
    version: ABI_VERSION,
    #[expect(clippy::cast_possible_truncation, reason = "a table of a dozen functions")]
    size: size_of::<HostTable>() as u32,
    log,
    request_log,
    log_level,
    read_body,
    send_head,
    send_body,
    send_file,
    error_text,
    request_id,
    interpreters,
    answer,
    is_https,
    ssl_variable,
    scoreboard,
};

/// Runs a host function of a request. Debug builds check that no other one of the same request is running.
///
/// # Safety
/// As [`HostTable`] says: `request` is [`wsgi_protocol::request::Facts::host`] of a request whose call runs, and no other
/// thread is in a host function for it.
unsafe fn exchange<'e, R>(request: *mut c_void, work: impl FnOnce(&'e mut Exchange<'e>) -> R) -> R {
    // SAFETY: `handle` put a pointer to its exchange there and does not touch it during the engine's call; the engine
    // makes one host call at a time.
    let exchange = unsafe { &mut *request.cast::<Exchange<'e>>() };
    let entered = exchange.entered;
    if cfg!(debug_assertions) {
        assert!(!entered.swap(true, Ordering::Acquire), "two host functions of one request run at a time");
    }
    let result = work(exchange);
    if cfg!(debug_assertions) {
        entered.store(false, Ordering::Release);
    }
    result
}

unsafe extern "C" fn log(record: *const Record<'_>) {
    // SAFETY: the engine passes a live record.
    wall("log", (), || Target::Process.write(unsafe { &*record }));
}

unsafe extern "C" fn interpreters(count: u32) {
    wall("interpreters", (), || {
        let config = main_server().and_then(ServerConfig::of);
        if let Some(slot) = config.and_then(|config| config.registry().children().get()?.own()) {
            slot.interpreters.store(count, Ordering::Relaxed);
        }
    });
}

unsafe extern "C" fn request_log(request: *mut c_void, record: *const Record<'_>) {
    wall("request_log", (), || {
        // SAFETY: the engine passes its request and a live record.
        unsafe { exchange(request, |exchange| Target::Request(exchange.request).write(&*record)) };
    });
}

unsafe extern "C" fn log_level(request: *mut c_void) -> u8 {
    wall("log_level", 0, || {
        let target = if request.is_null() {
            Target::Process
        } else {
            // SAFETY: the engine passes its request.
            Target::Request(unsafe { exchange(request, |exchange| exchange.request) })
        };
        u8::try_from(target.level().clamp(0, 15)).unwrap_or(0)
    })
}

unsafe extern "C" fn read_body(request: *mut c_void, buffer: *mut u8, length: usize) -> isize {
    wall("read_body", -1, || {
        let buffer: &mut [u8] = match buffer.is_null() {
            true => &mut [],
            // SAFETY: the engine passes a buffer of this length (null only for no bytes).
            false => unsafe { std::slice::from_raw_parts_mut(buffer, length) },
        };
        let read = |exchange: &mut Exchange<'_>| match exchange.body.read(buffer) {
            Ok(count) => isize::try_from(count).unwrap_or(-1),
            Err(error) => {
                exchange.body_failed = Some(error.status);
                exchange.error = error.text;
                -1
            }
        };
        // SAFETY: the engine passes its request.
        unsafe { exchange(request, read) }
    })
}

fn sent(exchange: &mut Exchange<'_>, result: Result<(), Stop>) -> Sent {
    match result {
        Ok(()) => Sent::Ok,
        Err(Stop::ClientGone) => {
            exchange.error.clear();
            exchange.error.push_str("Connection was terminated");
            Sent::ClientGone
        }
        Err(Stop::Failed(error)) => {
            exchange.error = error.text();
            Sent::Failed
        }
    }
}

unsafe extern "C" fn send_head(request: *mut c_void, head: *const RawHead<'_>) -> Sent {
    wall("send_head", Sent::Failed, || {
        // SAFETY: the engine passes a live head whose fields are as many as it says.
        let (head, fields) = unsafe {
            let head = &*head;
            let fields = match head.count {
                0 => &[],
                count => std::slice::from_raw_parts(head.fields, count),
            };
            (head, fields)
        };
        let send = |exchange: &mut Exchange<'_>| {
            exchange.response.head(head.status, head.line.or_empty(), fields, Rules::EMBEDDED);
        };
        // SAFETY: the engine passes its request.
        unsafe { exchange(request, send) };
        Sent::Ok
    })
}

unsafe extern "C" fn send_body(request: *mut c_void, data: Bytes<'_>, flush: u8) -> Sent {
    wall("send_body", Sent::Failed, || {
        let send = |exchange: &mut Exchange<'_>| {
            let result = exchange.response.data(data.or_empty(), flush != 0);
            sent(exchange, result)
        };
        // SAFETY: the engine passes its request.
        unsafe { exchange(request, send) }
    })
}

unsafe extern "C" fn send_file(request: *mut c_void, descriptor: i32, offset: u64, length: u64) -> Sent {
    wall("send_file", Sent::Failed, || {
        if descriptor < 0 {
            return Sent::Failed;
        }
        // SAFETY: the engine passes a descriptor of its own, which stays open during the call.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let send = |exchange: &mut Exchange<'_>| {
            let result = exchange.response.file(descriptor, offset, length, exchange.sendfile);
            sent(exchange, result)
        };
        // SAFETY: the engine passes its request.
        unsafe { exchange(request, send) }
    })
}

unsafe extern "C" fn error_text(request: *mut c_void) -> Bytes<'static> {
    wall("error_text", Bytes::NONE, || {
        // SAFETY: the engine passes its request; the text stays until its next host call.
        unsafe { exchange::<'static, _>(request, |exchange| Bytes::new(exchange.error.as_bytes())) }
    })
}

unsafe extern "C" fn request_id(request: *mut c_void) -> Bytes<'static> {
    wall("request_id", Bytes::NONE, || {
        // SAFETY: the engine passes its request; the id lives as long as that.
        let id = unsafe { exchange::<'static, _>(request, |exchange| exchange.request.log_id()) };
        id.map_or(Bytes::NONE, |id| Bytes::new(id.to_bytes()))
    })
}

unsafe extern "C" fn answer(request: *mut c_void, answer: Bytes<'_>) {
    wall("answer", (), || {
        // SAFETY: the engine passes its request.
        unsafe { exchange(request, |exchange| exchange.answers.push(answer.get().map(<[u8]>::to_vec))) };
    });
}

unsafe extern "C" fn is_https(request: *mut c_void) -> u8 {
    wall("is_https", 0, || {
        // SAFETY: the engine passes its request.
        u8::from(unsafe { exchange(request, |exchange| exchange.request.connection().is_encrypted()) })
    })
}

unsafe extern "C" fn ssl_variable(request: *mut c_void, name: Bytes<'_>) -> Bytes<'static> {
    wall("ssl_variable", Bytes::NONE, || {
        let find = |exchange: &'static mut Exchange<'static>| {
            let name = exchange.request.pool().text(name.or_empty());
            exchange.request.ssl_variable(name)
        };
        // SAFETY: the engine passes its request; the text lives as long as that.
        unsafe { exchange(request, find) }.map_or(Bytes::NONE, |value| Bytes::new(value.to_bytes()))
    })
}

unsafe extern "C" fn scoreboard(take: TakeBytes, context: *mut c_void) {
    wall("scoreboard", (), || {
        let encoded = crate::host::scoreboard::snapshot().map(|snapshot| scoreboard::encode(&snapshot));
        if let Some(Ok(encoded)) = encoded {
            // SAFETY: the engine's function with its own context; it copies the bytes.
            unsafe { take(context, Bytes::new(&encoded)) };
        }
    });
}
