//! A kernel's description, and the checks that make it consistent.
//!
//! Field meanings: LLVM's "User Guide for AMDGPU Backend", "Code Object V3 Metadata" to "V5".

use super::CodeObjectError;

/// Largest workgroup of any AMD GPU, in lanes.
const MAX_WORKGROUP: u32 = 1024;
/// Largest kernarg segment accepted, in bytes: far more than compilers allow.
const MAX_KERNARG: u32 = 64 * 1024;

/// What the compiler says about a kernel. From [`CodeObject::parse`](super::CodeObject::parse), it is consistent:
/// arguments lie inside the kernarg segment without overlap, sizes fit kinds, counts are within the hardware's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMeta {
    /// Name in the source (mangled, if the language does).
    pub name: String,
    /// Symbol of the kernel descriptor, `<name>.kd`: what to ask the loader for.
    pub symbol: String,
    /// Bytes of all arguments, hidden ones included.
    pub kernarg_segment_size: u32,
    /// Bytes, a power of two. (HSA wants at least 16 of any kernarg segment.)
    pub kernarg_segment_align: u32,
    /// Static LDS of a workgroup in bytes.
    pub group_segment_fixed_size: u32,
    /// Scratch of a lane in bytes.
    pub private_segment_fixed_size: u32,
    /// Lanes of a wavefront: 32 or 64.
    pub wavefront_size: u32,
    /// Scalar registers.
    pub sgpr_count: u32,
    /// Vector registers.
    pub vgpr_count: u32,
    /// Most lanes of a workgroup that the code was compiled for, 1 to 1024.
    pub max_flat_workgroup_size: u32,
    /// The only workgroup size that the code was compiled for.
    pub reqd_workgroup_size: Option<[u32; 3]>,
    /// Whether scratch beyond `private_segment_fixed_size` may be needed.
    pub uses_dynamic_stack: bool,
    /// Arguments, hidden ones included, in the order of the metadata.
    pub args: Vec<ArgMeta>,
}

/// What the compiler says about an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgMeta {
    /// Name in the source; empty if the compiler did not say, as for hidden arguments.
    pub name: String,
    /// Type in the source; empty if the compiler did not say.
    pub type_name: String,
    /// Bytes from the start of the kernarg segment.
    pub offset: u32,
    /// Bytes, at least 1.
    pub size: u32,
    /// What goes there.
    pub kind: ArgKind,
    /// Alignment in bytes of the LDS that a [`DynamicSharedPointer`](ArgKind::DynamicSharedPointer) points to.
    pub pointee_align: Option<u32>,
    /// What a pointer points into.
    pub address_space: Option<AddressSpace>,
    /// What the kernel declares to do with it.
    pub access: Option<Access>,
    /// Whether the pointee is declared `const`.
    pub is_const: bool,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// The value itself.
    ByValue,
    /// 64-bit address of a buffer.
    GlobalBuffer,
    /// 32-bit offset of dynamic LDS.
    DynamicSharedPointer,
    /// 64-bit address of a sampler descriptor.
    Sampler,
    /// 64-bit address of an image descriptor.
    Image,
    /// 64-bit address of an OpenCL pipe.
    Pipe,
    /// 64-bit address of an OpenCL device queue.
    Queue,
    /// Not in the source: filled by whoever dispatches.
    Hidden(Hidden),
}

/// A dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// First, index 0.
    X,
    /// Second, index 1.
    Y,
    /// Third, index 2.
    Z,
}

/// Hidden arguments. Up to version 4 those of OpenCL and HIP; version 5 adds the dispatch's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are LLVM's value kinds, without `hidden_`.
pub enum Hidden {
    None,
    GlobalOffset(Axis),
    BlockCount(Axis),
    GroupSize(Axis),
    Remainder(Axis),
    GridDims,
    PrintfBuffer,
    HostcallBuffer,
    MultigridSyncArg,
    HeapV1,
    DefaultQueue,
    CompletionAction,
    DynamicLdsSize,
    PrivateBase,
    SharedBase,
    QueuePtr,
    /// A kind newer than this library.
    Other,
}

/// Address spaces of pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are LLVM's.
pub enum AddressSpace {
    Private,
    Global,
    Constant,
    Local,
    Generic,
    Region,
}

/// Declared access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Access {
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

impl ArgKind {
    /// The kind that metadata calls `text`; `None` if it is not known.
    pub(super) fn from_metadata(text: &str) -> Option<ArgKind> {
        let hidden = match text {
            "by_value" => return Some(ArgKind::ByValue),
            "global_buffer" => return Some(ArgKind::GlobalBuffer),
            "dynamic_shared_pointer" => return Some(ArgKind::DynamicSharedPointer),
            "sampler" => return Some(ArgKind::Sampler),
            "image" => return Some(ArgKind::Image),
            "pipe" => return Some(ArgKind::Pipe),
            "queue" => return Some(ArgKind::Queue),
            "hidden_none" => Hidden::None,
            "hidden_global_offset_x" => Hidden::GlobalOffset(Axis::X),
            "hidden_global_offset_y" => Hidden::GlobalOffset(Axis::Y),
            "hidden_global_offset_z" => Hidden::GlobalOffset(Axis::Z),
            "hidden_block_count_x" => Hidden::BlockCount(Axis::X),
            "hidden_block_count_y" => Hidden::BlockCount(Axis::Y),
            "hidden_block_count_z" => Hidden::BlockCount(Axis::Z),
            "hidden_group_size_x" => Hidden::GroupSize(Axis::X),
            "hidden_group_size_y" => Hidden::GroupSize(Axis::Y),
            "hidden_group_size_z" => Hidden::GroupSize(Axis::Z),
            "hidden_remainder_x" => Hidden::Remainder(Axis::X),
            "hidden_remainder_y" => Hidden::Remainder(Axis::Y),
            "hidden_remainder_z" => Hidden::Remainder(Axis::Z),
            "hidden_grid_dims" => Hidden::GridDims,
            "hidden_printf_buffer" => Hidden::PrintfBuffer,
            "hidden_hostcall_buffer" => Hidden::HostcallBuffer,
            "hidden_multigrid_sync_arg" => Hidden::MultigridSyncArg,
            "hidden_heap_v1" => Hidden::HeapV1,
            "hidden_default_queue" => Hidden::DefaultQueue,
            "hidden_completion_action" => Hidden::CompletionAction,
            "hidden_dynamic_lds_size" => Hidden::DynamicLdsSize,
            "hidden_private_base" => Hidden::PrivateBase,
            "hidden_shared_base" => Hidden::SharedBase,
            "hidden_queue_ptr" => Hidden::QueuePtr,
            other if other.starts_with("hidden_") => Hidden::Other,
            _ => return None,
        };
        Some(ArgKind::Hidden(hidden))
    }

