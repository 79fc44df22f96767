//! The process's one simulated machine: whether it is switched on, its files, its device.
//!
//! Any thread, also before `main` and after `fork`. The state is a few atomic pointers to values that are never freed, so
//! no lock can be held by a thread that a forked child does not have: the child's fork handler clears the pointers, and the
//! child makes a machine of its own when it needs one. Until a path or descriptor of the simulated machine is touched,
//! nothing is allocated and no file is made.

use crate::device::DeviceSpec;
use crate::fixture::Fixture;
use crate::kernel::Device;
use crate::kernel::uapi::Errno;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

const UNDECIDED: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

// All of these use AcqRel or Acquire/Release: whoever sees a pointer sees the value behind it, and every such pairing is
// between a `publish` here and a `load` here.
static SWITCH: AtomicU8 = AtomicU8::new(UNDECIDED);
static DEVICE: AtomicPtr<Arc<Device>> = AtomicPtr::new(std::ptr::null_mut());
static FILES: AtomicPtr<Files> = AtomicPtr::new(std::ptr::null_mut());
/// The device of the process that forked us: its descriptors answer EBADF here, as amdkfd's do.
static PARENTS_DEVICE: AtomicPtr<Arc<Device>> = AtomicPtr::new(std::ptr::null_mut());
static HANDLERS: AtomicBool = AtomicBool::new(false);

struct Files {
    fixture: Option<Fixture>,
    made_by: u32,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` unless this thread is already inside the simulator: what the simulator itself opens is the host's.
pub fn outside<T>(f: impl FnOnce() -> T) -> Option<T> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            // The thread may be ending; then nobody asks any more.
            let _ = INSIDE.try_with(|inside| inside.set(false));
        }
    }
    match INSIDE.try_with(|inside| inside.replace(true)) {
        Ok(false) => {
            let _leave = Leave;
            Some(f())
        }
        _ => None,
    }
}

/// Whether the simulated machine answers. Decided at the first question: by [`switch`], else by `ECLIP_DEVICE` (`sim` or
/// `real`), else it is on if and only if the host has no `/dev/kfd`.
pub fn is_on() -> bool {
    // Acquire: see above.
    match SWITCH.load(Ordering::Acquire) {
        UNDECIDED => {
            let decided = if decide() { ON } else { OFF };
            // AcqRel: a concurrent `switch` wins.
            let before = SWITCH.compare_exchange(UNDECIDED, decided, Ordering::AcqRel, Ordering::Acquire);
            before.map_or_else(|now| now, |_| decided) == ON
        }
        decided => decided == ON,
    }
}

/// Switches the simulated machine on or off for this process, whatever the environment says. Descriptors that are open
/// stay what they are.
pub fn switch(on: bool) {
    // Release: see above.
    SWITCH.store(if on { ON } else { OFF }, Ordering::Release);
}

fn decide() -> bool {
    // SAFETY: getenv with a NUL-terminated name; the value is read before anything else runs here. std's own lock on
    // the environment could be held by a thread that a forked child does not have.
    let wish = unsafe {
        let value = libc::getenv(c"ECLIP_DEVICE".as_ptr());
        if value.is_null() { b"" } else { std::ffi::CStr::from_ptr(value).to_bytes() }
    };
    match wish {
        b"sim" => return true,
        b"real" => return false,
        b"" => {}
        other => eprintln!(
            "kfd-sim: ECLIP_DEVICE is {:?}: expected \"sim\" or \"real\"; deciding by /dev/kfd",
            String::from_utf8_lossy(other)
        ),
    }
    // SAFETY: a plain system call (our own `access` hook would answer for this path).
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, c"/dev/kfd".as_ptr(), libc::F_OK) != 0 }
}

/// The device, if one was made.
pub fn device_if_any() -> Option<&'static Arc<Device>> {
    // SAFETY: the pointer is null or came from `Box::into_raw` and is never freed.
    // Acquire: pairs with `publish`.
    unsafe { DEVICE.load(Ordering::Acquire).as_ref() }
}

/// The device of the process that forked this one, if any.
pub fn parents_device() -> Option<&'static Arc<Device>> {
    // SAFETY: as in `device_if_any`.
    unsafe { PARENTS_DEVICE.load(Ordering::Acquire).as_ref() }
}

/// The device, made now if need be.
pub fn device() -> Result<&'static Arc<Device>, Errno> {
    if let Some(device) = device_if_any() {
        return Ok(device);
    }
    install_handlers();
    let made = Device::new(DeviceSpec::mi50()).inspect_err(|errno| {
        let why = std::io::Error::from_raw_os_error(errno.0);
        eprintln!("kfd-sim: cannot make the simulated GPU: {why} (it needs memfd_create and address space: see ulimit -v)");
    })?;
    Ok(publish(&DEVICE, made))
}

/// The fixture tree, made now if need be; `None` (reported once) if the temporary directory cannot be written.
pub fn fixture() -> Option<&'static Fixture> {
    // SAFETY: as in `device_if_any`.
    let files = unsafe { FILES.load(Ordering::Acquire).as_ref() }.unwrap_or_else(|| {
        install_handlers();
        let fixture = Fixture::create(&DeviceSpec::mi50())
            .inspect_err(|why| {
                eprintln!(
                    "kfd-sim: cannot write the simulated machine's files below {}: {why}; set TMPDIR",
                    std::env::temp_dir().display()
                );
            })
            .ok();
        publish(&FILES, Files { fixture, made_by: std::process::id() })
    });
    files.fixture.as_ref()
}

/// Puts a value in place, unless another thread was faster: then that one's is the value.
fn publish<T>(place: &'static AtomicPtr<T>, value: T) -> &'static T {
    let ours = Box::into_raw(Box::new(value));
    // AcqRel: publishes our value, or acquires the other's.
    match place.compare_exchange(std::ptr::null_mut(), ours, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just published, never freed.
        Ok(_) => unsafe { &*ours },
        Err(theirs) => {
            // SAFETY: ours was not published; theirs was, and is never freed.
            unsafe {
                drop(Box::from_raw(ours));
                &*theirs
            }
        }
    }
}

fn install_handlers() {
    // AcqRel: exactly one caller installs them.
    if HANDLERS.swap(true, Ordering::AcqRel) {
        return;
    }
    // SAFETY: both handlers are plain functions that live as long as the process.
    unsafe {
        libc::pthread_atfork(None, None, Some(in_forked_child));
        libc::atexit(at_exit);
    }
}

/// The child has neither the device's thread nor its mappings: it starts without a machine.
unsafe extern "C" fn in_forked_child() {
    // AcqRel: single-threaded here; the order only matters to later threads of the child.
    let parents = DEVICE.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !parents.is_null() {
        PARENTS_DEVICE.store(parents, Ordering::Release);
    }
    FILES.store(std::ptr::null_mut(), Ordering::Release);
    let _ = INSIDE.try_with(|inside| inside.set(false));
}

extern "C" fn at_exit() {
    if let Some(device) = device_if_any()
        && let Some(file) = &device.settings().trace
    {
        let written = outside(|| device.write_trace(file)).unwrap_or(Ok(()));
        if let Err(why) = written {
            eprintln!("kfd-sim: KFD_SIM_TRACE: cannot write {}: {why}", file.display());
        }
    }
    // Other threads may still look paths up: they get a new look-up failure, not a dangling tree.
    // SAFETY: as in `device_if_any`.
    let files = unsafe { FILES.load(Ordering::Acquire).as_ref() };
    if let Some(Files { fixture: Some(fixture), made_by }) = files
        && *made_by == std::process::id()
    {
        let _ = outside(|| fixture.remove());
    }
}
