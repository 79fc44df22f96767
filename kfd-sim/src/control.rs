//! Control of the simulated machine from inside the process: for tests, and for tools that link it in.
//!
//! An executable that links this crate and exports the hooks (see [`crate::hooks::HOOKS`]) becomes a simulated machine
//! when switched on: by [`switch_on`] before the runtime is initialised, or by the rule of [`is_on`]. Then [`device`] is
//! the GPU that the runtime sees:
//!
//! ```no_run
//! use kfd_sim::control::{self, Failure, When};
//! control::switch_on();
//! let gpu = control::device().expect("the host has memfd_create and address space");
//! gpu.recorder().fail(Failure { nr: 0x1a, errno: 22, when: When::Once }); // the next SET_CU_MASK answers EINVAL
//! // ... hsa_init, create queues ...
//! println!("{:?}", gpu.recorder().masks());
//! gpu.processor().set_memory_model(control::MemoryModel::Strict).unwrap(); // a missing fence shows
//! ```
//!
//! | what | where |
//! |---|---|
//! | make calls of the driver fail, follow a [`FaultPlan`] | [`Recorder::fail`], [`Recorder::follow`] |
//! | ioctls and CU masks that were seen | [`Recorder::ioctls`], [`Recorder::masks`] |
//! | packets that completed, counters | [`CommandProcessor::dispatch_log`], [`CommandProcessor::stats`] |
//! | everything as structured events, also to a file | [`Device::journal`] |
//! | what ran where, for Perfetto | [`CommandProcessor::set_tracing`], [`Device::write_trace`] |
//! | stop and resume a queue, one packet at a time | [`CommandProcessor::stall_queue`], [`CommandProcessor::set_stepping`], [`CommandProcessor::step`] |
//! | a memory fault | [`CommandProcessor::inject_page_fault`] |
//! | strict memory, races | [`CommandProcessor::set_memory_model`], [`CommandProcessor::set_race_detection`] |
//! | VRAM and GTT in use | [`Device::memory_used`] |
//! | what the device was made with | [`Device::settings`], [`Settings`] |
//!
//! A program that is only preloaded is controlled through the environment: [`VARIABLES`](crate::settings::VARIABLES), which
//! [`launcher`](crate::launcher) sets from flags. `docs/device.md` describes all of it.
//!
//! Any thread. Like amdkfd's, the device's state belongs to the process, not to a descriptor: shutting the runtime down
//! and initialising it again finds the same device. Tests of single ioctls make a [`Device`] of their own instead.

use crate::kernel::uapi::Errno;
use crate::machine;
use std::sync::Arc;

pub use crate::cp::{CommandProcessor, MemoryModel};
pub use crate::journal::{Entry, Event, Journal};
pub use crate::kernel::record::{Failure, IoctlRecord, MaskRecord, OPEN, Recorder, When};
pub use crate::kernel::{Device, Node};
pub use crate::plan::{Fault, FaultPlan, Rule};
pub use crate::settings::{KfdVersion, Settings, set_quiet};

/// Turns the simulated machine on for this process. Call it before the runtime is initialised.
pub fn switch_on() {
    machine::switch(true);
}

/// Turns it off: what is opened from now on is the host's. Open descriptors stay what they are.
pub fn switch_off() {
    machine::switch(false);
}

/// Whether the simulated machine answers: as switched, else by `ECLIP_DEVICE` (`sim`, `real`), else if and only if the
/// host has no `/dev/kfd`.
pub fn is_on() -> bool {
    machine::is_on()
}

/// The process's simulated GPU, made now if nothing has opened it yet.
pub fn device() -> Result<Arc<Device>, Errno> {
    machine::outside(|| machine::device().cloned()).unwrap_or(Err(Errno(libc::EBUSY)))
}
