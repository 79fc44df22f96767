//! HIP's functions, with the prototypes of `hip_runtime_api.h` (the same from HIP 4 to 6), looked up by name.

use std::error::Error;
use std::ffi::{c_char, c_int, c_uint, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// `hipError_t`; 0 is success.
#[expect(non_camel_case_types, reason = "C's name")]
pub(super) type hipError_t = c_int;

macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// The table.
        #[expect(non_snake_case, reason = "C's names")]
        pub(super) struct Functions {
            name: &'static str,
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn resolve(name: &'static str, library: &Library) -> Result<Self, String> {
                Ok(Self {
                    name,
                    $($name: {
                        // SAFETY: a library of this name is HIP, whose functions have these prototypes.
                        let found = unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> $result>(stringify!($name)) };
                        *found.map_err(|_| format!("{name} has no {}", stringify!($name)))?
                    },)*
                })
            }
        }
    };
}

functions! {
    hipInit(c_uint) -> hipError_t;
    hipGetDeviceCount(*mut c_int) -> hipError_t;
    hipDeviceSynchronize() -> hipError_t;
    hipDeviceReset() -> hipError_t;
    hipGetErrorName(hipError_t) -> *const c_char;
    hipMalloc(*mut *mut c_void, usize) -> hipError_t;
    hipFree(*mut c_void) -> hipError_t;
    hipMemcpy(*mut c_void, *const c_void, usize, c_int) -> hipError_t;
    hipModuleLoadData(*mut *mut c_void, *const c_void) -> hipError_t;
    hipModuleUnload(*mut c_void) -> hipError_t;
    hipModuleGetFunction(*mut *mut c_void, *mut c_void, *const c_char) -> hipError_t;
    hipModuleLaunchKernel(*mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void, *mut *mut c_void, *mut *mut c_void) -> hipError_t;
    hipStreamCreate(*mut *mut c_void) -> hipError_t;
    hipExtStreamCreateWithCUMask(*mut *mut c_void, u32, *const u32) -> hipError_t;
    hipStreamDestroy(*mut c_void) -> hipError_t;
    hipStreamSynchronize(*mut c_void) -> hipError_t;
    hipStreamWaitEvent(*mut c_void, *mut c_void, c_uint) -> hipError_t;
    hipEventCreateWithFlags(*mut *mut c_void, c_uint) -> hipError_t;
    hipEventRecord(*mut c_void, *mut c_void) -> hipError_t;
    hipEventDestroy(*mut c_void) -> hipError_t;
}

impl Functions {
    /// Opens a library, for ever: HIP starts threads and registers handlers that run until the process ends.
    pub fn open(name: &'static str) -> Result<Self, String> {
        // SAFETY: HIP's initialisers have no requirement but to be run once, which the loader sees to.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|e| e.source().map_or_else(|| e.to_string(), ToString::to_string))?;
        let functions = Self::resolve(name, &library)?;
        std::mem::forget(library);
        Ok(functions)
    }

    /// The file's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
