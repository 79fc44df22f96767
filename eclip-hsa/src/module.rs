//! Modules: code objects loaded on a GPU, and their kernels.
//!
//! **The soundness boundary of this crate is here.** A kernel can write anywhere, so loading code is `unsafe`: whoever loads a
//! module vouches for it. Everything after that is safe. Any thread may use modules and kernels; each keeps alive what
//! it was loaded from.

use std::borrow::Cow;
use std::ffi::CString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hsa_sys::*;

use crate::agent::Agent;
use crate::code_object::{CodeObject, KernelMeta};
use crate::error::{Error, Result};
use crate::kernarg::KernargLayout;

/// A code object loaded on one GPU. A cheap handle.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    agent: Agent,
    name: String,
    code: CodeObject,
    reader: hsa_code_object_reader_t,
    executable: hsa_executable_t,
    /// ROCr reads the code object's bytes as long as the executable lives.
    _bytes: Bytes,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Given(Cow<'static, [u8]>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Given(bytes) => bytes,
        }
    }
}

impl Module {
    /// Loads a code object from a file, which is mapped into memory, not copied.
    ///
    /// # Safety
    /// The caller vouches for every kernel in it, for every dispatch that this crate's checks let through (the right
    /// number, kinds and sizes of arguments) and that the program makes: it reads and writes only its own code object, its LDS
    /// and scratch, and the buffers that it was given as arguments, inside their bounds. The file must not
    /// change while the module or any of its kernels is alive.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, otherwise as [`Module::from_bytes`].
    pub unsafe fn from_file(agent: &Agent, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |source| Error::File { path: path.display().to_string(), source: Arc::new(source) };
        // Opening a pipe waits for its writer, and mapping a directory or device says "no such device".
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        let file = std::fs::File::open(path).map_err(failed)?;
        // SAFETY: the caller promises that the file does not change while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        // SAFETY: the caller's promise is the same.
        unsafe { Self::load(agent, path.display().to_string(), Bytes::Mapped(map)) }
    }

    /// Loads a code object from bytes; `name` stands for it in errors.
    ///
    /// # Safety
    /// As for [`Module::from_file`].
    ///
    /// # Errors
    /// [`Error::CodeObject`] if the bytes are not a code object, [`Error::WrongIsa`] if it is for another GPU,
    /// [`Error::Hsa`] if ROCr refuses it.
    pub unsafe fn from_bytes(
        agent: &Agent,
        name: &str,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self> {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::load(agent, name.to_owned(), Bytes::Given(bytes.into())) }
    }

    unsafe fn load(agent: &Agent, name: String, bytes: Bytes) -> Result<Self> {
        agent.check_alive()?;
        // Before ROCr sees them: its loader takes well-formed code objects for granted.
        let code = CodeObject::parse(&bytes)
            .map_err(|source| Error::CodeObject { name: name.clone(), source: Arc::new(source) })?;
        let isa = agent
            .isa()
            .ok_or_else(|| Error::Invalid(format!("{agent} is not a GPU: it runs no code objects")))?;
        code.isa().runs_on(isa).map_err(|mismatch| Error::WrongIsa { name: name.clone(), mismatch })?;
        let runtime = agent.runtime();
        let hsa = runtime.hsa();

        let mut inner = Inner {
            agent: agent.clone(),
            name,
            code,
            reader: hsa_code_object_reader_t { handle: 0 },
            executable: hsa_executable_t { handle: 0 },
            _bytes: bytes,
        };
        let bytes: &[u8] = &inner._bytes;
        // SAFETY: the bytes live as long as `inner`, which destroys the reader before it frees them.
        let status = unsafe {
            (hsa.hsa_code_object_reader_create_from_memory)(
                bytes.as_ptr().cast(),
                bytes.len(),
                &raw mut inner.reader,
            )
        };
        runtime.check("hsa_code_object_reader_create_from_memory", status)?;
        // SAFETY: no options are passed; the handle is written on success.
        let status = unsafe {
            (hsa.hsa_executable_create_alt)(
                HSA_PROFILE_FULL,
                HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT,
                std::ptr::null(),
                &raw mut inner.executable,
            )
        };
        runtime.check("hsa_executable_create_alt", status)?;
        // SAFETY: executable and reader are alive and the bytes were checked to be a code object for this agent.
        let status = unsafe {
            (hsa.hsa_executable_load_agent_code_object)(
                inner.executable,
                agent.handle(),
                inner.reader,
                std::ptr::null(),
                std::ptr::null_mut(),
            )
        };
        runtime
            .check("hsa_executable_load_agent_code_object", status)
            .map_err(|error| inner.explain(error))?;
        // SAFETY: the executable is alive and not frozen yet.
        let status = unsafe { (hsa.hsa_executable_freeze)(inner.executable, std::ptr::null()) };
        runtime.check("hsa_executable_freeze", status).map_err(|error| inner.explain(error))?;
        // The code was copied to the GPU, where caches may hold what was there before.
        agent.note_host_write();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The GPU that it is loaded on.
    pub fn agent(&self) -> &Agent {
        &self.inner.agent
    }

    /// What the code object says of itself.
    pub fn code_object(&self) -> &CodeObject {
        &self.inner.code
    }

    /// The kernel called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownKernel`] lists those that there are.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        let inner = &self.inner;
        let index = inner.code.kernels().iter().position(|kernel| kernel.name == name);
        let index = index.ok_or_else(|| Error::UnknownKernel {
            module: inner.name.clone(),
            kernel: name.to_owned(),
            available: inner.code.kernels().iter().map(|kernel| kernel.name.clone()).collect(),
        })?;
        let meta = &inner.code.kernels()[index];
        let object = inner.kernel_object(&meta.symbol)?;
        let layout = KernargLayout::new(meta);
        if layout.align() > 64 {
            let align = layout.align();
            return Err(Error::Invalid(format!(
                "kernel {name} wants its arguments aligned to {align} bytes: this library aligns them to 64"
            )));
        }
        Ok(Kernel { shared: Arc::new(KernelInner { module: inner.clone(), index, object, layout }) })
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({} on {})", self.inner.name, self.inner.agent)
    }
}

