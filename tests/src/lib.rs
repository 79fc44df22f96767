//! Tests across crates, on the simulated GPU or on hardware: what all of them need.
//!
//! Each test takes [`gpu`]: it holds the one device of the process until it is dropped, so tests of one executable run one
//! after the other, whichever runner runs them. On a machine with a GPU the tests run on it (`ECLIP_DEVICE=sim` for the
//! simulated one); those that need the simulator's control call [`Gpu::sim`] and skip with a reason.

pub mod graph;
pub mod storm;
pub mod workers;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use eclip_hsa::{Agent, Module, Queue, Runtime};
use kfd_sim::control::{self, Device, MemoryModel};

/// Longer than anything here takes, so that a hang ends as a failed test.
pub const PATIENCE: Duration = Duration::from_secs(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The device of this test. Dropped last in a test: declare it first.
pub struct Gpu {
    /// The GPU.
    pub agent: Agent,
    _turn: MutexGuard<'static, ()>,
}

/// Takes the process's GPU. A simulated one is strict about fences ([`MemoryModel::Strict`]) unless `KFD_SIM_MEMORY` says
/// otherwise.
pub fn gpu() -> Gpu {
    let turn = turn();
    if control::is_on() && std::env::var_os("KFD_SIM_MEMORY").is_none() {
        let sim = control::device().expect("the simulated GPU starts");
        sim.processor().set_memory_model(MemoryModel::Strict).expect("this process made it");
    }
    let agent =
        Runtime::new().and_then(|runtime| runtime.gpu(0)).unwrap_or_else(|error| panic!("no GPU: {error}"));
    Gpu { agent, _turn: turn }
}

/// The process's GPU for a test that sets up the runtime by itself.
pub fn turn() -> MutexGuard<'static, ()> {
    // Some tests wait without a limit, because that must end too. If it does not, the process ends here and not never.
    // SAFETY: alarm only sets this process's timer; nothing else here uses it.
    unsafe { libc::alarm(180) };
    // A failed test poisons nothing that the next one uses: it makes its own objects.
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Gpu {
    /// The simulator's control; on hardware prints why the test is skipped.
    pub fn sim(&self) -> Option<Arc<Device>> {
        sim()
    }

    /// A module of `kernels/`, built for this GPU.
    pub fn module(&self, name: &str) -> Module {
        let isa = self.agent.isa().expect("a GPU has an ISA").to_string();
        let code = eclip_kernels::code_object(&isa, name)
            .unwrap_or_else(|| panic!("kernels/bin has no {name} for {isa}: cargo xtask kernels"));
        // SAFETY: these kernels stay inside the buffers and counts that they are given; `fault` does not, and the tests that
        // use it want that, on addresses that no buffer has.
        unsafe { Module::from_bytes(&self.agent, name, code) }
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A small queue without a mask.
    pub fn queue(&self) -> Queue {
        Queue::builder(&self.agent).label("test").size(256).create().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The simulator's number of the queue that was created last, by which its control names it.
pub fn newest_queue(sim: &Device) -> u32 {
    (0..4096).rev().find(|&id| sim.processor().hardware_queue(id).is_some()).expect("a queue was created")
}

/// The simulator's control, for a test that cannot do without; on hardware prints why the test is skipped.
pub fn sim() -> Option<Arc<Device>> {
    if control::is_on() {
        return Some(control::device().expect("the simulated GPU starts"));
    }
    eprintln!(
        "skipped: this test controls the simulated GPU, and this is hardware (ECLIP_DEVICE=sim runs it)"
    );
    None
}
