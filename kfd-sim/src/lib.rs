//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.
//!
//! This crate answers what a program asks of `/dev/kfd`, the render node and sysfs, so that AMD's own `libhsa-runtime64` (and HIP
//! above it) runs without a GPU: it creates queues, rings doorbells and waits for events as on a machine with an MI50
//! (gfx906, 60 CUs in 4 shader engines, 16 GiB). Behind that interface
//!
//! * a **command processor** ([`cp`]) reads AQL and SDMA packets from the program's queues, asynchronously: queues progress by
//!   themselves, the barrier bit and barrier packets order them, completion signals, mailboxes, timestamps and errors are
//!   those that ROCr expects;
//! * a **dispatcher** deals workgroups to the shader engines in strict turn and places them on the CUs that the queue's mask
//!   allows, as amdkfd maps masks;
//! * an **interpreter** ([`isa`]) executes the gfx906 machine code in GPU memory, wave by wave; an instruction that it does not
//!   know ends the queue with an illegal-instruction error and is never guessed;
//! * memory is reached only through **GPU page tables** ([`memory`]): what the program did not map is a GPU memory fault.
//!
//! # Two ways in
//! *Preloaded*: `eclip sim -- PROGRAM`, or `LD_PRELOAD=libkfd_sim.so ECLIP_DEVICE=sim PROGRAM`, for any dynamically linked program
//! ([`launcher`]). *Linked in*: an executable that depends on this crate and exports the names in `hooks.list` from its build
//! script ([`hooks`]); it can then control the device from inside: see [`control`].
//!
//! | environment | does |
//! |---|---|
//! | `ECLIP_DEVICE` | `sim`: always simulated; `real`: never; unset: simulated if and only if the machine has no `/dev/kfd` |
//! | `ECLIP_KFD_SIM` | the library that the launcher preloads |
//! | `KFD_SIM_LOG=1` | writes every ioctl to standard error |
//! | `KFD_SIM_FAIL` | makes calls fail: `SET_CU_MASK=EINVAL:once,CREATE_QUEUE=ENOMEM:3,OPEN=EACCES` |
//!
//! # What simulated means
//! Results are the machine code's own. Times come from a simple model ([`timing`]) whose constants are marked with their source or
//! as assumed; none was compared with hardware. GPU time follows the host's clock and stands still while the interpreter
//! catches up; the stall is counted ([`cp::CpStats`]). ROCr translates GPU ticks with the host's clock, so translated
//! times fall behind by the stalls.
//!
//! # What it does not do
//! Beyond the hardware's 24 compute queues there is no time slicing. Memory is coherent: a missing fence shows no stale data yet.
//! SVM, IPC, dma-buf, the debugger and graphics are refused. Memory that a program registers and then returns to the host
//! without deregistering it ends the process, where hardware would report a fault. Statically linked programs see the real
//! machine.
//!
//! # Others
//! AMD's rocjitsu (ROCm/rocm-systems, `emulation/rocjitsu`; CDNA and RDNA) interposes the same way; tinygrad has a mock of KFD;
//! gem5 models a whole GPU.

pub mod control;
pub mod cp;
pub mod device;
pub mod fixture;
pub mod hooks;
pub mod isa;
pub mod kernel;
pub mod launcher;
mod machine;
pub mod memory;
pub mod paths;
pub mod ports;
pub mod timing;
