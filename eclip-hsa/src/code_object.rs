//! What a code object says about itself: which GPU it is for, its kernels and their arguments.
//!
//! Pure: bytes in, plain data out; nothing is loaded and no device is needed. A code object is an ELF file
//! (LLVM's "User Guide for AMDGPU Backend", sections "ELF Code Object" and "Code Object Metadata") of version 3, 4
//! or 5. Whatever the bytes are, parsing gives an error or a consistent value: it does not panic, it takes
//! time and memory in proportion to the input, and everything that [`KernelMeta`] documents has been checked.
//!
//! May be called from any thread.

mod elf;
mod error;
mod isa;
mod kernel;
mod metadata;
mod msgpack;
#[cfg(test)]
mod tests;

pub(crate) use error::Short;
pub use error::{CodeObjectError, Place};
pub use isa::{Feature, IsaName, Mismatch, ParseIsaNameError};
pub use kernel::{Access, AddressSpace, ArgKind, ArgMeta, Axis, Hidden, KernelMeta};

/// A code object's description: for which GPU, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    isa: IsaName,
    version: u8,
    kernels: Vec<KernelMeta>,
}

impl CodeObject {
    /// Reads a code object from the bytes of its file; they need no alignment.
    ///
    /// # Errors
    /// [`CodeObjectError`] says what is wrong, where, and what to do.
    pub fn parse(data: &[u8]) -> Result<CodeObject, CodeObjectError> {
        let file = elf::File::parse(data)?;
        let (target, kernels) = metadata::parse(file.metadata, file.metadata_offset)?;
        // Version 3 has no target in the metadata.
        if let Some(target) = target.filter(|_| file.version >= 4) {
            let named: IsaName =
                target.parse().map_err(|e: ParseIsaNameError| CodeObjectError::Metadata {
                    place: Place::new("amdhsa.target"),
                    offset: file.metadata_offset,
                    problem: e.to_string(),
                })?;
            if named != file.isa {
                return Err(CodeObjectError::Metadata {
                    place: Place::new("amdhsa.target"),
                    offset: file.metadata_offset,
                    problem: format!("says {named}, but the ELF header's flags say {}", file.isa),
                });
            }
        }
        for kernel in &kernels {
            kernel.check()?;
            file.check_descriptor(kernel)?;
        }
        let mut names: Vec<&str> = kernels.iter().map(|k| k.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|p| p[0] == p[1]) {
            return Err(CodeObjectError::Kernel {
                kernel: pair[0].to_owned(),
                problem: "is described twice".to_owned(),
            });
        }
        Ok(CodeObject { isa: file.isa, version: file.version, kernels })
    }

    /// The GPU that the code is for.
    pub fn isa(&self) -> &IsaName {
        &self.isa
    }

    /// Code object version: 3, 4 or 5.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// All kernels, in the order of the metadata.
    pub fn kernels(&self) -> &[KernelMeta] {
        &self.kernels
    }

    /// The kernel called `name` in the source (mangled, in a language that mangles).
    ///
    /// # Errors
    /// [`CodeObjectError::NoSuchKernel`] names the kernels that there are.
    pub fn kernel(&self, name: &str) -> Result<&KernelMeta, CodeObjectError> {
        self.kernels.iter().find(|k| k.name == name).ok_or_else(|| CodeObjectError::NoSuchKernel {
            kernel: name.to_owned(),
            known: self.kernels.iter().map(|k| k.name.clone()).collect(),
        })
    }
}
