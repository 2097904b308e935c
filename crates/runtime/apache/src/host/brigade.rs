//! `apr_bucket_brigade`: what bodies travel in.

use std::ffi::{CStr, c_char};
use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::host::Request;
use crate::sys;

/// A failure of APR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AprError(pub(crate) sys::apr_status_t);

impl AprError {
    /// A read that does not wait found nothing.
    pub(crate) const NOT_YET: Self = Self(libc::EAGAIN);

    /// An input filter has made an answer of it already: the client needs no other.
    pub(crate) fn is_answered(self) -> bool {
        self.0 == sys::AP_FILTER_ERROR
    }

    /// Something did not happen in time.
    pub(crate) fn is_timeout(self) -> bool {
        self.0 == sys::APR_TIMEUP.cast_signed() || self.0 == libc::ETIMEDOUT
    }

    /// APR's text for it.
    pub(crate) fn text(self) -> String {
        let mut buffer = [0 as c_char; 200];
        // SAFETY: the buffer is writable for its length and ends in NUL afterwards.
        unsafe {
            sys::apr_strerror(self.0, buffer.as_mut_ptr(), buffer.len());
            CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
        }
    }
}

pub(super) fn check(status: sys::apr_status_t) -> Result<(), AprError> {
    if status == 0 { Ok(()) } else { Err(AprError(status)) }
}

/// A list of buckets in a request's pool. Emptied when it is dropped.
pub(crate) struct Brigade<'r> {
    raw: NonNull<sys::apr_bucket_brigade>,
    lives: PhantomData<&'r sys::apr_bucket_brigade>,
}

impl<'r> Brigade<'r> {
    /// An empty brigade.
    pub(crate) fn new(request: Request<'r>) -> Self {
        // SAFETY: pool and allocator live as long as the request; the call does not return null.
        let raw = unsafe {
            let allocator = (*request.connection().raw()).bucket_alloc;
            sys::apr_brigade_create(request.pool().raw(), allocator)
        };
        Self { raw: NonNull::new(raw).expect("pools abort when memory runs out"), lives: PhantomData }
    }

    fn raw(&self) -> *mut sys::apr_bucket_brigade {
        self.raw.as_ptr()
    }

    pub(super) fn allocator(&self) -> *mut sys::apr_bucket_alloc_t {
        // SAFETY: the brigade is alive.
        unsafe { (*self.raw()).bucket_alloc }
    }

    /// The place before the first and after the last bucket: the list's head, seen as a bucket, whose link is its
    /// first member (`APR_BRIGADE_SENTINEL`).
    fn sentinel(&self) -> *mut sys::apr_bucket {
        const { assert!(std::mem::offset_of!(sys::apr_bucket, link) == 0) };
        // SAFETY: the brigade is alive; only a pointer is made.
        unsafe { (&raw mut (*self.raw()).list).cast() }
    }

    fn first(&self) -> Option<NonNull<sys::apr_bucket>> {
        // SAFETY: the brigade is alive.
        let first = unsafe { (*self.raw()).list.next };
        (first != self.sentinel()).then(|| NonNull::new(first)).flatten()
    }

    /// Whether there are no buckets.
    pub(crate) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Destroys all buckets.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the brigade is alive.
        unsafe { sys::apr_brigade_cleanup(self.raw().cast()) };
    }

    /// `APR_BRIGADE_INSERT_TAIL`.
    ///
    /// # Safety
    /// `bucket` is a live bucket that is in no brigade.
    pub(super) unsafe fn append(&mut self, bucket: *mut sys::apr_bucket) {
        let sentinel = self.sentinel();
        // SAFETY: ring pointers are valid buckets or the sentinel, whose link is the list's head.
        unsafe {
            let list = &raw mut (*self.raw()).list;
            let last = (*list).prev;
            (*bucket).link.next = sentinel;
            (*bucket).link.prev = last;
            if last == sentinel {
                (*list).next = bucket;
            } else {
                (*last).link.next = bucket;
            }
            (*list).prev = bucket;
        }
    }

    /// `apr_bucket_delete`.
    ///
    /// # Safety
    /// `bucket` is in this brigade.
    unsafe fn delete(&mut self, bucket: NonNull<sys::apr_bucket>) {
        let sentinel = self.sentinel();
        // SAFETY: as in `append`; the bucket's own functions destroy and free it.
        unsafe {
            let list = &raw mut (*self.raw()).list;
            let bucket = bucket.as_ptr();
            let (next, previous) = ((*bucket).link.next, (*bucket).link.prev);
            if previous == sentinel {
                (*list).next = next;
            } else {
                (*previous).link.next = next;
            }
            if next == sentinel {
                (*list).prev = previous;
            } else {
                (*next).link.prev = previous;
            }
            if let Some(destroy) = (*(*bucket).type_).destroy {
                destroy((*bucket).data);
            }
            if let Some(free) = (*bucket).free {
                free(bucket.cast());
            }
        }
    }
}

