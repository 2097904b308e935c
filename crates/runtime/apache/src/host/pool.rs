//! `apr_pool_t`.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::guard;
use crate::sys;

/// A memory pool that lives for `'p`.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'p> {
    raw: NonNull<sys::apr_pool_t>,
    lives: PhantomData<&'p sys::apr_pool_t>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `raw` is a pool that is neither cleared nor destroyed during `'p`, and only used by one thread at a time.
    pub(crate) unsafe fn from_raw(raw: *mut sys::apr_pool_t) -> Self {
        // Apache never hands a null pool to a module; an abort here beats a corrupted heap.
        let raw = NonNull::new(raw).expect("Apache passes a pool");
        Self { raw, lives: PhantomData }
    }

    /// A pool that must not be used: for tests of code that keeps nothing.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self { raw: NonNull::dangling(), lives: PhantomData }
    }

    pub(crate) fn raw(self) -> *mut sys::apr_pool_t {
        self.raw.as_ptr()
    }

    /// Uninitialised room.
    fn room(self, size: usize) -> *mut u8 {
        // SAFETY: the pool is alive. apr_palloc does not return null: Apache's pools abort when memory runs out.
        unsafe { sys::apr_palloc(self.raw(), size).cast() }
    }

    /// Moves a plain value into the pool.
    pub(crate) fn put<T: Copy>(self, value: T) -> &'p mut T {
        const { assert!(align_of::<T>() <= 8, "APR aligns to 8 bytes") };
        let room = self.room(size_of::<T>()).cast::<T>();
        // SAFETY: fresh memory of the right size and alignment that lives for 'p.
        unsafe {
            room.write(value);
            &mut *room
        }
    }

    /// Room for `length` plain values, each a copy of `value`.
    pub(crate) fn slice<T: Copy>(self, length: usize, value: T) -> &'p mut [T] {
        const { assert!(align_of::<T>() <= 8, "APR aligns to 8 bytes") };
        let size = length.checked_mul(size_of::<T>()).expect("fits in memory");
        let room = self.room(size).cast::<T>();
        // SAFETY: fresh memory of the right size and alignment that lives for 'p; every element is written before the
        // slice is made.
        unsafe {
            for index in 0..length {
                room.add(index).write(value);
            }
            std::slice::from_raw_parts_mut(room, length)
        }
    }

    /// Copies plain values into the pool.
    pub(crate) fn copy_of<T: Copy>(self, values: &[T]) -> &'p mut [T] {
        let Some(first) = values.first() else { return &mut [] };
        let room = self.slice(values.len(), *first);
        room.copy_from_slice(values);
        room
    }

    /// Copies bytes into the pool.
    pub(crate) fn bytes(self, bytes: &[u8]) -> &'p [u8] {
        self.concat(&[bytes]).to_bytes_or_cut()
    }

    /// Copies text into the pool; it ends at the first NUL byte, if there is one.
    pub(crate) fn text(self, bytes: &[u8]) -> &'p CStr {
        self.concat(&[bytes]).cut()
    }

    /// Copies the parts one after the other into the pool; the text ends at the first NUL byte, if there is one.
    pub(crate) fn join(self, parts: &[&[u8]]) -> &'p CStr {
        self.concat(parts).cut()
    }

    fn concat(self, parts: &[&[u8]]) -> Joined<'p> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let room = self.room(length + 1);
        let mut end = 0;
        for part in parts {
            // SAFETY: the room holds the sum of all lengths and one byte more.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), room.add(end), part.len()) };
            end += part.len();
        }
        // SAFETY: as above; everything before was written.
        unsafe {
            room.add(end).write(0);
            Joined(std::slice::from_raw_parts(room, length + 1))
        }
    }

    /// Gives a value to the pool, which drops it when it is cleared.
    pub(crate) fn keep<T: 'static>(self, value: T) -> &'p T {
        let pointer = Box::into_raw(Box::new(value));
        // SAFETY: the pointer is what `drop_boxed::<T>` expects, and the pool runs it exactly once.
        unsafe {
            sys::apr_pool_cleanup_register(
                self.raw(),
                pointer.cast(),
                Some(drop_boxed::<T>),
                Some(sys::apr_pool_cleanup_null),
            );
            &*pointer
        }
    }

    /// Runs a function when the pool is cleared.
    pub(crate) fn at_end(self, run: impl FnOnce() + 'static) {
        struct AtDrop<F: FnOnce()>(Option<F>);
        impl<F: FnOnce()> Drop for AtDrop<F> {
            fn drop(&mut self) {
                if let Some(run) = self.0.take() {
                    run();
                }
            }
        }
        self.keep(AtDrop(Some(run)));
    }

    /// The value that was stored under this key with [`Pool::remember`].
    ///
    /// # Safety
    /// Only values of type `T` are stored under `key`.
    pub(crate) unsafe fn recall<T: 'static>(self, key: &CStr) -> Option<&'p T> {
        let mut found: *mut c_void = std::ptr::null_mut();
        // SAFETY: the pool is alive and `found` is writable.
        unsafe {
            sys::apr_pool_userdata_get(&raw mut found, key.as_ptr(), self.raw());
            found.cast::<T>().as_ref()
        }
    }

    /// Stores a value under a key for as long as the pool lives.
    pub(crate) fn remember<T: 'static>(self, key: &'static CStr, value: T) -> &'p T {
        let value = self.keep(value);
        // SAFETY: the value lives as long as the pool. The key is copied by the non-`n` variant, because the module's
        // own memory may go before the pool does.
        unsafe {
            sys::apr_pool_userdata_set(std::ptr::from_ref(value).cast(), key.as_ptr(), None, self.raw());
        }
        value
    }
}

/// Joined parts and a NUL byte after them.
struct Joined<'p>(&'p [u8]);

impl<'p> Joined<'p> {
    fn to_bytes_or_cut(&self) -> &'p [u8] {
        self.0.split_last().map_or(&[], |(_, bytes)| bytes)
    }

    fn cut(&self) -> &'p CStr {
        CStr::from_bytes_until_nul(self.0).unwrap_or_default()
    }
}

unsafe extern "C" fn drop_boxed<T>(pointer: *mut c_void) -> sys::apr_status_t {
    guard::wall("a pool's cleanup", (), || {
        // SAFETY: `Pool::keep` registered this function with a pointer from `Box::into_raw` of the same type.
        drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
    });
    0
}
