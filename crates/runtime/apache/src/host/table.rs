//! `apr_table_t`.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::host::Pool;
use crate::sys;

/// A table of texts that lives for `'p`. Lookups ignore the case of ASCII letters.
#[derive(Clone, Copy)]
pub(crate) struct Table<'p> {
    raw: NonNull<sys::apr_table_t>,
    lives: PhantomData<&'p sys::apr_table_t>,
}

impl<'p> Table<'p> {
    /// # Safety
    /// `raw` is null or a table that lives for `'p` and is used by one thread at a time.
    pub(crate) unsafe fn from_raw(raw: *mut sys::apr_table_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw, lives: PhantomData })
    }

    /// A new table.
    pub(crate) fn new(pool: Pool<'p>, room: i32) -> Self {
        // SAFETY: the pool is alive; apr_table_make does not return null.
        let raw = unsafe { sys::apr_table_make(pool.raw(), room) };
        Self { raw: NonNull::new(raw).expect("pools abort when memory runs out"), lives: PhantomData }
    }

    pub(crate) fn raw(self) -> *mut sys::apr_table_t {
        self.raw.as_ptr()
    }

    /// The first value of a key. It stays readable for `'p`: tables replace pointers, they never write into texts.
    pub(crate) fn get(self, key: &CStr) -> Option<&'p CStr> {
        // SAFETY: the table is alive, and so is what it points to.
        unsafe {
            let value = sys::apr_table_get(self.raw(), key.as_ptr());
            (!value.is_null()).then(|| CStr::from_ptr(value))
        }
    }

    /// Replaces all values of a key; the texts are copied.
    pub(crate) fn set(self, key: &CStr, value: &CStr) {
        // SAFETY: the table copies both texts into its pool.
        unsafe { sys::apr_table_set(self.raw(), key.as_ptr(), value.as_ptr()) }
    }

    /// Replaces all values of a key; the texts live as long as the table.
    pub(crate) fn set_lasting(self, key: &'p CStr, value: &'p CStr) {
        // SAFETY: both texts live for 'p, as the table does.
        unsafe { sys::apr_table_setn(self.raw(), key.as_ptr(), value.as_ptr()) }
    }

    /// Adds a value; the texts live as long as the table.
    pub(crate) fn add_lasting(self, key: &'p CStr, value: &'p CStr) {
        // SAFETY: both texts live for 'p, as the table does.
        unsafe { sys::apr_table_addn(self.raw(), key.as_ptr(), value.as_ptr()) }
    }

    /// Removes all values of a key.
    pub(crate) fn unset(self, key: &CStr) {
        // SAFETY: the table is alive.
        unsafe { sys::apr_table_unset(self.raw(), key.as_ptr()) }
    }

    fn entries(self) -> &'p [sys::apr_table_entry_t] {
        // SAFETY: a table begins with its array header, as `apr_table_elts` promises; the elements live as long as the
        // table is not changed, and their texts as long as its pool.
        unsafe {
            let elements = sys::apr_table_elts(self.raw());
            let count = usize::try_from((*elements).nelts).unwrap_or(0);
            if (*elements).elts.is_null() || count == 0 {
                return &[];
            }
            std::slice::from_raw_parts((*elements).elts.cast(), count)
        }
    }

    /// How many entries there are.
    pub(crate) fn len(self) -> usize {
        self.entries().len()
    }

    /// Keys and values in their order. The table is not changed while this is used.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'p CStr, Option<&'p CStr>)> {
        self.entries().iter().filter(|entry| !entry.key.is_null()).map(|entry| {
            // SAFETY: keys and values are texts in the table's pool.
            unsafe {
                let value = (!entry.val.is_null()).then(|| CStr::from_ptr(entry.val));
                (CStr::from_ptr(entry.key), value)
            }
        })
    }
}
