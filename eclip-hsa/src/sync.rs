//! What the mechanisms are made of: std's atomics and cells, or loom's when the crate is built to be model-checked
//! (`--cfg loom`).

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, atomic};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{Mutex, atomic},
};

/// std's cell with loom's interface.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer to the value. Whoever writes through it states why nobody else has it.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer to the value, to read. Whoever reads through it states why nobody writes.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }
}

/// A sequentially consistent fence that directly follows a read-modify-write of the same thread, whatever its order and whether or not it
/// changed anything. On x86-64 that instruction is locked, which is a full fence already (Intel SDM 3A, 9.2.5), so only the compiler is held
/// back. There this rests on the processor's rules, for the language knows no fence that comes with a read-modify-write; loom and the other
/// processors get the language's.
#[inline]
pub(crate) fn fence_after_rmw() {
    #[cfg(any(loom, not(target_arch = "x86_64")))]
    atomic::fence(atomic::Ordering::SeqCst);
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    atomic::compiler_fence(atomic::Ordering::SeqCst);
}
