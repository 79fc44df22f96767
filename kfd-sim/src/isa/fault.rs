//! Why a launch is refused, why a workgroup stops. Plain data.

use crate::memory::MemoryFault;

/// What one call of [`Workgroup::run`](super::Workgroup::run) came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Every wave reached `s_endpgm`.
    Done,
    /// The budget is used up; call again.
    Yielded,
    /// A wave cannot go on; the workgroup is dead.
    Fault(ExecFault),
}

/// An error inside a kernel. Addresses are GPU virtual addresses of the instruction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExecFault {
    /// Not an instruction of gfx906, or one that the interpreter does not execute.
    #[error("illegal instruction at {address:#x}: {:#010x} {:#010x}: {text}", words[0], words[1])]
    IllegalInstruction {
        /// Where.
        address: u64,
        /// Its first two words.
        words: [u32; 2],
        /// Disassembly, or why it was refused.
        text: String,
    },
    /// A load, store, atomic or instruction fetch outside mapped memory.
    #[error("at {address:#x}: {fault}")]
    Memory {
        /// The instruction.
        address: u64,
        /// What it touched.
        fault: MemoryFault,
    },
    /// `s_trap`, or another way of stopping the wave on purpose.
    #[error("trap {id} at {address:#x}")]
    Trap {
        /// The instruction.
        address: u64,
        /// Trap id of `s_trap`.
        id: u8,
    },
    /// An access that must be naturally aligned is not.
    #[error("unaligned access of {len} bytes at {va:#x} by the instruction at {address:#x}")]
    Unaligned {
        /// The instruction.
        address: u64,
        /// What it touched (a byte offset, when it is LDS).
        va: u64,
        /// Bytes of the access.
        len: u32,
    },
    /// An LDS access beyond the workgroup's allocation (hardware would drop it).
    #[error(
        "LDS access of {len} bytes at {offset:#x} beyond {allocated:#x} allocated, by the instruction at {address:#x}"
    )]
    LdsBounds {
        /// The instruction.
        address: u64,
        /// Byte offset in LDS.
        offset: u32,
        /// Bytes of the access.
        len: u32,
        /// Bytes allocated to the workgroup.
        allocated: u32,
    },
    /// A private-segment access beyond the lane's share, or without scratch memory.
    #[error(
        "scratch access of {len} bytes at {offset:#x} beyond {allocated:#x} bytes a lane, by the instruction at {address:#x}"
    )]
    ScratchBounds {
        /// The instruction.
        address: u64,
        /// Byte offset in the lane's private segment.
        offset: u64,
        /// Bytes of the access.
        len: u32,
        /// Bytes each lane has.
        allocated: u32,
    },
}

/// Why a kernel dispatch packet cannot be started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LaunchError {
    /// The kernel descriptor or the code is not in GPU memory.
    #[error("kernel descriptor: {0}")]
    Descriptor(MemoryFault),
    /// `kernel_object` is not aligned to 64 bytes.
    #[error("kernel_object {0:#x} is not aligned to 64 bytes")]
    MisalignedDescriptor(u64),
    /// The packet's dimensions are 0 or above 3, or a size is 0.
    #[error("bad dimensions: setup {setup:#x}, workgroup {workgroup:?}, grid {grid:?}")]
    Dimensions {
        /// The packet's `setup` field.
        setup: u16,
        /// Workgroup sizes.
        workgroup: [u16; 3],
        /// Grid sizes.
        grid: [u32; 3],
    },
    /// More than 1024 work-items in a workgroup.
    #[error("{0} work-items in a workgroup; at most 1024")]
    WorkgroupTooLarge(u64),
    /// More LDS than a compute unit has.
    #[error("{0} bytes of LDS in a workgroup; at most 65536")]
    LdsTooLarge(u32),
    /// The kernel uses a private segment and the queue has no scratch memory, or too little.
    #[error("the kernel needs {need} bytes of scratch a wave; the queue gives {have}")]
    Scratch {
        /// Bytes a wave needs.
        need: u64,
        /// Bytes a wave gets.
        have: u64,
    },
    /// A feature of the descriptor that is not simulated.
    #[error("unsupported kernel descriptor: {0}")]
    Unsupported(String),
}
