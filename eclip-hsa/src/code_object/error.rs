//! What can be wrong with a code object. Text from the file is shown escaped and shortened.

use std::fmt;

/// Why a code object cannot be used: what, where (byte offset, kernel or argument) and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeObjectError {
    /// The bytes are no ELF file.
    #[error(
        "no code object: {len} bytes that begin with {start:02x?} instead of the ELF magic 7f 45 4c 46; give the .co or .hsaco file itself (a HIP fat binary has to be unbundled first)"
    )]
    NotElf {
        /// Size of the input in bytes.
        len: usize,
        /// Its first bytes, at most four.
        start: Vec<u8>,
    },
    /// An ELF file, for something else than an AMD GPU under HSA.
    #[error(
        "no AMD GPU code object: byte {offset} of the ELF header: {problem}; compile with `-target amdgcn-amd-amdhsa` and link with `ld.lld -shared`"
    )]
    NotForAmdGpu {
        /// Where in the file.
        offset: u64,
        /// What is there.
        problem: String,
    },
    /// A code object version that is not supported.
    #[error(
        "code object version {version} is not supported (3, 4 and 5 are; byte 8 of the ELF header is {abi_version}); compile with -mcode-object-version=4 or 5"
    )]
    Version {
        /// Byte 8 of the ELF header.
        abi_version: u8,
        /// The version that this stands for.
        version: u16,
    },
    /// A processor number that is not known.
    #[error("the ELF flags {flags:#x} (byte 48) name processor {:#x}, which is not known here; compile for the GPU that is to run this", flags & 0xff)]
    UnknownProcessor {
        /// `e_flags`.
        flags: u32,
    },
    /// The ELF structure is damaged or cut off.
    #[error("damaged code object: {what} at byte {offset}: {problem}; copy or build the file again")]
    Damaged {
        /// The structure that was being read.
        what: &'static str,
        /// Where in the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// No note with metadata.
    #[error(
        "the code object has no AMDGPU metadata note (type 32, \"AMDGPU\"); do not strip notes, and compile for amdhsa"
    )]
    NoMetadata,
    /// The metadata is malformed.
    #[error("malformed metadata: {place} at byte {offset}: {problem}; build the code object again")]
    Metadata {
        /// Path of the value inside the metadata.
        place: Place,
        /// Where in the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// What is said about a kernel contradicts itself.
    #[error("kernel {}: {problem}; the code object is inconsistent, build it again", Short(kernel))]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What is wrong.
        problem: String,
    },
    /// What is said about an argument contradicts itself.
    #[error(
        "kernel {}, argument {index} {}: {problem}; the code object is inconsistent, build it again",
        Short(kernel),
        Short(name)
    )]
    Argument {
        /// Name of the kernel.
        kernel: String,
        /// Position in the metadata's list, from 0.
        index: usize,
        /// Name, empty if the compiler gave none.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// No kernel of that name.
    #[error("no kernel {} in the code object; it has {}", Short(kernel), List(known))]
    NoSuchKernel {
        /// The name asked for.
        kernel: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// Path of a value in the metadata, such as `amdhsa.kernels[2].args[0].size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub(super) fn new(path: impl Into<String>) -> Place {
        Place(path.into())
    }

    /// The same place, seen from further out.
    pub(super) fn within(self, outer: &str) -> Place {
        let separator = if self.0.is_empty() || self.0.starts_with(['.', '[']) { "" } else { "." };
        Place(format!("{outer}{separator}{}", self.0))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the top" } else { &self.0 })
    }
}

/// Text from a file, escaped, at most 80 characters of it.
pub(crate) struct Short<'a>(pub &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(80) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Some names of a list.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, Short(name))?;
        }
        if self.0.len() > SHOWN {
            write!(f, " and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}
