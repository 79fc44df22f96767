//! HIP, AMD's runtime for C++ programs, found when the program runs: the few calls that benchmarks and tests make.
//!
//! [`Hip::load`] finds `libamdhip64`; everything else is made from that, and keeps it. The library is never unloaded. HIP's calls
//! may be made from any thread; handles here are used by one at a time.
//!
//! HIP and this workspace's `hsa-sys` find the same ROCr in one process: the loader opens a library of one name once.
//! ROCr counts `hsa_init` and `hsa_shut_down`, so neither shuts the other down.

mod functions;
mod memory;
mod stream;

use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use functions::{Functions, hipError_t};

pub use memory::Memory;
pub use stream::{Event, Stream};

/// File names of HIP, the newest first.
const FILE_NAMES: [&str; 3] = ["libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so.4"];

/// What can go wrong.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// There is no usable HIP on this machine.
    #[error(
        "no HIP runtime: {0}. Install AMD's libamdhip64 (Debian 12, Ubuntu 24.04: package libamdhip64-5)"
    )]
    NotFound(String),
    /// A call failed.
    #[error("{call}: HIP error {code}, {name}")]
    Call {
        /// The call.
        call: &'static str,
        /// HIP's number of the error.
        code: i32,
        /// HIP's name of it.
        name: String,
    },
    /// HIP runs, but sees no GPU.
    #[error("HIP sees no GPU")]
    NoDevice,
    /// A size does not fit.
    #[error("{asked} bytes, but the memory has {available}")]
    Range {
        /// Bytes asked for.
        asked: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// A name that C cannot have.
    #[error("kernel name {0:?} has a NUL byte")]
    Name(String),
}

/// Result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// HIP, loaded and initialised. A cheap handle.
#[derive(Clone)]
pub struct Hip {
    functions: Arc<Functions>,
}

impl Hip {
    /// Finds HIP and initialises it.
    ///
    /// # Errors
    /// [`Error::NotFound`] names what was tried, [`Error::NoDevice`] if HIP sees no GPU.
    pub fn load() -> Result<Self> {
        let mut tried = Vec::new();
        for name in FILE_NAMES {
            match Functions::open(name) {
                Ok(functions) => return Self { functions: Arc::new(functions) }.initialised(),
                Err(why) => tried.push(why),
            }
        }
        Err(Error::NotFound(tried.join("; ")))
    }

    fn initialised(self) -> Result<Self> {
        let mut devices = 0;
        // SAFETY: no preconditions; the flags must be 0.
        self.check("hipInit", unsafe { (self.functions.hipInit)(0) })?;
        // SAFETY: the count is written on success.
        self.check("hipGetDeviceCount", unsafe { (self.functions.hipGetDeviceCount)(&raw mut devices) })?;
        if devices == 0 { Err(Error::NoDevice) } else { Ok(self) }
    }

    /// Waits until the whole device is idle, as far as HIP knows.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: no preconditions.
        self.check("hipDeviceSynchronize", unsafe { (self.functions.hipDeviceSynchronize)() })
    }

    /// Destroys everything that HIP holds on its device in this process: the nearest that HIP has to a shut-down.
    ///
    /// # Errors
    /// [`Error::Call`].
    ///
    /// # Safety
    /// Nothing made from any [`Hip`] of this process may be alive.
    pub unsafe fn reset(self) -> Result<()> {
        // SAFETY: the caller's promise.
        self.check("hipDeviceReset", unsafe { (self.functions.hipDeviceReset)() })
    }

    fn check(&self, call: &'static str, code: hipError_t) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: HIP answers every code with a constant string.
        let name = unsafe { std::ffi::CStr::from_ptr((self.functions.hipGetErrorName)(code)) };
        Err(Error::Call { call, code, name: name.to_string_lossy().into_owned() })
    }
}

impl fmt::Debug for Hip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hip({})", self.functions.name())
    }
}

/// A loaded code object.
pub struct Module {
    hip: Hip,
    handle: *mut c_void,
}

// SAFETY: HIP's modules may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as for Send.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a code object.
    ///
    /// # Errors
    /// [`Error::Call`] if HIP refuses it. (HIP 5 refuses one without a symbol table.)
    ///
    /// # Safety
    /// `code` must be a whole code object: HIP finds its end by itself.
    pub unsafe fn load(hip: &Hip, code: &[u8]) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the caller's promise; the handle is written on success.
        let code = unsafe { (hip.functions.hipModuleLoadData)(&raw mut handle, code.as_ptr().cast()) };
        hip.check("hipModuleLoadData", code)?;
        Ok(Self { hip: hip.clone(), handle })
    }

    /// The kernel called `name`.
    ///
    /// # Errors
    /// [`Error::Call`] if there is none.
    pub fn function(self: &Arc<Self>, name: &str) -> Result<Function> {
        let c_name = CString::new(name).map_err(|_| Error::Name(name.to_owned()))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the module is alive, the name NUL-terminated; the handle is written on success.
        let code = unsafe {
            (self.hip.functions.hipModuleGetFunction)(&raw mut handle, self.handle, c_name.as_ptr())
        };
        self.hip.check("hipModuleGetFunction", code)?;
        Ok(Function { module: self.clone(), handle })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the module is ours, and its functions, which hold it, are gone.
        unsafe { (self.hip.functions.hipModuleUnload)(self.handle) };
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({:p})", self.handle)
    }
}

/// A kernel of a module.
#[derive(Clone, Debug)]
pub struct Function {
    module: Arc<Module>,
    handle: *mut c_void,
}

// SAFETY: HIP's functions may be used from any thread.
unsafe impl Send for Function {}
// SAFETY: as for Send.
unsafe impl Sync for Function {}

impl Function {
    /// Launches the kernel on a stream: one call of `hipModuleLaunchKernel` and nothing else. `arguments` are the addresses of
    /// the arguments' values; HIP copies them. The grid counts workgroups, as HIP does.
    ///
    /// # Errors
    /// [`Error::Call`].
    ///
    /// # Safety
    /// `arguments` must be as many as the kernel has, of its types, and what they point to must stay valid until the kernel is
    /// complete.
    pub unsafe fn launch(
        &self,
        stream: &Stream,
        workgroups: [u32; 3],
        workgroup: [u32; 3],
        arguments: &[*const c_void],
    ) -> Result<()> {
        let hip = &self.module.hip;
        let [gx, gy, gz] = workgroups;
        let [bx, by, bz] = workgroup;
        // SAFETY: function and stream are alive; HIP only reads the arguments; the caller vouches for them.
        let code = unsafe {
            (hip.functions.hipModuleLaunchKernel)(
                self.handle,
                gx,
                gy,
                gz,
                bx,
                by,
                bz,
                0,
                stream.handle(),
                arguments.as_ptr().cast_mut().cast(),
                std::ptr::null_mut(),
            )
        };
        hip.check("hipModuleLaunchKernel", code)
    }
}
