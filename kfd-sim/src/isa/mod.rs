//! The gfx906 (GCN5, wave64) instruction set: decoder, interpreter and the state a workgroup starts with.
//!
//! Pure: no I/O and no threads. A [`Workgroup`] belongs to whoever runs it; many may run at the same time on different
//! threads, each with its own [`CodeCache`]. GPU memory is reached only through
//! [`AddressSpace`](crate::memory::AddressSpace), with relaxed single-copy-atomic loads and stores where the address is
//! aligned and sequentially consistent host atomics for GPU atomics.
//!
//! An instruction that is not implemented is never skipped: it ends the workgroup with
//! [`ExecFault::IllegalInstruction`].
//!
//! Which instructions there are, what is done where the ISA leaves results open, and how all of it is checked:
//! `docs/instructions.md`.
//!
//! Facts come from AMD's "Vega" and "Vega 7nm" shader ISA documents and from LLVM's AMDGPU usage guide.

mod code_cache;
pub mod decode;
pub(crate) mod exec;
pub mod fault;
pub mod inst;
pub mod launch;
mod print;
pub mod workgroup;

pub use code_cache::CodeCache;
pub use fault::{ExecFault, LaunchError, Progress};
pub use launch::{Launch, LaunchDesc, ScratchDesc};
pub use workgroup::{ExecStats, Placement, Workgroup};
