//! State that belongs to an interpreter and is changed by whoever holds its GIL.
//!
//! Borrows must not last over anything that runs Python code or gives the GIL back. A borrow that meets another one of
//! its own thread panics, which the slot or the request reports. On a Python that was built to run without a GIL the
//! same cell has a small lock instead; there, other threads wait.

#[cfg(not(Py_GIL_DISABLED))]
mod guarded {
    use std::cell::{Ref, RefCell, RefMut};

    use pyo3::Python;

    /// See the module.
    pub(crate) struct GilCell<T>(RefCell<T>);

    // SAFETY: the borrow flag and the value are only touched with the GIL held, which the token shows; every cell is
    // used with tokens of one interpreter.
    unsafe impl<T: Send> Sync for GilCell<T> {}

    impl<T> GilCell<T> {
        /// A cell with this value.
        pub(crate) fn new(value: T) -> Self {
            Self(RefCell::new(value))
        }

        /// Borrows the value.
        pub(crate) fn borrow<'a>(&'a self, _py: Python<'a>) -> Ref<'a, T> {
            self.0.borrow()
        }

        /// Borrows the value to change it.
        pub(crate) fn borrow_mut<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
            self.0.borrow_mut()
        }

        /// Borrows the value to change it, unless somebody else is at it: for borrows that last over an allocation, in
        /// which the garbage collector may run Python code and so let other threads in.
        pub(crate) fn try_borrow_mut<'a>(&'a self, _py: Python<'a>) -> Option<RefMut<'a, T>> {
            self.0.try_borrow_mut().ok()
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod guarded {
    use std::cell::{Cell, Ref, RefCell, RefMut};
    use std::ops::{Deref, DerefMut};
    use std::sync::atomic::{AtomicU64, Ordering};

    use pyo3::Python;

    /// See the module.
    pub(crate) struct GilCell<T> {
        lock: Lock,
        value: RefCell<T>,
    }

    // SAFETY: the borrow flag and the value are only touched by the thread that owns the lock, for as long as its
    // guards live.
    unsafe impl<T: Send> Sync for GilCell<T> {}

    /// A lock that its owner may take again. It is held for moments without a call into Python, so that waiting is
    /// spinning: a thread must not sleep here while it is attached, nor detach in the middle of a slot.
    struct Lock {
        /// The owning thread, 0 for none.
        owner: AtomicU64,
        /// How often the owner has it.
        depth: Cell<u32>,
    }

    impl Lock {
        fn try_take(&self) -> bool {
            // SAFETY: no preconditions.
            let own = unsafe { libc::pthread_self() } as u64;
            if self.owner.load(Ordering::Relaxed) != own
                && self.owner.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed).is_err()
            {
                return false;
            }
            self.depth.set(self.depth.get() + 1);
            true
        }

        fn take(&self) -> Hold<'_> {
            let mut tries = 0u32;
            while !self.try_take() {
                tries += 1;
                if tries % 64 == 0 {
                    std::thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            Hold(self)
        }
    }

    /// The lock is held; given back when dropped.
    struct Hold<'a>(&'a Lock);

    impl Drop for Hold<'_> {
        fn drop(&mut self) {
            let depth = self.0.depth.get() - 1;
            self.0.depth.set(depth);
            if depth == 0 {
                self.0.owner.store(0, Ordering::Release);
            }
        }
    }

    /// A borrow. The value goes before the lock.
    pub(crate) struct Borrowed<'a, G> {
        value: G,
        _hold: Hold<'a>,
    }

    impl<G: Deref> Deref for Borrowed<'_, G> {
        type Target = G::Target;
        fn deref(&self) -> &G::Target {
            &self.value
        }
    }

    impl<G: DerefMut> DerefMut for Borrowed<'_, G> {
        fn deref_mut(&mut self) -> &mut G::Target {
            &mut self.value
        }
    }

    impl<T> GilCell<T> {
        /// A cell with this value.
        pub(crate) fn new(value: T) -> Self {
            Self { lock: Lock { owner: AtomicU64::new(0), depth: Cell::new(0) }, value: RefCell::new(value) }
        }

        /// Borrows the value.
        pub(crate) fn borrow<'a>(&'a self, _py: Python<'a>) -> Borrowed<'a, Ref<'a, T>> {
            let hold = self.lock.take();
            Borrowed { value: self.value.borrow(), _hold: hold }
        }

        /// Borrows the value to change it.
        pub(crate) fn borrow_mut<'a>(&'a self, _py: Python<'a>) -> Borrowed<'a, RefMut<'a, T>> {
            let hold = self.lock.take();
            Borrowed { value: self.value.borrow_mut(), _hold: hold }
        }

        /// Borrows the value to change it, unless somebody else is at it.
        pub(crate) fn try_borrow_mut<'a>(&'a self, _py: Python<'a>) -> Option<Borrowed<'a, RefMut<'a, T>>> {
            let hold = self.lock.try_take().then(|| Hold(&self.lock))?;
            Some(Borrowed { value: self.value.try_borrow_mut().ok()?, _hold: hold })
        }
    }
}

pub(crate) use guarded::GilCell;
