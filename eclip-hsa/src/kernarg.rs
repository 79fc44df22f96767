//! Where a kernel's arguments go in its kernarg segment, and putting them there.
//!
//! Pure: a [`KernelMeta`] becomes a [`KernargLayout`] once; [`KernargLayout::pack`] then checks the arguments of one
//! dispatch and writes bytes into memory that the caller owns. It allocates nothing unless it fails, and writes
//! nothing if it fails. A layout may be used from any number of threads at once. When the bytes become visible to
//! the GPU is the caller's business.
//!
//! Hidden arguments: the geometry of the dispatch is filled in (version 5 of the code objects reads it there); global
//! offsets are 0, as AQL dispatches have none; everything else is 0: printf, hostcalls, device-side malloc and
//! enqueue have no service behind them here, and a kernel that uses one faults on address 0.

use crate::code_object::{ArgKind, ArgMeta, Axis, Hidden, KernelMeta, Short};

/// Alignment that every dynamic LDS buffer gets at least, in bytes: enough for any load instruction.
const LDS_ALIGN: u32 = 16;

/// One argument of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg<'a> {
    /// The bytes of a value, for a `by_value` argument (number, struct).
    Value(&'a [u8]),
    /// The GPU address of a buffer (or of an image's or sampler's descriptor), for a pointer argument.
    Buffer(u64),
    /// So many bytes of LDS for each workgroup, for a pointer to local memory.
    Lds(u32),
}

/// The dispatch that arguments are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// Lanes in x, y, z; at least 1 each.
    pub grid: [u32; 3],
    /// Lanes of a workgroup in x, y, z; at least 1 each.
    pub workgroup: [u16; 3],
    /// Bytes of LDS for each workgroup beyond what the kernel and its arguments have (HIP's dynamic shared memory).
    pub dynamic_lds: u32,
}

impl Geometry {
    /// Dimensions in use: 1 to 3.
    fn dimensions(&self) -> u16 {
        match self.grid {
            [_, 1, 1] => 1,
            [_, _, 1] => 2,
            _ => 3,
        }
    }
}

/// Why arguments do not fit a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernargError {
    /// Too many or too few.
    #[error("kernel {} takes {expected} arguments, {given} were given", Short(kernel))]
    Count {
        /// Name of the kernel.
        kernel: String,
        /// How many it takes.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A value where a buffer is wanted, or the like.
    #[error(
        "kernel {}, argument {index} {}: it takes {expected}, given was {given}",
        Short(kernel),
        Short(name)
    )]
    Kind {
        /// Name of the kernel.
        kernel: String,
        /// Position among the given arguments, from 0.
        index: usize,
        /// Name in the source, empty if the compiler did not say.
        name: String,
        /// What the kernel takes.
        expected: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// A value of the wrong size.
    #[error(
        "kernel {}, argument {index} {}{}: it takes {expected} bytes, given were {given}",
        Short(kernel),
        Short(name),
        OfType(type_name)
    )]
    Size {
        /// Name of the kernel.
        kernel: String,
        /// Position among the given arguments, from 0.
        index: usize,
        /// Name in the source, empty if the compiler did not say.
        name: String,
        /// Type in the source, empty if the compiler did not say.
        type_name: String,
        /// Bytes that the kernel takes.
        expected: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The memory to write to is too small.
    #[error("kernel {}: its arguments take {needed} bytes, the memory given has {given}", Short(kernel))]
    Room {
        /// Name of the kernel.
        kernel: String,
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// An empty grid or workgroup.
    #[error(
        "kernel {}: grid {grid:?} in workgroups of {workgroup:?} is empty; each size must be at least 1",
        Short(kernel)
    )]
    Empty {
        /// Name of the kernel.
        kernel: String,
        /// Lanes.
        grid: [u32; 3],
        /// Lanes of a workgroup.
        workgroup: [u16; 3],
    },
    /// More LDS than 32 bits can count.
    #[error("kernel {}: the LDS of a workgroup is more than 4 GiB; ask for less", Short(kernel))]
    Lds {
        /// Name of the kernel.
        kernel: String,
    },
}

/// `" of type uint"`, or nothing.
struct OfType<'a>(&'a str);

impl std::fmt::Display for OfType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " of type {}", Short(self.0)) }
    }
}

