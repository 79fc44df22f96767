//! One worker: an in-order stream of kernels on several queues. One thread at a time; it can be sent to another.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{DEFAULT_PATIENCE, Shared};
use crate::dispatch::Dispatch;
use crate::error::{Error, Result};
use crate::group::KernelGroup;
use crate::patch::Patch;
use crate::program::{Assembly, Program};
use crate::queue::Queue;
use crate::route::{Behind, Boundaries, Core, Counters, KernelName, Table};
use crate::submit::{Order, submit};
use crate::token::Token;
use crate::visibility::Visibility;

/// Most kernels whose times are waited for; beyond that the oldest are given up.
const TIMES_KEPT: usize = 1 << 16;

/// A kernel made ready for one worker, to be submitted any number of times. A cheap handle.
#[derive(Clone, Debug)]
pub struct Prepared {
    group: KernelGroup,
    name: KernelName,
    /// The worker's: names mean something in it only.
    table: Arc<Table>,
}

/// A worker of the plan. Made by [`Scheduler::worker`](super::Scheduler::worker).
///
/// Dropping it waits for nothing: what was submitted goes on, and kernels of a worker of the same name that is taken later are not ordered
/// behind it.
///
/// When work is lost because a queue died, everything behind it in the stream is lost too, and every further call says so. A worker
/// of the same name that is taken after dropping this one begins anew; [`Scheduler::into_pool`](super::Scheduler::into_pool) says how the
/// queue is replaced.
pub struct Worker {
    shared: Arc<Shared>,
    index: usize,
    core: Core,
    patience: Duration,
    /// The newest work, on which the next kernel depends, and the plan's index of its queue.
    last: Option<(Token, usize)>,
    /// Kernels whose times are not known yet: request, queue, token.
    times: VecDeque<(u64, usize, Token)>,
}

