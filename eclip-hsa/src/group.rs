//! Kernel groups: kernels that are put together once and submitted often.
//!
//! A [`KernelGroup`] is checked when it is built; submitting it is one reservation, one bulk write, one doorbell. It is immutable and
//! may be submitted by any number of threads, also while earlier submissions of it are in flight. Work in flight owns the
//! group and the buffers that it uses, even if every handle and token of it is gone.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use eclip_hsa::{Kernel, KernelGroup, Patch, Queue, Buffer, Visibility};
//! # fn example(kernel: Kernel, data: Buffer<f32>, queues: [Queue; 2]) -> eclip_hsa::Result<()> {
//! let mut builder = KernelGroup::builder(kernel.agent());
//! builder.dispatch(kernel.dispatch([256, 1, 1], [64, 1, 1]).arg(&data).arg(1f32))?;
//! builder.dispatch(kernel.dispatch([256, 1, 1], [64, 1, 1]).arg(&data).arg(2f32))?;
//! let group = builder.build()?;
//!
//! let second = Duration::from_secs(1);
//! let first = group.on(&queues[0]).visibility(Visibility::Agent).submit(second)?;
//! // On another queue, after the first, with another argument for kernel 1.
//! let patches = [Patch::new(1, 1, 3f32)];
//! group.on(&queues[1]).after(&[first]).patch(&patches).submit(second)?.wait_timeout(second)?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::dispatch::Dispatch;
use crate::error::{Error, Result};
use crate::program::{Assembly, Program};
use crate::queue::Queue;
use crate::submit::{Order, submit, try_submit};
use crate::token::Token;

pub use crate::foreign::ForeignSignal;
pub use crate::patch::Patch;
pub use crate::visibility::Visibility;

/// Kernels put together, ready to be submitted. A cheap handle.
#[derive(Clone)]
pub struct KernelGroup {
    program: Arc<Program>,
}

/// A group that is being put together. Made by [`KernelGroup::builder`].
#[derive(Clone, Debug)]
pub struct GroupBuilder {
    agent: Agent,
    dispatches: Vec<Dispatch>,
    concurrent: bool,
}

impl KernelGroup {
    /// A group for queues of `agent`, to be built.
    pub fn builder(agent: &Agent) -> GroupBuilder {
        GroupBuilder { agent: agent.clone(), dispatches: Vec::new(), concurrent: false }
    }

    /// A group of one kernel.
    ///
    /// # Errors
    /// As [`GroupBuilder::build`].
    pub fn of(dispatch: Dispatch) -> Result<Self> {
        let mut builder = Self::builder(dispatch.kernel().agent());
        builder.dispatch(dispatch)?;
        builder.build()
    }

    /// Kernels in it.
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.program.len()
    }

    /// The GPU that it is for.
    pub fn agent(&self) -> &Agent {
        self.program.agent()
    }

    /// Names of its kernels, in order.
    pub fn kernel_names(&self) -> impl Iterator<Item = &str> {
        self.program.kernels.iter().map(|kernel| kernel.kernel.name())
    }

    /// A submission to `queue`, still to be made.
    #[inline]
    pub fn on<'a>(&'a self, queue: &'a Queue) -> Submission<'a> {
        Submission { queue, order: Order::new(&self.program) }
    }

    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }
}

impl fmt::Debug for KernelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelGroup({})", self.kernel_names().collect::<Vec<_>>().join(", "))
    }
}

impl GroupBuilder {
    /// Adds a kernel. What is wrong with it is said when the group is built, but for the wrong GPU.
    ///
    /// # Errors
    /// [`Error::WrongAgent`] for a kernel of another GPU; nothing is added then.
    pub fn dispatch(&mut self, dispatch: Dispatch) -> Result<&mut Self> {
        if !dispatch.kernel().agent().is(&self.agent) {
            return Err(Error::WrongAgent {
                what: "the kernel",
                made_for: dispatch.kernel().agent().to_string(),
                used_on: self.agent.to_string(),
            });
        }
        self.dispatches.push(dispatch);
        Ok(self)
    }

    /// Lets the kernels run side by side, in any order, unless a dispatch has its barrier bit set. Without this, each runs after the one
    /// before.
    pub fn concurrent(&mut self) -> &mut Self {
        self.concurrent = true;
        self
    }

    /// Checks everything and builds the group. Its arguments get memory of their own.
    ///
    /// # Errors
    /// [`Error::Geometry`], [`Error::Arguments`] or [`Error::WrongAgent`] if a kernel cannot be launched, [`Error::Invalid`] for no
    /// kernels, [`Error::Hsa`] if there is no memory.
    pub fn build(&self) -> Result<KernelGroup> {
        if self.dispatches.is_empty() {
            return Err(Error::Invalid(
                "a group without kernels: add some with GroupBuilder::dispatch".into(),
            ));
        }
        let assembly = Assembly { concurrent: self.concurrent, resident: true };
        let program = Program::new(&self.agent, self.dispatches.iter(), assembly)?;
        Ok(KernelGroup { program: Arc::new(program) })
    }
}