    /// Bytes that an argument of this kind has; `None` where any size is right.
    fn size(self) -> Option<u32> {
        match self {
            ArgKind::ByValue | ArgKind::Hidden(Hidden::None | Hidden::Other) => None,
            ArgKind::DynamicSharedPointer => Some(4),
            ArgKind::Hidden(Hidden::GroupSize(_) | Hidden::Remainder(_) | Hidden::GridDims) => Some(2),
            ArgKind::Hidden(
                Hidden::BlockCount(_) | Hidden::DynamicLdsSize | Hidden::PrivateBase | Hidden::SharedBase,
            ) => Some(4),
            _ => Some(8),
        }
    }

    /// Whether the caller gives this argument; hidden ones are filled by the library.
    pub fn is_explicit(self) -> bool {
        !matches!(self, ArgKind::Hidden(_))
    }
}

impl KernelMeta {
    /// Arguments that the caller gives, in order.
    pub fn explicit_args(&self) -> impl Iterator<Item = &ArgMeta> {
        self.args.iter().filter(|a| a.kind.is_explicit())
    }

    /// Checks everything that the type's documentation promises.
    pub(super) fn check(&self) -> Result<(), CodeObjectError> {
        self.check_numbers()
            .map_err(|problem| CodeObjectError::Kernel { kernel: self.name.clone(), problem })?;
        for (index, arg) in self.args.iter().enumerate() {
            self.check_argument(arg).map_err(|problem| self.argument_error(index, problem))?;
        }
        let mut order: Vec<usize> = (0..self.args.len()).collect();
        order.sort_by_key(|i| self.args[*i].offset);
        for pair in order.windows(2) {
            let (before, after) = (&self.args[pair[0]], &self.args[pair[1]]);
            // No overflow: `check_argument` has put both inside the segment.
            if before.offset + before.size > after.offset {
                let problem = format!(
                    "bytes {}..{} overlap argument {} at bytes {}..{}",
                    after.offset,
                    after.offset + after.size,
                    pair[0],
                    before.offset,
                    before.offset + before.size
                );
                return Err(self.argument_error(pair[1], problem));
            }
        }
        Ok(())
    }

    fn argument_error(&self, index: usize, problem: String) -> CodeObjectError {
        let name = self.args[index].name.clone();
        CodeObjectError::Argument { kernel: self.name.clone(), index, name, problem }
    }

    fn check_numbers(&self) -> Result<(), String> {
        if self.name.is_empty() || self.symbol.is_empty() {
            return Err("its name or symbol is empty".to_owned());
        }
        if self.kernarg_segment_size > MAX_KERNARG {
            return Err(format!("kernarg_segment_size {} is above {MAX_KERNARG}", self.kernarg_segment_size));
        }
        if !self.kernarg_segment_align.is_power_of_two() || self.kernarg_segment_align > 4096 {
            return Err(format!("kernarg_segment_align {} is no power of two", self.kernarg_segment_align));
        }
        if ![32, 64].contains(&self.wavefront_size) {
            return Err(format!("wavefront_size {} is neither 32 nor 64", self.wavefront_size));
        }
        let max = self.max_flat_workgroup_size;
        if !(1..=MAX_WORKGROUP).contains(&max) {
            return Err(format!("max_flat_workgroup_size {max} is not 1 to {MAX_WORKGROUP}"));
        }
        if let Some(size) = self.reqd_workgroup_size {
            let lanes = size.iter().fold(1u32, |n, s| n.saturating_mul(*s));
            if lanes == 0 || lanes > max {
                return Err(format!("reqd_workgroup_size {size:?} is not 1 to {max} lanes"));
            }
        }
        Ok(())
    }

    fn check_argument(&self, arg: &ArgMeta) -> Result<(), String> {
        let ArgMeta { offset, size, .. } = *arg;
        if size == 0 {
            return Err("its size is 0".to_owned());
        }
        if offset.checked_add(size).is_none_or(|end| end > self.kernarg_segment_size) {
            return Err(format!(
                "{size} bytes at offset {offset} are not inside the {} bytes of the kernarg segment",
                self.kernarg_segment_size
            ));
        }
        if let Some(expected) = arg.kind.size() {
            if size != expected {
                return Err(format!("its size is {size}, but {:?} takes {expected}", arg.kind));
            }
            if offset % expected != 0 {
                return Err(format!(
                    "offset {offset} is no multiple of {expected}, the size of {:?}",
                    arg.kind
                ));
            }
        }
        if let Some(align) = arg.pointee_align
            && (!align.is_power_of_two() || align > 64 * 1024)
        {
            return Err(format!("pointee_align {align} is no power of two up to 65536"));
        }
        Ok(())
    }
}
