//! What can go wrong, in words that say what, where and what to do.

use std::sync::Arc;
use std::time::Duration;

use crate::code_object::{CodeObjectError, Mismatch};
use crate::cu_mask::MaskError;
use crate::kernarg::KernargError;
use crate::plan::PlanError;
use crate::visibility::Visibility;

/// Result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of this crate. Cheap to clone: a failed queue hands the same error to everybody who asks.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// ROCr itself was not found or lacks functions.
    #[error(transparent)]
    Load(#[from] Arc<hsa_sys::LoadError>),
    /// The machine has no AMD GPU driver.
    #[error(
        "there is no /dev/kfd: the amdgpu kernel driver is not loaded, or this container was started without the device; \
         load the driver, pass --device=/dev/kfd --device=/dev/dri, or run on the simulated GPU (`eclip sim -- PROGRAM`)"
    )]
    NoDriver,
    /// The user may not open the GPU.
    #[error(
        "no permission on {path}: {reason}; add the user to the group that owns it (`ls -l {path}`; usually `render` or \
         `video`) and log in again"
    )]
    NoPermission {
        /// The device file.
        path: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// ROCr runs but shows no GPU.
    #[error(
        "ROCr shows no GPU agent with index {index}; it shows {found} (see `rocminfo`; ROCR_VISIBLE_DEVICES may hide some)"
    )]
    NoGpu {
        /// The index asked for.
        index: usize,
        /// GPUs that there are.
        found: usize,
    },
    /// A call into ROCr failed.
    #[error("{call} failed: {text} ({status:#x}){context}")]
    Hsa {
        /// The HSA function.
        call: &'static str,
        /// Its status.
        status: u32,
        /// ROCr's words for the status.
        text: String,
        /// What was being done, if that helps: empty, or begins with ": ".
        context: String,
    },
    /// A CU mask that the GPU should not get.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// `HSA_CU_MASK` would change every mask behind our back.
    #[error(
        "the environment variable HSA_CU_MASK is set ({value:?}): ROCr ANDs it into every queue's CU mask; unset it, or \
         allow it with allow_hsa_cu_mask of PoolBuilder or QueueBuilder"
    )]
    HsaCuMaskSet {
        /// Its value.
        value: String,
    },
    /// A mask or module of another GPU.
    #[error("{what} was made for {made_for}, not for {used_on}{}", other_runtime(made_for, used_on))]
    WrongAgent {
        /// What was used on the wrong GPU.
        what: &'static str,
        /// Where it belongs.
        made_for: String,
        /// Where it was used.
        used_on: String,
    },
    /// More queues than the hardware runs at once.
    #[error(
        "{asked} queues were asked for, but {budget} of the GPU's {hardware} hardware queues are free ({others} are in use by \
         other programs, {runtime} by ROCr itself): more would be time-sliced by the driver; ask for fewer, or allow it with \
         allow_oversubscription of PoolBuilder or QueueBuilder"
    )]
    QueueBudget {
        /// Queues asked for, those that exist already included.
        asked: u32,
        /// Queues that may be used.
        budget: u32,
        /// Hardware queues of the GPU.
        hardware: u32,
        /// In use by other processes.
        others: u32,
        /// In use by ROCr in this process.
        runtime: u32,
    },
    /// The code object cannot be read.
    #[error("{name}: {source}")]
    CodeObject {
        /// The file, or a name for the bytes.
        name: String,
        /// What is wrong with it.
        source: Arc<CodeObjectError>,
    },
    /// The code object is for another GPU.
    #[error("{name} is not for this GPU: {mismatch}")]
    WrongIsa {
        /// The file, or a name for the bytes.
        name: String,
        /// What does not fit.
        mismatch: Mismatch,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// No such kernel in the module.
    #[error("{module} has no kernel {kernel:?}; it has {}", list(available))]
    UnknownKernel {
        /// The module.
        module: String,
        /// The kernel asked for.
        kernel: String,
        /// The kernels that it has.
        available: Vec<String>,
    },
    /// The code object's symbol table was stripped.
    #[error(
        "{module}: ROCr finds no symbol {symbol}, although the kernel is there: ROCr up to 5.2 at least looks kernels up in .symtab, \
         so link with --strip-debug at most, not --strip-all"
    )]
    Stripped {
        /// The module.
        module: String,
        /// The kernel's symbol.
        symbol: String,
    },
    /// Arguments that do not fit the kernel's metadata.
    #[error(transparent)]
    Arguments(#[from] KernargError),
    /// A grid or workgroup that cannot be launched.
    #[error("kernel {kernel}: {problem}")]
    Geometry {
        /// The kernel.
        kernel: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A buffer that the host has mapped was given to a kernel, or one in flight was asked for by the host.
    #[error("buffer of {bytes} bytes at {address:#x} is {state}")]
    BufferBusy {
        /// Device address.
        address: u64,
        /// Its size.
        bytes: usize,
        /// Who has it, and what to do.
        state: &'static str,
    },
    /// A range outside a buffer, or a buffer of impossible size.
    #[error("{0}")]
    Range(String),
    /// The submission can never fit.
    #[error(
        "a submission of {asked} {what} can never fit: this queue takes {limit}; split it or create the queue larger"
    )]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much was asked for.
        asked: u64,
        /// The limit.
        limit: u64,
    },
    /// No room now.
    #[error("{queue} is full: no {what} is free; wait for earlier work, or use a call with a timeout")]
    WouldBlock {
        /// The queue.
        queue: String,
        /// What ran out.
        what: &'static str,
    },
    /// A wait ended before what was waited for.
    #[error("{what} did not finish within {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// A plan that cannot be used, or not with this pool or policy.
    #[error(transparent)]
    Plan(#[from] Arc<PlanError>),
    /// Work is waited for by somebody whom it is not visible to.
    #[error(
        "work on {queue} was submitted with Visibility::{visible:?}, so {waiter} cannot wait for it: submit it with a wider visibility, or \
         wait for later work that has one and comes after it"
    )]
    NotVisible {
        /// The queue that the work is on.
        queue: String,
        /// Its visibility.
        visible: Visibility,
        /// Who wanted to wait.
        waiter: String,
    },
    /// A parameter outside its range.
    #[error("{0}")]
    Invalid(String),
    /// The queue, or its whole GPU, is dead. Sticky: every later call returns the same.
    #[error(transparent)]
    Failed(#[from] Arc<Failure>),
}