/// One submission of a group, still to be made: costs nothing until then.
#[derive(Clone, Copy)]
#[must_use = "nothing is submitted before submit or try_submit"]
pub struct Submission<'a> {
    queue: &'a Queue,
    order: Order<'a>,
}

impl<'a> Submission<'a> {
    /// Starts the work after all of these are complete, on the GPU. Work that is complete already costs nothing, nor does a token that
    /// another one proves. Without this, the work is ordered after nothing, not even after earlier work on the same queue.
    #[inline]
    pub fn after(mut self, tokens: &'a [Token]) -> Self {
        self.order.after = tokens;
        self
    }

    /// Starts the work when these signals of somebody else's are 0.
    #[inline]
    pub fn after_signals(mut self, signals: &'a [ForeignSignal]) -> Self {
        self.order.signals = signals;
        self
    }

    /// Lets the GPU subtract 1 from a signal of somebody else's when this and all earlier work of the queue is complete: one more barrier packet.
    #[inline]
    pub fn notify(mut self, signal: ForeignSignal) -> Self {
        self.order.notify = Some(signal);
        self
    }

    /// Who may wait for the work: everybody, if this is not called.
    #[inline]
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.order.visibility = visibility;
        self
    }

    /// Replaces arguments, for this submission only. The group's own arguments stay as they are.
    #[inline]
    pub fn patch(mut self, patches: &'a [Patch]) -> Self {
        self.order.patches = patches;
        self
    }

    /// Submits if there is room now. Never waits.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is no room (nothing was reserved), [`Error::TooLarge`] if there never will be (work of
    /// [`Visibility::Queue`] that is larger than a quarter of the ring takes one packet more),
    /// [`Error::BufferBusy`] if the host has mapped a buffer, [`Error::Failed`] if the queue is dead or something waited for was lost,
    /// [`Error::NotVisible`] for a token that this queue cannot wait for, [`Error::WrongAgent`] for a group or a patch's buffer of another
    /// GPU, [`Error::Arguments`] for a patch that does not fit, [`Error::Invalid`] for a patch of a kernel that there is not and for a token of
    /// another runtime, [`Error::Hsa`] if ROCr has no signal left.
    #[inline]
    pub fn try_submit(self) -> Result<Token> {
        try_submit(self.queue.state(), &self.order)
    }

    /// Submits, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Submission::try_submit`]; [`Error::WouldBlock`] after the time is over.
    #[inline]
    pub fn submit(self, timeout: Duration) -> Result<Token> {
        submit(self.queue.state(), &self.order, timeout)
    }
}

impl Queue {
    /// Submits one kernel, waiting for room for at most `timeout`. For work that is submitted often a [`KernelGroup`] is cheaper.
    ///
    /// # Errors
    /// As [`Submission::submit`] and [`GroupBuilder::build`].
    pub fn dispatch(&self, dispatch: Dispatch, timeout: Duration) -> Result<Token> {
        let program = once(&dispatch)?;
        submit(self.state(), &Order::new(&program), timeout)
    }

    /// Submits one kernel without waiting.
    ///
    /// # Errors
    /// As [`Submission::try_submit`] and [`GroupBuilder::build`].
    pub fn try_dispatch(&self, dispatch: Dispatch) -> Result<Token> {
        let program = once(&dispatch)?;
        try_submit(self.state(), &Order::new(&program))
    }

    /// Holds up everything that is submitted to this queue later until all of `after` is complete: barrier-AND packets,
    /// one for each five that are needed. Waits for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Submission::submit`].
    pub fn barrier_and(&self, after: &[Token], timeout: Duration) -> Result<Token> {
        let program = self.state().parts().empty.clone();
        submit(self.state(), &Order { after, ..Order::new(&program) }, timeout)
    }
}

impl Queue {
    /// As [`Queue::barrier_and`], without waiting for room.
    ///
    /// # Errors
    /// As [`Submission::try_submit`].
    pub fn try_barrier_and(&self, after: &[Token]) -> Result<Token> {
        let program = self.state().parts().empty.clone();
        try_submit(self.state(), &Order { after, ..Order::new(&program) })
    }
}

fn once(dispatch: &Dispatch) -> Result<Arc<Program>> {
    let assembly = Assembly::default();
    Ok(Arc::new(Program::new(dispatch.kernel().agent(), std::iter::once(dispatch), assembly)?))
}
