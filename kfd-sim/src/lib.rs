//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.
//!
//! AMD's own libhsa-runtime64, libhsakmt and libamdhip64 run above it as they are: this crate answers `/dev/kfd`, the render
//! node and sysfs in their stead, executes the packets that they put into queues, and the gfx906 instructions of the
//! kernels that those packets launch. No figure that it gives was compared with a real GPU: whatever shows one says
//! "simulated".
//!
//! # Two ways in
//! - **Preloaded.** [`launcher`] starts any program with this crate's shared library before libc
//!   (`eclip sim -- PROGRAM`).
//! - **Linked in.** An executable that links this crate and exports the names in `hooks.list` is its own simulated machine,
//!   and may drive the device through [`control`]. Its build script is short:
//!
//! ```ignore
//! // build.rs
//! for hook in include_str!("../kfd-sim/hooks.list").lines() {
//!     println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={hook},--undefined={hook}");
//! }
//! ```
//!
//! Either way it passes everything through until it is switched on: by the environment, by [`control::switch_on`], or because
//! the host has no `/dev/kfd`.
//!
//! What can be chosen about it is in [`settings`]: each has an environment variable ([`settings::VARIABLES`]) and a flag of `eclip sim`.
//! `docs/device.md` lists what is supported and what is not.
//!
//! # Inside
//! [`hooks`] (libc's functions) -> [`paths`] and [`fixture`] (files), [`kernel`] (ioctls, memory, events, queues) ->
//! [`cp`] (packets, time) -> [`isa`] (instructions). [`memory`] is the GPU's page tables, through which alone the last two
//! reach memory, with [`caches`] between if that is wanted; [`device`] the model, read from `devices/*.toml`; [`ports`] what the command processor tells the kernel.
//!
//! # What simulated means
//! Results are the machine code's own: an instruction that the interpreter does not know ends the queue with an
//! illegal-instruction error and is never guessed. *Times* come from a simple model ([`timing`]) whose constants are marked
//! with their source or as assumed. GPU time follows the host's clock and stands still while the interpreter catches up; the
//! stall is counted ([`cp::CpStats`]). ROCr translates GPU ticks with the host's clock, so translated times fall behind by
//! the stalls. Memory is coherent unless [`caches`] are asked for (tests should: `strict`). Compute queues beyond the hardware's 24 share
//! hardware queues and take turns; waves of a queue without its turn are saved, as the hardware's context save does it.
//!
//! # What it is not
//! Not a driver test: there is no scheduling between processes, no eviction but after a memory fault, no IPC, no dmabuf, no SVM, no debugger, no
//! graphics. Such ioctls answer EINVAL and appear in the log by name. Statically linked programs cannot be run on it.
//!
//! # Prior art
//! AMD's rocjitsu (ROCm/rocm-systems, `emulation/rocjitsu`) interposes the same way, for CDNA and RDNA GPUs; tinygrad tests
//! its AMD backend on a mock KFD; gem5 models GCN3 and Vega below a real driver.

pub mod caches;
pub mod control;
pub mod cp;
pub mod device;
pub mod fixture;
mod guard;
pub mod hooks;
pub mod isa;
pub mod journal;
pub mod kernel;
pub mod launcher;
mod machine;
pub mod memory;
pub mod paths;
pub mod plan;
pub mod ports;
pub mod settings;
pub mod timing;
pub mod trace;
