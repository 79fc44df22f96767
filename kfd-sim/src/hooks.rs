//! The libc functions through which a program looks at the machine, interposed.
//!
//! In a preloaded library, or linked into an executable that exports these names (see `hooks.list`), they come before
//! libc's. Each passes straight on to libc unless the path or descriptor belongs to the simulated machine and that is
//! switched on; the first look at a path is three byte comparisons. Any thread, also before `main`. No lock is held while
//! libc's function runs, and calls from inside the simulator go straight through.

use crate::kernel::Node;
use crate::kernel::uapi::{Answer, Errno};
use crate::machine;
use crate::paths::{self, Place, place};
use libc::{c_char, c_int, c_ulong, c_void, size_t, ssize_t};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Names of all hooks: what an executable that links the simulator in must export.
pub const HOOKS: &str = include_str!("../hooks.list");

/// Device numbers that `stat` shows: KFD's (dynamic on a real machine) and amdgpu's.
const KFD_NUMBER: (u32, u32) = (236, 0);
const DRM_MAJOR: u32 = 226;

/// libc's function behind a hook, found once.
struct Real {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn find(&self) -> *mut c_void {
        // Relaxed: the value is an address of code, the same whoever looks it up.
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: dlsym with a NUL-terminated name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Calls libc's function of that name and type; `else` with ENOSYS if this libc has none.
macro_rules! real {
    ($name:literal, fn($($type:ty),*) -> $ret:ty, ($($arg:expr),*), else $missing:expr) => {{
        static REAL: Real = Real::new($name);
        let address = REAL.find();
        if address.is_null() {
            set_errno(libc::ENOSYS);
            $missing
        } else {
            let function: unsafe extern "C" fn($($type),*) -> $ret = std::mem::transmute(address);
            function($($arg),*)
        }
    }};
}

mod open;
mod stat;

pub use open::*;
pub use stat::*;

fn answer_missing() -> c_int {
    set_errno(libc::ENOENT);
    -1
}

fn set_errno(value: i32) {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = value };
}

fn answer(result: Answer) -> c_int {
    match result {
        Ok(()) => 0,
        Err(Errno(errno)) => {
            set_errno(errno);
            -1
        }
    }
}

/// Where a call about a path goes.
enum Target {
    /// To libc, as it is.
    Host,
    /// To a simulated device file.
    Device(Node),
    /// To libc, with this path.
    File(CString),
    /// Nowhere: the simulated machine's files could not be made.
    Nowhere,
}

/// Decides where a call goes.
///
/// # Safety
/// `path` is null or NUL-terminated.
unsafe fn target(path: *const c_char) -> Target {
    if path.is_null() {
        return Target::Host;
    }
    // SAFETY: NUL-terminated by contract.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    if paths::surely_host(bytes) {
        return Target::Host;
    }
    let place = place(bytes);
    if place == Place::Host {
        return Target::Host;
    }
    machine::outside(|| match place {
        _ if !machine::is_on() => Target::Host,
        Place::Host => Target::Host,
        Place::Kfd => Target::Device(Node::Kfd),
        Place::RenderNode => Target::Device(Node::Render),
        Place::Fixture => fixture_path(bytes).map_or(Target::Nowhere, Target::File),
    })
    .unwrap_or(Target::Host)
}

fn fixture_path(path: &[u8]) -> Option<CString> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let file = crate::fixture::below(machine::fixture()?.root(), path);
    CString::new(file.into_os_string().into_encoded_bytes()).ok()
}

/// Like [`target`], for calls that look at a file without opening it: device files are plain files of the fixture there.
///
/// # Safety
/// `path` is null or NUL-terminated.
unsafe fn look_target(path: *const c_char) -> (Target, Option<(u32, u32)>) {
    // SAFETY: handed on.
    let target = unsafe { target(path) };
    if matches!(target, Target::Host) {
        return (target, None);
    }
    // SAFETY: a path that is not the host's is not null.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    let number = match bytes {
        b"/dev/kfd" => Some(KFD_NUMBER),
        b"/dev/dri/renderD128" => Some((DRM_MAJOR, paths::RENDER_MINOR)),
        b"/dev/dri/card0" => Some((DRM_MAJOR, 0)),
        _ => None,
    };
    let target = match target {
        Target::Device(_) => {
            machine::outside(|| fixture_path(bytes)).flatten().map_or(Target::Nowhere, Target::File)
        }
        other => other,
    };
    (target, number)
}

/// Calls `call` with the path that answers for `path`; `else` with ENOENT if there is none. Device files are the plain
/// files that stand for them.
///
/// # Safety
/// `path` is null or NUL-terminated.
unsafe fn look_with<T>(path: *const c_char, call: impl FnOnce(*const c_char) -> T, missing: T) -> T {
    // SAFETY: handed on.
    match unsafe { look_target(path) }.0 {
        Target::Host => call(path),
        Target::File(file) => call(file.as_ptr()),
        Target::Device(_) | Target::Nowhere => {
            set_errno(libc::ENOENT);
            missing
        }
    }
}

/// `fopen`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    let null = std::ptr::null_mut();
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"fopen", fn(*const c_char, *const c_char) -> *mut libc::FILE, (path, mode), else null);
        look_with(path, call, null)
    }
}

