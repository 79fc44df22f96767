//! Finds ROCr and fills the function table from it.
//!
//! A `Hsa` can be made, cloned, used and dropped on any thread. The library is opened once per load and never closed.

use std::env;
use std::error::Error;
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::error::{Attempt, LoadError, Problem};
use crate::functions::Functions;

/// The environment variable that names the library to load: a path, or a file name for the loader to search.
pub const LIBRARY_VARIABLE: &str = "ECLIP_HSA_LIBRARY";

/// ROCr's file name, as its ABI version 1 is called.
const FILE_NAME: &str = "libhsa-runtime64.so.1";

/// Folders that ROCm installs to, which the loader may not know.
const ROCM_FOLDERS: [&str; 2] = ["/opt/rocm/lib", "/opt/rocm/lib64"];

/// A loaded ROCr: its functions, and where they came from. Dereferences to [`Functions`].
///
/// Cloning is cheap (one reference count). Loading does not initialise the runtime: `hsa_init` is the user's call.
///
/// **The library is never unloaded**, even when the last clone is dropped. ROCr starts threads and registers handlers
/// that run until `hsa_shut_down` and beyond, and function pointers can be copied out of the table; `dlclose` would
/// pull the code from under both. Loading again finds the same library and costs a table.
#[derive(Clone)]
pub struct Hsa {
    inner: Arc<Inner>,
}

struct Inner {
    functions: Functions,
    path: Option<PathBuf>,
}

impl Hsa {
    /// Loads ROCr from the first place that has a usable one:
    ///
    /// 1. the file that the environment variable `ECLIP_HSA_LIBRARY` names. When it is set (and not empty), no other
    ///    place is tried: a wish that cannot be met is an error;
    /// 2. `libhsa-runtime64.so.1`, as the dynamic loader searches for it (`LD_LIBRARY_PATH`, the system's folders);
    /// 3. `/opt/rocm/lib`, then `/opt/rocm/lib64`.
    ///
    /// # Errors
    /// [`LoadError`] names each place tried and what was wrong there.
    pub fn load() -> Result<Hsa, LoadError> {
        Self::load_first(&places(env::var_os(LIBRARY_VARIABLE).as_deref()))
    }

    /// Loads the library at `path` and no other. A bare file name is searched for by the dynamic loader.
    ///
    /// # Errors
    /// [`LoadError`] says why the file could not be opened, or names every required function that it lacks.
    pub fn load_from(path: impl AsRef<Path>) -> Result<Hsa, LoadError> {
        Self::load_first(&[(path.as_ref().to_owned(), "as asked for")])
    }

    /// A table of given functions, so that a test can make any call fail: copy the table of a loaded runtime,
    /// replace fields, and build from that.
    ///
    /// ```no_run
    /// use hsa_sys::{Hsa, hsa_status_t, HSA_STATUS_ERROR_OUT_OF_RESOURCES};
    ///
    /// unsafe extern "C" fn no_resources() -> hsa_status_t {
    ///     HSA_STATUS_ERROR_OUT_OF_RESOURCES
    /// }
    ///
    /// let mut functions = *Hsa::load()?;
    /// functions.hsa_init = no_resources;
    /// // SAFETY: every function but `hsa_init` is ROCr's; that one touches nothing.
    /// let hsa = unsafe { Hsa::from_functions(functions) };
    /// # Ok::<(), hsa_sys::LoadError>(())
    /// ```
    ///
    /// # Safety
    /// Each function must honour the contract that the HSA specification and ROCr's headers give it (it may fail
    /// whenever that allows failure), from any thread, for the rest of the process.
    pub unsafe fn from_functions(functions: Functions) -> Hsa {
        Hsa { inner: Arc::new(Inner { functions, path: None }) }
    }

    /// The file that the functions come from, as the loader found it; `None` if they were given.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    fn load_first(places: &[(PathBuf, &'static str)]) -> Result<Hsa, LoadError> {
        let mut attempts = Vec::new();
        for (library, source) in places {
            match open(library) {
                Ok(inner) => return Ok(Hsa { inner: Arc::new(inner) }),
                Err(problem) => attempts.push(Attempt { library: library.clone(), source, problem }),
            }
        }
        Err(LoadError::new(attempts))
    }
}

impl Deref for Hsa {
    type Target = Functions;

    fn deref(&self) -> &Functions {
        &self.inner.functions
    }
}

impl fmt::Debug for Hsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hsa").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// The places to try, in order, with a word on where each comes from.
fn places(wished: Option<&OsStr>) -> Vec<(PathBuf, &'static str)> {
    if let Some(wished) = wished.filter(|w| !w.is_empty()) {
        return vec![(wished.into(), "from ECLIP_HSA_LIBRARY")];
    }
    let mut places = vec![(FILE_NAME.into(), "the dynamic loader's search")];
    places.extend(ROCM_FOLDERS.iter().map(|dir| (Path::new(dir).join(FILE_NAME), "ROCm's folder")));
    places
}

/// Opens one library and fills a table from it.
fn open(library: &Path) -> Result<Inner, Problem> {
    // RTLD_NOW: a library that lacks something it links to fails here, in words, not in a later call.
    // SAFETY: opening runs the library's initialisers. ROCr's have no requirement but to be run once; for any other
    // file the user named it and vouches for it.
    let handle = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| Problem::NotOpened(e.source().map_or_else(|| e.to_string(), ToString::to_string)))?;
    let find = |name: &CStr| {
        // SAFETY: the symbol is only taken as an address here.
        let symbol = unsafe { handle.get::<*const ()>(name) }.ok()?;
        let address = symbol.as_raw_ptr() as *const ();
        (!address.is_null()).then_some(address)
    };
    // SAFETY: a library that has these names is ROCr or stands for it, with the signatures of its headers: ROCr keeps
    // them stable within the ABI version in its file name. It stays loaded: a filled table never closes `handle`.
    match unsafe { Functions::resolve(find) } {
        Ok(functions) => {
            let path = file_of(functions.hsa_init as *const ()).unwrap_or_else(|| library.to_owned());
            // Never closed: see `Hsa`.
            std::mem::forget(handle);
            Ok(Inner { functions, path: Some(path) })
        }
        Err(missing) => Err(Problem::MissingSymbols {
            file: library.to_owned(),
            symbols: missing.iter().map(|name| name.to_str().unwrap_or("?")).collect(),
        }),
    }
}

/// The file that the code at `address` was loaded from.
fn file_of(address: *const ()) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only reads the loader's tables, and writes `info`, which is large enough and valid when zero.
    let info = unsafe {
        if libc::dladdr(address.cast(), info.as_mut_ptr()) == 0 {
            return None;
        }
        info.assume_init()
    };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr succeeded, so the name is a C string that lives as long as the library is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(OsStr::from_bytes(name.to_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_order() {
        let names = |wished: Option<&str>| -> Vec<String> {
            places(wished.map(OsStr::new)).into_iter().map(|(p, _)| p.display().to_string()).collect()
        };
        let usual = [
            "libhsa-runtime64.so.1",
            "/opt/rocm/lib/libhsa-runtime64.so.1",
            "/opt/rocm/lib64/libhsa-runtime64.so.1",
        ];
        assert_eq!(names(None), usual);
        assert_eq!(names(Some("")), usual);
        assert_eq!(names(Some("/x/rocr.so")), ["/x/rocr.so"]);
    }
}
