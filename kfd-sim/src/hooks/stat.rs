//! The `stat` family of hooks: as the others, and device files look like character devices.
//!
//! A program that was built against a libc older than 2.33 calls `__xstat` and its relatives, which newer libcs only keep
//! for such programs: those hooks call the plain functions.

use super::{Real, Target, answer_missing, look_target, set_errno};
use crate::kernel::{Device, Node};
use crate::{machine, paths};
use libc::{c_char, c_int, c_uint};

fn make_device(stat: &mut libc::stat, number: (u32, u32)) {
    stat.st_mode = libc::S_IFCHR | 0o666;
    stat.st_rdev = libc::makedev(number.0, number.1);
    stat.st_size = 0;
    stat.st_blocks = 0;
}

/// Looks a path up through one of libc's functions, and dresses device files.
///
/// # Safety
/// As libc's `stat`.
unsafe fn stat_with(
    path: *const c_char,
    stat: *mut libc::stat,
    call: impl FnOnce(*const c_char) -> c_int,
) -> c_int {
    // SAFETY: handed on.
    let (target, number) = unsafe { look_target(path) };
    match target {
        Target::Host => call(path),
        Target::File(file) => {
            let done = call(file.as_ptr());
            if let (0, Some(number)) = (done, number) {
                // SAFETY: the call succeeded, so the struct is valid and filled in.
                make_device(unsafe { &mut *stat }, number);
            }
            done
        }
        Target::Device(_) | Target::Nowhere => answer_missing(),
    }
}

/// Dresses an `fstat` of one of our descriptors.
///
/// # Safety
/// `done` is libc's answer for `stat`.
unsafe fn dress_descriptor(done: c_int, stat: *mut libc::stat) -> c_int {
    let Some(device) = machine::device_if_any() else { return done };
    if done == 0 {
        // SAFETY: the call succeeded, so the struct is valid and filled in.
        let stat = unsafe { &mut *stat };
        if let Some(node) = node_of(device, stat) {
            make_device(stat, number_of(node));
        }
    }
    done
}

fn number_of(node: Node) -> (u32, u32) {
    match node {
        Node::Kfd => super::KFD_NUMBER,
        Node::Render => (super::DRM_MAJOR, paths::RENDER_MINOR),
    }
}

fn node_of(device: &Device, stat: &libc::stat) -> Option<Node> {
    let file_system = (u64::from(libc::major(stat.st_dev)) << 32) | u64::from(libc::minor(stat.st_dev));
    device.node_of_identity((file_system, stat.st_ino))
}

/// `stat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat(path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"stat", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `stat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat64(path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"stat64", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `lstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lstat(path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"lstat", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `lstat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lstat64(path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"lstat64", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `fstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstat(fd: c_int, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = real!(c"fstat", fn(c_int, *mut libc::stat) -> c_int, (fd, stat), else -1);
        dress_descriptor(done, stat)
    }
}

/// `fstat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstat64(fd: c_int, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = real!(c"fstat64", fn(c_int, *mut libc::stat) -> c_int, (fd, stat), else -1);
        dress_descriptor(done, stat)
    }
}

/// `fstatat`. With AT_EMPTY_PATH it is an `fstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstatat(
    dir: c_int,
    path: *const c_char,
    stat: *mut libc::stat,
    flags: c_int,
) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = stat_with(
            path,
            stat,
            |path| real!(c"fstatat", fn(c_int, *const c_char, *mut libc::stat, c_int) -> c_int, (dir, path, stat, flags), else -1),
        );
        if flags & libc::AT_EMPTY_PATH != 0 { dress_descriptor(done, stat) } else { done }
    }
}

/// `fstatat64`. With AT_EMPTY_PATH it is an `fstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstatat64(
    dir: c_int,
    path: *const c_char,
    stat: *mut libc::stat,
    flags: c_int,
) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = stat_with(
            path,
            stat,
            |path| real!(c"fstatat64", fn(c_int, *const c_char, *mut libc::stat, c_int) -> c_int, (dir, path, stat, flags), else -1),
        );
        if flags & libc::AT_EMPTY_PATH != 0 { dress_descriptor(done, stat) } else { done }
    }
}

/// `__xstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __xstat(_version: c_int, path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"stat", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `__xstat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __xstat64(_version: c_int, path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"stat64", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `__lxstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __lxstat(_version: c_int, path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"lstat", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `__lxstat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __lxstat64(_version: c_int, path: *const c_char, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        stat_with(
            path,
            stat,
            |path| real!(c"lstat64", fn(*const c_char, *mut libc::stat) -> c_int, (path, stat), else -1),
        )
    }
}

/// `__fxstat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __fxstat(_version: c_int, fd: c_int, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = real!(c"fstat", fn(c_int, *mut libc::stat) -> c_int, (fd, stat), else -1);
        dress_descriptor(done, stat)
    }
}

/// `__fxstat64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __fxstat64(_version: c_int, fd: c_int, stat: *mut libc::stat) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let done = real!(c"fstat64", fn(c_int, *mut libc::stat) -> c_int, (fd, stat), else -1);
        dress_descriptor(done, stat)
    }
}

/// `statx`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn statx(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    stat: *mut libc::statx,
) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| {
            real!(
                c"statx",
                fn(c_int, *const c_char, c_int, c_uint, *mut libc::statx) -> c_int,
                (dir, path, flags, mask, stat),
                else -1
            )
        };
        let (target, mut number) = look_target(path);
        let done = match target {
            Target::Host => call(path),
            Target::File(file) => call(file.as_ptr()),
            Target::Device(_) | Target::Nowhere => answer_missing(),
        };
        if done == 0 && flags & libc::AT_EMPTY_PATH != 0 {
            let identity = (
                (u64::from((*stat).stx_dev_major) << 32) | u64::from((*stat).stx_dev_minor),
                (*stat).stx_ino,
            );
            number =
                machine::device_if_any().and_then(|d| d.node_of_identity(identity)).map(number_of).or(number);
        }
        if let (0, Some((major, minor))) = (done, number) {
            (*stat).stx_mode = (libc::S_IFCHR | 0o666) as u16;
            ((*stat).stx_rdev_major, (*stat).stx_rdev_minor) = (major, minor);
            ((*stat).stx_size, (*stat).stx_blocks) = (0, 0);
        }
        done
    }
}