impl Inner {
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Hsa { call, status, text, .. } => {
                Error::Hsa { call, status, text, context: format!(": {} on {}", self.name, self.agent) }
            }
            other => other,
        }
    }

    fn kernel_object(&self, symbol: &str) -> Result<u64> {
        let runtime = self.agent.runtime();
        let hsa = runtime.hsa();
        let name = CString::new(symbol)
            .map_err(|_| Error::Invalid(format!("kernel symbol {symbol:?} has a NUL byte")))?;
        let mut found = hsa_executable_symbol_t { handle: 0 };
        let agent = self.agent.handle();
        // SAFETY: the executable is alive and frozen; the name is NUL-terminated.
        let status = unsafe {
            (hsa.hsa_executable_get_symbol_by_name)(
                self.executable,
                name.as_ptr(),
                &raw const agent,
                &raw mut found,
            )
        };
        if status == HSA_STATUS_ERROR_INVALID_SYMBOL_NAME {
            return Err(Error::Stripped { module: self.name.clone(), symbol: symbol.to_owned() });
        }
        runtime.check("hsa_executable_get_symbol_by_name", status).map_err(|error| self.explain(error))?;
        let mut object = 0u64;
        // SAFETY: the symbol is a kernel's (its metadata says so), for which this attribute is a uint64_t.
        let status = unsafe {
            (hsa.hsa_executable_symbol_get_info)(
                found,
                HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT,
                (&raw mut object).cast(),
            )
        };
        runtime.check("hsa_executable_symbol_get_info", status).map_err(|error| self.explain(error))?;
        Ok(object)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let hsa = self.agent.runtime().hsa();
        if self.executable.handle != 0 {
            // SAFETY: the executable is ours; work in flight holds its kernel, so none of its code is running.
            unsafe { (hsa.hsa_executable_destroy)(self.executable) };
        }
        if self.reader.handle != 0 {
            // SAFETY: the reader is ours, and the executable that used it is gone.
            unsafe { (hsa.hsa_code_object_reader_destroy)(self.reader) };
        }
    }
}

/// A kernel of a loaded module. A cheap handle that keeps the module alive.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<KernelInner>,
}

pub(crate) struct KernelInner {
    module: Arc<Inner>,
    index: usize,
    object: u64,
    layout: KernargLayout,
}

impl Kernel {
    /// Its name in the source.
    pub fn name(&self) -> &str {
        &self.meta().name
    }

    /// What the code object says of it.
    pub fn meta(&self) -> &KernelMeta {
        &self.shared.module.code.kernels()[self.shared.index]
    }

    /// The GPU that it is loaded on.
    pub fn agent(&self) -> &Agent {
        &self.shared.module.agent
    }

    /// Where its arguments go.
    pub fn layout(&self) -> &KernargLayout {
        &self.shared.layout
    }

    /// HSA's handle of the kernel (`kernel_object` of a dispatch packet), for packets that this crate does not write. Valid as
    /// long as the module is loaded: keep this kernel.
    pub fn object(&self) -> u64 {
        self.shared.object
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({} of {})", self.name(), self.shared.module.name)
    }
}
