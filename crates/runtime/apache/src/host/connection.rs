//! `conn_rec`.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use crate::host::request::text;
use crate::sys;

/// The client's connection.
#[derive(Clone, Copy)]
pub(crate) struct Connection<'r> {
    raw: NonNull<sys::conn_rec>,
    lives: PhantomData<&'r sys::conn_rec>,
}

impl<'r> Connection<'r> {
    /// # Safety
    /// `raw` is a connection that lives for `'r`.
    pub(crate) unsafe fn from_raw(raw: *mut sys::conn_rec) -> Self {
        Self { raw: NonNull::new(raw).expect("a request has a connection"), lives: PhantomData }
    }

    pub(crate) fn raw(self) -> *mut sys::conn_rec {
        self.raw.as_ptr()
    }

    fn get(self) -> &'r sys::conn_rec {
        // SAFETY: alive for 'r; Apache changes fields of it only on this thread, between our calls.
        unsafe { self.raw.as_ref() }
    }

    /// The client went away.
    pub(crate) fn aborted(self) -> bool {
        #[cfg(connection_has_bit_fields)]
        let aborted = self.get().aborted();
        #[cfg(not(connection_has_bit_fields))]
        let aborted = self.get().aborted;
        aborted != 0
    }

    /// The address of the other end.
    pub(crate) fn client_ip(self) -> Option<&'r CStr> {
        // SAFETY: null or a text in the connection's pool.
        unsafe { text(self.get().client_ip) }
    }

    /// The address of the listener.
    pub(crate) fn local_ip(self) -> Option<&'r CStr> {
        // SAFETY: null or a text in the connection's pool.
        unsafe { text(self.get().local_ip) }
    }

    /// The port of the listener.
    pub(crate) fn local_port(self) -> u16 {
        // SAFETY: null or an address in the connection's pool.
        unsafe { self.get().local_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// Its id in the log, when something was logged for it.
    pub(crate) fn log_id(self) -> Option<&'r CStr> {
        // SAFETY: null or a text in the connection's pool.
        unsafe { text(self.get().log_id) }
    }

    /// Whether it is encrypted.
    pub(crate) fn is_encrypted(self) -> bool {
        // SAFETY: the connection is alive.
        unsafe { sys::ap_ssl_conn_is_ssl(self.raw()) != 0 }
    }

    /// Lets writing to the client (and reading from it) wait at most so long, until the returned value is dropped.
    pub(crate) fn patience(self, timeout: Duration) -> Patience<'r> {
        let mut before = 0;
        // SAFETY: the connection is alive; its socket lives as long as it does.
        unsafe {
            let socket = sys::ap_get_conn_socket(self.raw());
            if !socket.is_null() {
                sys::apr_socket_timeout_get(socket, &raw mut before);
                sys::apr_socket_timeout_set(socket, i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX));
            }
        }
        Patience { connection: self, before }
    }

    /// The connection ends with a reset, as a plain end would pass for the end of the body. What was flushed is on its way;
    /// nothing further is sent.
    pub(crate) fn reset_afterwards(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of_val(&linger)).unwrap_or(0);
        let mut descriptor = -1;
        // SAFETY: the connection is alive and used by this thread only, as is its socket. What is set is that closing it
        // discards what was not sent; a connection that counts as aborted is closed without the orderly end before that.
        unsafe {
            let socket = sys::ap_get_conn_socket(self.raw());
            // A stream of HTTP/2 has a connection that is none; its end says whether it was in order.
            if socket.is_null() || !self.get().master.is_null() {
                return;
            }
            if sys::apr_os_sock_get(&raw mut descriptor, socket) == 0 {
                libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size);
            }
            #[cfg(connection_has_bit_fields)]
            (*self.raw()).set_aborted(1);
            #[cfg(not(connection_has_bit_fields))]
            {
                (*self.raw()).aborted = 1;
            }
        }
    }

    /// The connection is closed after the present response.
    pub(crate) fn close_afterwards(self) {
        // SAFETY: the connection is alive and used by this thread only.
        unsafe { (*self.raw()).keepalive = sys::AP_CONN_CLOSE };
    }
}

/// See [`Connection::patience`].
pub(crate) struct Patience<'r> {
    connection: Connection<'r>,
    before: sys::apr_interval_time_t,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        // SAFETY: as when it was made.
        unsafe {
            let socket = sys::ap_get_conn_socket(self.connection.raw());
            if !socket.is_null() {
                sys::apr_socket_timeout_set(socket, self.before);
            }
        }
    }
}