impl Prepared {
    /// The kernel, as a group of one.
    pub fn group(&self) -> &KernelGroup {
        &self.group
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        let table = shared.workers[index].table.clone();
        let core = Core::new(table, |queue| shared.shared[queue], Boundaries::Explicit);
        Self { shared, index, core, patience: DEFAULT_PATIENCE, last: None, times: VecDeque::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.workers[self.index].name
    }

    /// How long submitting waits for room in a queue, and for a queue to drain before its mask is set, each:
    /// [`DEFAULT_PATIENCE`] if this is not called.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Lets the plan's number of kernels end a request, instead of [`Worker::begin_request`] and [`Worker::end_request`].
    pub fn count_requests(&mut self) {
        self.core.tracker.set_boundaries(Boundaries::ByCount);
    }

    /// Makes a kernel ready to be submitted often: checks it, gives its arguments memory of their own, and looks its name up.
    ///
    /// # Errors
    /// As [`KernelGroup::of`].
    pub fn prepare(&self, dispatch: Dispatch) -> Result<Prepared> {
        let name = self.core.tracker.table.name(dispatch.kernel().name());
        Ok(Prepared { group: KernelGroup::of(dispatch)?, name, table: self.core.tracker.table.clone() })
    }

    /// As [`Worker::prepare`], for a kernel that the plan knows by another name than its own.
    ///
    /// # Errors
    /// As [`KernelGroup::of`].
    pub fn prepare_as(&self, name: &str, dispatch: Dispatch) -> Result<Prepared> {
        Ok(Prepared { name: self.core.tracker.table.name(name), ..self.prepare(dispatch)? })
    }

    /// Submits the next kernel. Waits for room in its queue for at most the worker's patience.
    ///
    /// The token is for the host to wait only if its visibility is [`Visibility::System`]: [`Worker::wait`] and
    /// [`Worker::end_request`] are for that.
    ///
    /// # Errors
    /// The kernel was not submitted then, and can be submitted again (its queue may have its new mask already, and the work before it a
    /// marker): [`Error::WouldBlock`] if there was no room,
    /// [`Error::Failed`] if its queue is dead or what it waits for is lost, [`Error::BufferBusy`] if the host has mapped a buffer of it,
    /// [`Error::Invalid`] for a kernel that another worker prepared. Under [`crate::Policy::KwIoctl`] also [`Error::Timeout`] if the queue did not
    /// drain in time, and what else [`Queue::remask`] says.
    #[inline]
    pub fn submit(&mut self, kernel: &Prepared) -> Result<&Token> {
        self.submit_patched(kernel, &[])
    }

    /// As [`Worker::submit`], with other arguments; each patch is of kernel 0.
    ///
    /// # Errors
    /// As [`Worker::submit`], and [`Error::Arguments`] for a patch that does not fit.
    #[inline]
    pub fn submit_patched(&mut self, kernel: &Prepared, patches: &[Patch]) -> Result<&Token> {
        if !Arc::ptr_eq(&kernel.table, &self.core.tracker.table) {
            return Err(self.not_mine());
        }
        self.send(kernel.group.program(), kernel.name, patches)
    }

    /// Submits a group of one kernel, known to the plan by its place in the request only.
    ///
    /// # Errors
    /// As [`Worker::submit`]; [`Error::Invalid`] for a group of several kernels: the plan places each by itself.
    pub fn submit_group(&mut self, group: &KernelGroup) -> Result<&Token> {
        if group.len() != 1 {
            return Err(Error::Invalid(format!(
                "worker {:?} was given a group of {} kernels: a plan places kernels one by one, so prepare each",
                self.name(),
                group.len()
            )));
        }
        self.send(group.program(), KernelName::ANY, &[])
    }

    /// Submits a kernel once. [`Worker::prepare`] makes one that is submitted often cheaper.
    ///
    /// # Errors
    /// As [`Worker::submit`] and [`KernelGroup::of`].
    pub fn dispatch(&mut self, dispatch: &Dispatch) -> Result<&Token> {
        let name = self.core.tracker.table.name(dispatch.kernel().name());
        let agent = dispatch.kernel().agent();
        let program = Program::new(agent, std::iter::once(dispatch), Assembly::default())?;
        self.send(&Arc::new(program), name, &[])
    }

    /// The next kernel is the first of a request. Ends the one in progress, if any.
    pub fn begin_request(&mut self) {
        self.core.tracker.begin_request();
        self.collect_times();
    }

    /// The request in progress is over: counts it if it has a kernel, and gives a token of the worker's last kernel that the host can wait
    /// for. None if there were no kernels yet.
    ///
    /// The kernel that is the last by the plan is submitted so that the host can wait for it; if the request ended elsewhere, this adds a
    /// barrier packet.
    ///
    /// # Errors
    /// As [`Worker::submit`], if a packet is added; the request is over all the same.
    pub fn end_request(&mut self) -> Result<Option<Token>> {
        let token = self.for_host(self.patience);
        self.core.tracker.end_request();
        self.collect_times();
        token
    }

    /// Waits until everything that was submitted is complete, for at most `timeout`. What it wrote is visible to the host then.
    ///
    /// # Errors
    /// [`Error::Timeout`], or [`Error::Failed`] if it never will be.
    pub fn wait(&mut self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        let token = self.for_host(timeout).map_err(|error| match error {
            // No room for the packet that would tell the host.
            Error::WouldBlock { queue, .. } => {
                Error::Timeout { what: format!("work on {queue}, which is full"), after: timeout }
            }
            other => other,
        })?;
        if let Some(token) = token {
            token.wait_timeout(timeout.saturating_sub(begin.elapsed()))?;
        }
        self.collect_times();
        Ok(())
    }

    /// Counters of the request that ended last. Its times are known when it is complete and [`Worker::wait`] or
    /// [`Worker::end_request`] was called after that.
    pub fn last_request(&self) -> &Counters {
        &self.core.tracker.finished
    }

    /// Counters since the worker was made, the request in progress included.
    pub fn total(&self) -> Counters {
        self.core.tracker.total()
    }

    /// The queue of the pool that stands for the plan's `index`-th queue: the indices of [`Counters::queue_ns`]. None if
    /// the policy does not use it.
    pub fn queue(&self, index: usize) -> Option<&Queue> {
        let index = (*self.shared.queues.get(index)?)?;
        Some(&self.shared.pool[index])
    }

    #[inline]
    fn send(&mut self, program: &Arc<Program>, name: KernelName, patches: &[Patch]) -> Result<&Token> {
        let mut step = self.core.kernel(name);
        if let Behind::Marker(_) = step.behind {
            // The plan said that this kernel would be on the same queue.
            self.mark(Visibility::Agent, self.patience)?;
            step = self.core.kernel(name);
        }
        let place = step.placement.queue;
        let shared = &*self.shared;
        let queue =
            &shared.pool[shared.queues[place].expect("every placement's queue was found in the pool")];
        if let Some(mask) = shared.mask(step.placement) {
            queue.remask(mask, self.patience)?;
        }
        let measured = queue.state().parts().profiling;
        let visibility = if step.last {
            Visibility::System
        } else if measured || step.tells {
            Visibility::Agent
        } else {
            Visibility::Queue
        };
        let after = self.last.as_ref().map_or(&[][..], |(token, _)| std::slice::from_ref(token));
        let waited = Cell::new(0);
        let by_signal = step.behind == Behind::Signal;
        let order =
            Order { after, patches, visibility, by_signal, waited: Some(&waited), ..Order::new(program) };
        let token = submit(queue.state(), &order, self.patience)?;

        if measured {
            if self.times.len() == TIMES_KEPT
                && let Some((request, ..)) = self.times.pop_front()
            {
                self.core.tracker.no_time(request);
            }
            self.times.push_back((self.core.tracker.number(), place, token.clone()));
        }
        self.last = Some((token, place));
        if self.core.submitted(step, visibility != Visibility::Queue, waited.get() > 0) {
            self.collect_times();
        }
        Ok(&self.last.as_ref().expect("just put there").0)
    }

    /// Puts a barrier packet behind the newest work, for those who cannot wait for that itself. Waits for room for at most `patience`.
    fn mark(&mut self, visibility: Visibility, patience: Duration) -> Result<()> {
        let Some((token, place)) = &mut self.last else { return Ok(()) };
        let shared = &*self.shared;
        let queue = &shared.pool[shared.queues[*place].expect("work was submitted to it")];
        let empty = queue.state().parts().empty.clone();
        // Where others submit too, the barrier bit would wait for their kernels as well.
        let by_signal = self.core.other().behind == Behind::Signal;
        let after = std::slice::from_ref(&*token);
        let order = Order { after, visibility, by_signal, ..Order::new(&empty) };
        let marker = submit(queue.state(), &order, patience)?;
        *token = marker;
        self.core.marked();
        Ok(())
    }

    /// A token of the newest work that the host can wait for. Waits for room for at most `patience`.
    fn for_host(&mut self, patience: Duration) -> Result<Option<Token>> {
        if self.last.as_ref().is_some_and(|(token, _)| token.visibility() != Visibility::System) {
            self.mark(Visibility::System, patience)?;
        }
        Ok(self.last.as_ref().map(|(token, _)| token.clone()))
    }

    /// Adds the times of kernels that are complete. They complete in order.
    fn collect_times(&mut self) {
        while let Some((_, _, token)) = self.times.front() {
            let Some(ended) = token.result() else { return };
            let time = ended.and_then(|()| token.gpu_time());
            let (request, queue, _) = self.times.pop_front().expect("it is in front");
            match time {
                Ok(time) => {
                    self.core.tracker.record_time(request, queue, time.end_ns.saturating_sub(time.start_ns))
                }
                Err(_) => self.core.tracker.no_time(request),
            }
        }
    }

    #[cold]
    fn not_mine(&self) -> Error {
        Error::Invalid(format!(
            "worker {:?} was given a kernel that another worker, or one of another scheduler, prepared: prepare it with this one",
            self.name()
        ))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `Scheduler::worker`.
        self.shared.workers[self.index].taken.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name())
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}