/// `fopen64`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut libc::FILE {
    let null = std::ptr::null_mut();
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"fopen64", fn(*const c_char, *const c_char) -> *mut libc::FILE, (path, mode), else null);
        look_with(path, call, null)
    }
}

/// `opendir`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn opendir(path: *const c_char) -> *mut libc::DIR {
    let null = std::ptr::null_mut();
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        look_with(
            path,
            |path| real!(c"opendir", fn(*const c_char) -> *mut libc::DIR, (path), else null),
            null,
        )
    }
}

/// `ioctl`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let letter = (request >> 8) as u8;
    if matches!(letter, b'K' | b'd')
        && let Some(Some(result)) = machine::outside(|| simulated_ioctl(fd, request, argument as u64))
    {
        return answer(result);
    }
    // SAFETY: libc's contract is the caller's; variadic in C, and passed alike on the platforms of this GPU.
    unsafe { real!(c"ioctl", fn(c_int, c_ulong, *mut c_void) -> c_int, (fd, request, argument), else -1) }
}

fn simulated_ioctl(fd: c_int, request: c_ulong, argument: u64) -> Option<Answer> {
    if let Some(device) = machine::device_if_any()
        && let Some(node) = device.node_of(fd)
    {
        return Some(device.ioctl(node, request, argument));
    }
    // A forked child must open the device for itself.
    machine::parents_device()?.node_of(fd).map(|_| Err(Errno(libc::EBADF)))
}

/// Takes the fixture's directory off the front of a path that libc has resolved, so that the program sees the simulated
/// machine's path.
///
/// # Safety
/// `path` is null or a NUL-terminated string that may be written.
unsafe fn hide_fixture(path: *mut c_char) {
    let Some(Some(root)) = machine::outside(|| machine::fixture().map(|f| f.root().as_os_str().as_bytes()))
    else {
        return;
    };
    if path.is_null() {
        return;
    }
    // SAFETY: NUL-terminated by contract; the shorter text and its NUL stay inside.
    unsafe {
        let text = CStr::from_ptr(path).to_bytes_with_nul();
        if text.starts_with(root) && text.get(root.len()) == Some(&b'/') {
            std::ptr::copy(path.add(root.len()), path, text.len() - root.len());
        }
    }
}

/// `readlink`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readlink(path: *const c_char, buffer: *mut c_char, size: size_t) -> ssize_t {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"readlink", fn(*const c_char, *mut c_char, size_t) -> ssize_t, (path, buffer, size), else -1);
        look_with(path, call, -1)
    }
}

/// `__readlink_chk`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __readlink_chk(
    path: *const c_char,
    buffer: *mut c_char,
    size: size_t,
    whole: size_t,
) -> ssize_t {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"__readlink_chk", fn(*const c_char, *mut c_char, size_t, size_t) -> ssize_t, (path, buffer, size, whole), else -1);
        look_with(path, call, -1)
    }
}

/// `readlinkat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readlinkat(
    dir: c_int,
    path: *const c_char,
    buffer: *mut c_char,
    size: size_t,
) -> ssize_t {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"readlinkat", fn(c_int, *const c_char, *mut c_char, size_t) -> ssize_t, (dir, path, buffer, size), else -1);
        look_with(path, call, -1)
    }
}

/// `realpath`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char {
    let null = std::ptr::null_mut();
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let ours = !matches!(target(path), Target::Host);
        let call = |path| real!(c"realpath", fn(*const c_char, *mut c_char) -> *mut c_char, (path, resolved), else null);
        let found = look_with(path, call, null);
        if ours {
            hide_fixture(found);
        }
        found
    }
}

/// `__realpath_chk`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __realpath_chk(
    path: *const c_char,
    resolved: *mut c_char,
    size: size_t,
) -> *mut c_char {
    let null = std::ptr::null_mut();
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let ours = !matches!(target(path), Target::Host);
        let call = |path| real!(c"__realpath_chk", fn(*const c_char, *mut c_char, size_t) -> *mut c_char, (path, resolved, size), else null);
        let found = look_with(path, call, null);
        if ours {
            hide_fixture(found);
        }
        found
    }
}

/// `access`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"access", fn(*const c_char, c_int) -> c_int, (path, mode), else -1);
        look_with(path, call, -1)
    }
}

/// `faccessat`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn faccessat(dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
    // SAFETY: libc's contract is the caller's; the function found has this type.
    unsafe {
        let call = |path| real!(c"faccessat", fn(c_int, *const c_char, c_int, c_int) -> c_int, (dir, path, mode, flags), else -1);
        look_with(path, call, -1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_names_every_hook_and_nothing_else() {
        let source =
            concat!(include_str!("hooks.rs"), include_str!("hooks/open.rs"), include_str!("hooks/stat.rs"));
        let defined: BTreeSet<&str> = (source.split("pub unsafe extern \"C\" fn ").skip(1))
            .filter_map(|rest| rest.split('(').next())
            .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .collect();
        let listed: BTreeSet<&str> = HOOKS.lines().collect();
        assert_eq!(listed, defined);
    }
}