/// Where each argument of a kernel goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernargLayout {
    kernel: String,
    size: usize,
    align: usize,
    fixed_lds: u32,
    explicit: Vec<ArgMeta>,
    /// Kind, offset and size; only those that are not 0.
    hidden: Vec<(Hidden, usize, usize)>,
}

impl KernargLayout {
    /// The layout of a kernel's arguments. `kernel` comes from a parsed code object: that has checked that all
    /// arguments lie inside the segment.
    pub fn new(kernel: &KernelMeta) -> KernargLayout {
        let hidden = kernel.args.iter().filter_map(|arg| match arg.kind {
            ArgKind::Hidden(
                kind @ (Hidden::BlockCount(_)
                | Hidden::GroupSize(_)
                | Hidden::Remainder(_)
                | Hidden::GridDims
                | Hidden::DynamicLdsSize),
            ) => Some((kind, arg.offset as usize, arg.size as usize)),
            _ => None,
        });
        KernargLayout {
            kernel: kernel.name.clone(),
            size: kernel.kernarg_segment_size as usize,
            align: (kernel.kernarg_segment_align as usize).max(16),
            fixed_lds: kernel.group_segment_fixed_size,
            explicit: kernel.explicit_args().cloned().collect(),
            hidden: hidden.collect(),
        }
    }

    /// Name of the kernel.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Bytes that [`pack`](KernargLayout::pack) writes: the kernarg segment with its hidden arguments. May be 0.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Alignment in bytes that the segment needs: a power of two, at least HSA's 16.
    pub fn align(&self) -> usize {
        self.align
    }

    /// The arguments that the caller gives, in order.
    pub fn args(&self) -> &[ArgMeta] {
        &self.explicit
    }