/// Why a queue is dead.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// ROCr reported an error on the queue: an illegal instruction, an aborted kernel, an invalid packet, ...
    #[error("{queue} failed: {text} ({status:#x}); its unfinished work is lost, other queues go on")]
    Queue {
        /// The queue.
        queue: String,
        /// HSA status of the error.
        status: u32,
        /// ROCr's words for it.
        text: String,
    },
    /// A kernel touched memory that is not mapped. The driver then evicts every queue that this process has on the GPU.
    #[error(
        "GPU memory fault at {address:#x} on {agent} ({reason}): the driver has evicted every queue of this process on that GPU; \
         check the kernel's indices and that its buffers are still alive, and restart the process"
    )]
    MemoryFault {
        /// The GPU.
        agent: String,
        /// The faulting address, to the page on most hardware.
        address: u64,
        /// What the driver says of it.
        reason: String,
    },
    /// The queue was dropped with unfinished work that did not drain in time.
    #[error("{queue} was destroyed before this work finished")]
    Destroyed {
        /// The queue.
        queue: String,
    },
    /// The queue waits for work of a queue that failed, and so can never go on.
    #[error("{queue} waits for work that was lost: {cause}")]
    Dependency {
        /// The queue that waits.
        queue: String,
        /// Why the other one failed.
        cause: Arc<Failure>,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no kernels".into(),
        names => names.join(", "),
    }
}

impl From<hsa_sys::LoadError> for Error {
    fn from(error: hsa_sys::LoadError) -> Self {
        Self::Load(Arc::new(error))
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::Plan(Arc::new(error))
    }
}

/// Two handles of one GPU print alike.
fn other_runtime(made_for: &str, used_on: &str) -> &'static str {
    if made_for == used_on { " of another Runtime: make one in a process, and clone its handles" } else { "" }
}

impl Error {
    /// Whether the same call may succeed later: the queue was full, a wait timed out, or a buffer was busy.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::WouldBlock { .. } | Self::Timeout { .. } | Self::BufferBusy { .. })
    }
}