impl Drop for Brigade<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A brigade on its way to the client.
pub(crate) struct Sending<'r> {
    request: Request<'r>,
    pub(super) brigade: Brigade<'r>,
}

impl<'r> Sending<'r> {
    /// Nothing to send yet.
    pub(crate) fn new(request: Request<'r>) -> Self {
        Self { request, brigade: Brigade::new(request) }
    }

    /// Copies bytes behind those that wait.
    pub(crate) fn copy(&mut self, data: &[u8]) -> Result<(), AprError> {
        // SAFETY: the brigade copies the bytes.
        check(unsafe {
            sys::apr_brigade_write(self.brigade.raw(), None, std::ptr::null_mut(), data.as_ptr().cast(), data.len())
        })
    }

    /// Passes on what waits, then `blocks` without copying them, then, if wanted, a flush: whoever keeps the bytes for longer
    /// than the call copies them (that is what a transient bucket says).
    pub(crate) fn pass_now(&mut self, blocks: &[&[u8]], flush: bool) -> Result<(), AprError> {
        // SAFETY: a fresh bucket each; transient ones are gone from the brigade before their bytes may go.
        unsafe {
            let allocator = self.brigade.allocator();
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                let bucket = sys::apr_bucket_transient_create(block.as_ptr().cast(), block.len(), allocator);
                self.brigade.append(bucket);
            }
            if flush {
                self.brigade.append(sys::apr_bucket_flush_create(allocator));
            }
        }
        self.pass()
    }

    /// Adds a part of a file. It stays open as long as the request's pool, whatever becomes of the descriptor.
    pub(crate) fn file(
        &mut self,
        descriptor: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        sendfile: bool,
    ) -> Result<(), AprError> {
        let unusable = AprError(libc::EBADF);
        // A description of its own: filters read the file later, and through a duplicate they would move the position that
        // the application sees, or that another response from the same open file is at. Where it cannot be opened again
        // (no /proc, no right to) a duplicate has to do.
        let own = File::open(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).map(OwnedFd::from);
        let owned = own.or_else(|_| descriptor.try_clone_to_owned()).map_err(|_| unusable)?;
        let mut flags = sys::APR_FOPEN_READ;
        if sendfile {
            flags |= sys::APR_FOPEN_SENDFILE_ENABLED;
        }
        let pool = self.request.pool();
        let mut file: *mut sys::apr_file_t = std::ptr::null_mut();
        let mut number = owned.as_raw_fd();
        let offset = i64::try_from(offset).map_err(|_| AprError(libc::EINVAL))?;
        let length = i64::try_from(length).map_err(|_| AprError(libc::EINVAL))?;
        // SAFETY: `file` is made in the request's pool and closed with it (`apr_os_file_put` itself closes nothing).
        unsafe {
            check(sys::apr_os_file_put(&raw mut file, &raw mut number, flags.cast_signed(), pool.raw()))?;
            pool.keep(owned);
            let bucket = sys::apr_brigade_insert_file(self.brigade.raw(), file, offset, length, pool.raw());
            if self.request.forbids_mmap() && !bucket.is_null() {
                sys::apr_bucket_file_enable_mmap(bucket, 0);
            }
        }
        Ok(())
    }

    /// Adds the end of the response.
    pub(crate) fn end(&mut self) {
        // SAFETY: a fresh bucket.
        unsafe {
            let bucket = sys::apr_bucket_eos_create(self.brigade.allocator());
            self.brigade.append(bucket);
        }
    }

    /// Adds "the response breaks off here": no final chunk is written, the connection is closed, and caches keep nothing
    /// of it.
    pub(crate) fn break_off(&mut self) {
        self.request.forbid_caching();
        // SAFETY: fresh buckets.
        unsafe {
            let allocator = self.brigade.allocator();
            let status = sys::HTTP_BAD_GATEWAY.cast_signed();
            let error = sys::ap_bucket_error_create(status, std::ptr::null(), self.request.pool().raw(), allocator);
            self.brigade.append(error);
            let eoc = sys::ap_bucket_eoc_create(allocator);
            self.brigade.append(eoc);
        }
        self.request.connection().close_afterwards();
    }

    /// Hands everything to the output filters.
    pub(crate) fn pass(&mut self) -> Result<(), AprError> {
        // SAFETY: the chain belongs to the request.
        let result = check(unsafe { sys::ap_pass_brigade((*self.request.raw()).output_filters, self.brigade.raw()) });
        self.brigade.clear();
        result
    }
}