    /// Checks `args` and writes the whole kernarg segment to the beginning of `out`; padding becomes 0.
    ///
    /// Returns the LDS bytes of a workgroup for the dispatch packet (`group_segment_size`): the kernel's own, those
    /// of [`Arg::Lds`] arguments, which follow each other at multiples of 16, and `geometry.dynamic_lds`.
    ///
    /// # Errors
    /// [`KernargError`] names the kernel and the argument; `out` is then unchanged.
    pub fn pack(&self, args: &[Arg<'_>], geometry: &Geometry, out: &mut [u8]) -> Result<u32, KernargError> {
        let lds = self.check(args, geometry)?;
        let given = out.len();
        let out = out.get_mut(..self.size).ok_or_else(|| KernargError::Room {
            kernel: self.kernel.clone(),
            needed: self.size,
            given,
        })?;
        out.fill(0);
        let mut put = |offset: usize, bytes: &[u8]| out[offset..offset + bytes.len()].copy_from_slice(bytes);
        let mut lds_end = self.fixed_lds;
        for (meta, arg) in self.explicit.iter().zip(args) {
            let offset = meta.offset as usize;
            match *arg {
                Arg::Value(bytes) => put(offset, bytes),
                Arg::Buffer(address) => put(offset, &address.to_le_bytes()),
                Arg::Lds(bytes) => {
                    // `check` has done the same sum without overflow.
                    let start = lds_end.next_multiple_of(lds_align(meta));
                    put(offset, &start.to_le_bytes());
                    lds_end = start + bytes;
                }
            }
        }
        for (kind, offset, size) in &self.hidden {
            let value = match *kind {
                // Only whole workgroups are counted; a partial one at the end is the remainder.
                Hidden::BlockCount(axis) => {
                    geometry.grid[index(axis)] / u32::from(geometry.workgroup[index(axis)])
                }
                Hidden::GroupSize(axis) => u32::from(geometry.workgroup[index(axis)]),
                Hidden::Remainder(axis) => {
                    geometry.grid[index(axis)] % u32::from(geometry.workgroup[index(axis)])
                }
                Hidden::GridDims => u32::from(geometry.dimensions()),
                Hidden::DynamicLdsSize => lds - self.fixed_lds,
                _ => 0,
            };
            // The sizes are 2 or 4 bytes; those of 2 bytes hold values below 65536.
            put(*offset, &value.to_le_bytes()[..(*size).min(4)]);
        }
        Ok(lds)
    }

    /// Replaces argument `index` in a segment that [`pack`](KernargLayout::pack) wrote.
    ///
    /// # Errors
    /// [`KernargError`] as for `pack`; `out` is then unchanged.
    pub fn patch(&self, index: usize, arg: Arg<'_>, out: &mut [u8]) -> Result<(), KernargError> {
        let meta = self.explicit.get(index).ok_or_else(|| KernargError::Count {
            kernel: self.kernel.clone(),
            expected: self.explicit.len(),
            given: index.saturating_add(1),
        })?;
        self.check_arg(index, meta, &arg)?;
        let buffer;
        let bytes = match arg {
            Arg::Value(bytes) => bytes,
            Arg::Buffer(address) => {
                buffer = address.to_le_bytes();
                &buffer
            }
            // The offset depends on the other arguments, and the size is in the packet.
            Arg::Lds(_) => {
                let (expected, given) = (wanted(meta.kind), "a replacement of a size of local memory");
                let (kernel, name) = (self.kernel.clone(), meta.name.clone());
                return Err(KernargError::Kind { kernel, index, name, expected, given });
            }
        };
        let (given, start) = (out.len(), meta.offset as usize);
        let place = out.get_mut(start..start + bytes.len()).ok_or_else(|| KernargError::Room {
            kernel: self.kernel.clone(),
            needed: self.size,
            given,
        })?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    /// Checks one argument's kind and size.
    fn check_arg(&self, index: usize, meta: &ArgMeta, arg: &Arg<'_>) -> Result<(), KernargError> {
        let kernel = || self.kernel.clone();
        let (expected, given) = (wanted(meta.kind), given(arg));
        if expected != given {
            let name = meta.name.clone();
            return Err(KernargError::Kind { kernel: kernel(), index, name, expected, given });
        }
        match *arg {
            Arg::Value(bytes) if bytes.len() != meta.size as usize => Err(KernargError::Size {
                kernel: kernel(),
                index,
                name: meta.name.clone(),
                type_name: meta.type_name.clone(),
                expected: meta.size as usize,
                given: bytes.len(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks everything that can be wrong with `args` and `geometry`; returns the LDS bytes of a workgroup.
    fn check(&self, args: &[Arg<'_>], geometry: &Geometry) -> Result<u32, KernargError> {
        let kernel = || self.kernel.clone();
        if args.len() != self.explicit.len() {
            return Err(KernargError::Count {
                kernel: kernel(),
                expected: self.explicit.len(),
                given: args.len(),
            });
        }
        if geometry.grid.contains(&0) || geometry.workgroup.contains(&0) {
            let Geometry { grid, workgroup, .. } = *geometry;
            return Err(KernargError::Empty { kernel: kernel(), grid, workgroup });
        }
        let mut lds = self.fixed_lds;
        let too_much = || KernargError::Lds { kernel: self.kernel.clone() };
        for (index, (meta, arg)) in self.explicit.iter().zip(args).enumerate() {
            self.check_arg(index, meta, arg)?;
            match *arg {
                Arg::Value(_) | Arg::Buffer(_) => {}
                Arg::Lds(bytes) => {
                    lds = lds
                        .checked_next_multiple_of(lds_align(meta))
                        .and_then(|start| start.checked_add(bytes))
                        .ok_or_else(too_much)?;
                }
            }
        }
        lds.checked_add(geometry.dynamic_lds).ok_or_else(too_much)
    }
}

fn index(axis: Axis) -> usize {
    match axis {
        Axis::X => 0,
        Axis::Y => 1,
        Axis::Z => 2,
    }
}

fn lds_align(meta: &ArgMeta) -> u32 {
    meta.pointee_align.unwrap_or(1).max(LDS_ALIGN)
}

/// What has to be given for an explicit argument of this kind.
fn wanted(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::ByValue => VALUE,
        ArgKind::DynamicSharedPointer => LDS,
        _ => BUFFER,
    }
}

fn given(arg: &Arg<'_>) -> &'static str {
    match arg {
        Arg::Value(_) => VALUE,
        Arg::Buffer(_) => BUFFER,
        Arg::Lds(_) => LDS,
    }
}

const VALUE: &str = "a value (Arg::Value)";
const BUFFER: &str = "a buffer (Arg::Buffer)";
const LDS: &str = "a size of local memory (Arg::Lds)";

#[cfg(test)]
mod tests;
