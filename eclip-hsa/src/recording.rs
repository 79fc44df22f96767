//! Recordings: a whole request, over several queues, put together once and replayed with new arguments.
//!
//! A [`Recording`] holds hundreds of kernels with their barriers as finished packets. Replaying copies them, one reservation and one
//! doorbell for each run of packets that may be published together, and patches arguments and signals. It belongs to no queue: queues are numbers,
//! and [`Recording::on`] says which. Immutable; any number of threads may replay it, also while earlier replays are in flight: each replay in
//! flight has its own signals and arguments, which are made when first needed and used again.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use eclip_hsa::{KernelGroup, Patch, Pool, Recording};
//! # fn example(pool: Pool, first: KernelGroup, second: KernelGroup) -> eclip_hsa::Result<()> {
//! let mut recorder = Recording::builder(pool.agent());
//! let a = recorder.add(&first, 0, &[])?;
//! recorder.add(&second, 1, &[a])?;
//! let recording = recorder.build()?;
//! let second = Duration::from_secs(1);
//! for request in 0..10u32 {
//!     // Argument 2 of the kernel that was recorded first.
//!     let patches = [Patch::new(0, 2, request)];
//!     recording.on(pool.queues()).patch(&patches).submit(second)?.wait_timeout(second)?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::group::KernelGroup;
use crate::patch::Patch;
use crate::queue::Queue;
use crate::recorded::{Step, put_together};
use crate::replay::{Request, submit, try_submit};
use crate::token::Token;

/// A request put together. A cheap handle.
#[derive(Clone)]
pub struct Recording {
    request: Arc<Request>,
}

/// A request that is being recorded. Made by [`Recording::builder`].
#[derive(Clone, Debug)]
pub struct Recorder {
    agent: Agent,
    /// Clones have the same: the steps so far are theirs, too.
    number: u64,
    steps: Vec<Step>,
}

/// A step of a request that is being recorded. Only its recorder, and clones of that, know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    recorder: u64,
    step: usize,
}

impl Recording {
    /// A request for queues of `agent`, to be recorded.
    pub fn builder(agent: &Agent) -> Recorder {
        Recorder { agent: agent.clone(), number: agent.runtime().lanes().number(), steps: Vec::new() }
    }

    /// Kernels in it.
    #[expect(clippy::len_without_is_empty, reason = "a recording is never empty")]
    pub fn len(&self) -> usize {
        self.request.kernels()
    }

    /// Packets of one replay: kernels, barriers, and on each queue one more that tells when its share is complete. On the last queue that one
    /// waits for all others: one for each five of them. What [`Replay::after`] needs is not counted.
    pub fn packets(&self) -> usize {
        self.request.packets()
    }

    /// Runs of packets that are published together: each is one reservation and one doorbell.
    pub fn segments(&self) -> usize {
        self.request.segments()
    }

    /// The GPU that it is for.
    pub fn agent(&self) -> &Agent {
        self.request.agent()
    }

    /// A replay on these queues, still to be made: the numbers given when it was recorded count in this slice.
    #[inline]
    pub fn on<'a>(&'a self, queues: &'a [Queue]) -> Replay<'a> {
        Replay { request: &self.request, queues, after: &[], patches: &[] }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({} kernels in {} segments)", self.len(), self.segments())
    }
}

impl Recorder {
    /// Adds a group on queue number `queue`, to start when all of `after` are complete. Steps of one queue are ordered only where
    /// `after` says so, as submissions are.
    ///
    /// # Errors
    /// [`Error::WrongAgent`] for a group of another GPU, [`Error::Invalid`] for a step of another recorder; nothing is added then.
    pub fn add(&mut self, group: &KernelGroup, queue: usize, after: &[StepId]) -> Result<StepId> {
        if !group.agent().is(&self.agent) {
            return Err(Error::WrongAgent {
                what: "the kernel group",
                made_for: group.agent().to_string(),
                used_on: self.agent.to_string(),
            });
        }
        let foreign = |id: &&StepId| id.recorder != self.number || id.step >= self.steps.len();
        if let Some(StepId { step, .. }) = after.iter().find(foreign) {
            return Err(Error::Invalid(format!(
                "step {step} was given to a recorder that has {} of its own: it belongs to another one",
                self.steps.len()
            )));
        }
        let after = after.iter().map(|id| id.step).collect();
        self.steps.push(Step { group: group.clone(), queue, after });
        Ok(StepId { recorder: self.number, step: self.steps.len() - 1 })
    }

    /// Puts the request together.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no steps and for more queues than a request can have.
    pub fn build(&self) -> Result<Recording> {
        if self.steps.is_empty() {
            return Err(Error::Invalid("a recording without steps: add some with Recorder::add".into()));
        }
        let request = Request::new(&self.agent, put_together(&self.steps)?, &self.steps)?;
        Ok(Recording { request: Arc::new(request) })
    }
}

/// One replay of a recording, still to be made.
#[derive(Clone, Copy)]
#[must_use = "nothing is submitted before submit or try_submit"]
pub struct Replay<'a> {
    request: &'a Arc<Request>,
    queues: &'a [Queue],
    after: &'a [Token],
    patches: &'a [Patch],
}

impl<'a> Replay<'a> {
    /// Starts the request after all of these are complete, on the GPU.
    #[inline]
    pub fn after(mut self, tokens: &'a [Token]) -> Self {
        self.after = tokens;
        self
    }

    /// Replaces arguments, for this replay only. Kernels are counted in the order in which they were recorded.
    #[inline]
    pub fn patch(mut self, patches: &'a [Patch]) -> Self {
        self.patches = patches;
        self
    }

    /// Submits the whole request if there is room for all of it on every queue now. Never waits. The token stands for the whole
    /// request, and is visible to everybody; it has no times.
    ///
    /// # Errors
    /// As [`crate::Submission::try_submit`]; [`Error::Invalid`] if a queue number is beyond `queues`, if two numbers are one queue, or for an adopted
    /// queue, where room cannot be set aside.
    pub fn try_submit(self) -> Result<Token> {
        try_submit(self.request, self.queues, self.after, self.patches)
    }

    /// Submits the whole request, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Replay::try_submit`]; [`Error::WouldBlock`] after the time is over.
    pub fn submit(self, timeout: Duration) -> Result<Token> {
        submit(self.request, self.queues, self.after, self.patches, timeout)
    }
}