/// What a read of the request's body gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// There may be more.
    Data,
    /// The body has ended.
    End,
}

impl Brigade<'_> {
    /// Fetches up to `length` more bytes of the request's body, waiting for at least one. The first call sends
    /// `100 Continue` when the client waits for it.
    pub(crate) fn fetch(&mut self, request: Request<'_>, length: usize) -> Result<Fetched, AprError> {
        // SAFETY: the chain belongs to the request.
        let status = unsafe {
            sys::ap_get_brigade(
                (*request.raw()).input_filters,
                self.raw(),
                sys::AP_MODE_READBYTES,
                sys::APR_BLOCK_READ,
                i64::try_from(length.max(1)).unwrap_or(i64::MAX),
            )
        };
        check(status)?;
        Ok(if self.is_empty() { Fetched::End } else { Fetched::Data })
    }

    /// Moves bytes into `buffer`. Returns how many, and whether the end of the body was met.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Result<(usize, Fetched), AprError> {
        let mut filled = 0;
        while let Some(bucket) = self.first() {
            // SAFETY: the bucket is in this brigade; its own functions read and split it.
            unsafe {
                let kind = (*bucket.as_ptr()).type_;
                if std::ptr::eq(kind, &raw const sys::apr_bucket_type_eos) {
                    return Ok((filled, Fetched::End));
                }
                if (*kind).is_metadata == sys::APR_BUCKET_METADATA {
                    self.delete(bucket);
                    continue;
                }
                if filled == buffer.len() {
                    break;
                }
                let mut data: *const c_char = std::ptr::null();
                let mut length = 0;
                let Some(read) = (*kind).read else { return Err(AprError(libc::EINVAL)) };
                match check(read(bucket.as_ptr(), &raw mut data, &raw mut length, sys::APR_BLOCK_READ)) {
                    // What came before the failure is delivered; the next call meets the failure again.
                    Err(_) if filled > 0 => break,
                    result => result?,
                }
                let taken = length.min(buffer.len() - filled);
                if taken > 0 {
                    std::ptr::copy_nonoverlapping(data.cast::<u8>(), buffer.as_mut_ptr().add(filled), taken);
                    filled += taken;
                }
                if taken < length {
                    // Reading may have given the bucket another type.
                    let Some(split) = (*(*bucket.as_ptr()).type_).split else { return Err(AprError(libc::EINVAL)) };
                    check(split(bucket.as_ptr(), taken))?;
                }
                self.delete(bucket);
            }
        }
        Ok((filled, Fetched::Data))
    }
}

/// The HTTP status that Apache gives to a failed read of a request's body.
pub(crate) fn status_of_read_failure(error: AprError) -> u16 {
    // SAFETY: a pure function.
    let status = unsafe { sys::ap_map_http_request_error(error.0, sys::HTTP_BAD_REQUEST.cast_signed()) };
    u16::try_from(status).ok().filter(|status| *status >= 400).unwrap_or(400)
}
