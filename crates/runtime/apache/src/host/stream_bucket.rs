//! A bucket whose bytes are fetched when a filter reads them. It has a known length and can be split and copied, so
//! httpd's byte-range filter can pick parts of a body that was not read yet. Reading goes forward only.

use std::ffi::{c_char, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use super::brigade::{AprError, Sending, check};
use crate::guard::wall;
use crate::sys;

const UNREADABLE: sys::apr_status_t = sys::APR_EGENERAL.cast_signed();

/// Where the bytes come from.
pub(crate) trait Source {
    /// Replaces `chunk` with the next bytes, at least one. Without `wait` it fails with [`AprError::NOT_YET`] when
    /// there are none yet.
    fn next(&mut self, wait: bool, chunk: &mut Vec<u8>) -> Result<(), AprError>;
}

type Next = unsafe fn(NonNull<c_void>, bool, &mut Vec<u8>) -> Result<(), AprError>;

/// # Safety
/// `source` is a live `S` that nobody else uses during the call.
unsafe fn next<S: Source>(source: NonNull<c_void>, wait: bool, chunk: &mut Vec<u8>) -> Result<(), AprError> {
    // SAFETY: the caller's promise.
    unsafe { source.cast::<S>().as_mut() }.next(wait, chunk)
}

/// What all buckets of one stream share.
struct Stream {
    /// `None` once the stream was passed: a filter that kept a bucket cannot read it later.
    source: Option<(NonNull<c_void>, Next)>,
    /// The bytes that were fetched last.
    chunk: Vec<u8>,
    /// The offset of `chunk` in the body.
    start: u64,
}

// SAFETY: the source is used only while `pass_stream` runs, which removes it before it returns; httpd runs the output
// filters of a request on the thread that passes the brigade.
unsafe impl Send for Stream {}

impl Stream {
    /// The bytes from `offset` on that are here, at least one and at most `wanted`.
    fn at(&mut self, offset: u64, wanted: usize, wait: bool) -> Result<&[u8], AprError> {
        while self.start + self.chunk.len() as u64 <= offset {
            let (source, next) = self.source.ok_or(AprError(UNREADABLE))?;
            let start = self.start + self.chunk.len() as u64;
            // A failure leaves an empty chunk at the right offset.
            self.start = start;
            self.chunk.clear();
            // SAFETY: `pass_stream` holds the only reference to the source, and waits.
            unsafe { next(source, wait, &mut self.chunk) }?;
        }
        let skipped = offset.checked_sub(self.start).ok_or(AprError(UNREADABLE))?;
        let rest = usize::try_from(skipped).ok().and_then(|skipped| self.chunk.get(skipped..));
        let rest = rest.ok_or(AprError(UNREADABLE))?;
        Ok(&rest[..rest.len().min(wanted)])
    }
}

type Shared = Mutex<Stream>;

/// [`sys::apr_bucket_type_t`] holds a pointer to its name, which makes it not `Sync` by itself.
struct Kind(sys::apr_bucket_type_t);

// SAFETY: nobody writes to it; the name is a constant.
unsafe impl Sync for Kind {}

static KIND: Kind = Kind(sys::apr_bucket_type_t {
    name: c"WSGI STREAM".as_ptr(),
    num_func: 5,
    is_metadata: sys::APR_BUCKET_DATA,
    destroy: Some(destroy),
    read: Some(read),
    // A filter that wants to keep the bucket reads it instead.
    setaside: Some(sys::apr_bucket_setaside_notimpl),
    split: Some(split),
    copy: Some(copy),
});

unsafe extern "C" fn destroy(data: *mut c_void) {
    // SAFETY: each bucket of this kind owns one count, which ends here.
    unsafe { drop(Arc::from_raw(data.cast_const().cast::<Shared>())) }
}

unsafe extern "C" fn split(bucket: *mut sys::apr_bucket, point: usize) -> sys::apr_status_t {
    // SAFETY: the bucket is alive and of this kind; the second half is a bucket of its own, with a count of its own.
    unsafe {
        let status = sys::apr_bucket_simple_split(bucket, point);
        if status == 0 {
            Arc::increment_strong_count((*bucket).data.cast_const().cast::<Shared>());
        }
        status
    }
}

unsafe extern "C" fn copy(bucket: *mut sys::apr_bucket, made: *mut *mut sys::apr_bucket) -> sys::apr_status_t {
    // SAFETY: as in `split`.
    unsafe {
        let status = sys::apr_bucket_simple_copy(bucket, made);
        if status == 0 {
            Arc::increment_strong_count((*bucket).data.cast_const().cast::<Shared>());
        }
        status
    }
}

unsafe extern "C" fn read(
    bucket: *mut sys::apr_bucket,
    text: *mut *const c_char,
    length: *mut usize,
    block: sys::apr_read_type_e,
) -> sys::apr_status_t {
    wall("reading a response for byte ranges", UNREADABLE, || {
        // SAFETY: httpd passes a live bucket of this kind and places for the results.
        let result = unsafe { fetch(bucket, block == sys::APR_BLOCK_READ) };
        let (base, count) = match result {
            Ok(found) => found,
            Err(error) => return error.0,
        };
        // SAFETY: as above.
        unsafe {
            *text = base;
            *length = count;
        }
        0
    })
}

/// Turns the bucket into one that holds bytes in memory; what is still to be fetched becomes a bucket behind it.
///
/// # Safety
/// `bucket` is alive and of this kind.
unsafe fn fetch(bucket: *mut sys::apr_bucket, wait: bool) -> Result<(*const c_char, usize), AprError> {
    // SAFETY: the bucket owns a count of what it shares; `apr_bucket_heap_make` takes its place, and the count is given
    // back after that. The bytes are copied while the stream is locked.
    unsafe {
        let shared = ManuallyDrop::new(Arc::from_raw((*bucket).data.cast_const().cast::<Shared>()));
        let wanted = (*bucket).length;
        if wanted == 0 {
            return Ok((c"".as_ptr(), 0));
        }
        let offset = u64::try_from((*bucket).start).map_err(|_| AprError(UNREADABLE))?;
        // Busy or poisoned: a filter reads from within a read, or an earlier read panicked.
        let mut stream = shared.try_lock().map_err(|_| AprError(UNREADABLE))?;
        let bytes = stream.at(offset, wanted, wait)?;
        let count = bytes.len();
        if count < wanted {
            check(split(bucket, count))?;
        }
        if sys::apr_bucket_heap_make(bucket, bytes.as_ptr().cast(), count, None).is_null() {
            return Err(AprError(libc::ENOMEM));
        }
        drop(stream);
        drop(ManuallyDrop::into_inner(shared));
        let heap = (*bucket).data.cast::<sys::apr_bucket_heap>();
        Ok(((*heap).base.cast_const(), count))
    }
}

impl Sending<'_> {
    /// Passes a whole response of `length` bytes that `source` gives when filters ask for them.
    pub(crate) fn pass_stream<S: Source>(&mut self, length: u64, source: &mut S) -> Result<(), AprError> {
        let length = usize::try_from(length).map_err(|_| AprError(libc::EINVAL))?;
        let stream = Stream { source: Some((NonNull::from(source).cast(), next::<S>)), chunk: Vec::new(), start: 0 };
        let shared = Arc::new(Mutex::new(stream));
        // SAFETY: the bucket is filled before anybody sees it, and is in no brigade yet; it gets a count of its own.
        unsafe {
            let list = self.brigade.allocator();
            let bucket = sys::apr_bucket_alloc(size_of::<sys::apr_bucket>(), list).cast::<sys::apr_bucket>();
            bucket.write(sys::apr_bucket {
                link: sys::apr_bucket__bindgen_ty_1 { next: bucket, prev: bucket },
                type_: &raw const KIND.0,
                length,
                start: 0,
                data: Arc::into_raw(Arc::clone(&shared)).cast_mut().cast(),
                free: Some(sys::apr_bucket_free),
                list,
            });
            self.brigade.append(bucket);
        }
        self.end();
        let result = self.pass();
        // Also after a panic behind the wall: the source ends with this call.
        shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).source = None;
        result
    }
}
