//! The `open` family of hooks: device files are dups of the device's memory files, others open in the fixture.
//!
//! The names that begin with underscores are what programs call that were compiled with `_FORTIFY_SOURCE`.

use super::{Real, Target, set_errno, target};
use crate::kernel::Node;
use crate::kernel::uapi::Errno;
use crate::machine;
use libc::{c_char, c_int, mode_t};

fn open_device(node: Node, flags: c_int) -> c_int {
    let opened =
        machine::outside(|| machine::device().and_then(|d| d.open(node, flags & libc::O_CLOEXEC != 0)));
    match opened {
        Some(Ok(fd)) => fd,
        Some(Err(Errno(errno))) => {
            set_errno(errno);
            -1
        }
        None => {
            set_errno(libc::ENODEV);
            -1
        }
    }
}

/// Opens through one of libc's functions, whose other arguments `call` knows.
///
/// # Safety
/// `path` is null or NUL-terminated.
unsafe fn open_with(path: *const c_char, flags: c_int, call: impl FnOnce(*const c_char) -> c_int) -> c_int {
    // SAFETY: handed on.
    match unsafe { target(path) } {
        Target::Host => call(path),
        Target::Device(node) => open_device(node, flags),
        Target::File(file) => call(file.as_ptr()),
        Target::Nowhere => {
            set_errno(libc::ENOENT);
            -1
        }
    }
}

/// `open`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"open", fn(*const c_char, c_int, mode_t) -> c_int, (path, flags, mode), else -1),
        )
    }
}

/// `open64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"open64", fn(*const c_char, c_int, mode_t) -> c_int, (path, flags, mode), else -1),
        )
    }
}

/// `__open_2`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"__open_2", fn(*const c_char, c_int) -> c_int, (path, flags), else -1),
        )
    }
}

/// `__open64_2`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"__open64_2", fn(*const c_char, c_int) -> c_int, (path, flags), else -1),
        )
    }
}

/// `openat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"openat", fn(c_int, *const c_char, c_int, mode_t) -> c_int, (dir, path, flags, mode), else -1),
        )
    }
}

/// `openat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"openat64", fn(c_int, *const c_char, c_int, mode_t) -> c_int, (dir, path, flags, mode), else -1),
        )
    }
}

/// `__openat_2`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"__openat_2", fn(c_int, *const c_char, c_int) -> c_int, (dir, path, flags), else -1),
        )
    }
}

/// `__openat64_2`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        open_with(
            path,
            flags,
            |path| real!(c"__openat64_2", fn(c_int, *const c_char, c_int) -> c_int, (dir, path, flags), else -1),
        )
    }
}
