//! Tokens: what one holds of submitted work.
//!
//! A [`Token`] exists only for work that is in a queue already, so waiting on one can never be part of a cycle. It is small, may
//! be cloned, sent and shared, and keeps neither buffers nor queue slots: forgetting it is harmless. It carries the
//! generation of its slot, so a signal that has been used again is never taken for its own. What it can be waited for by is its
//! [`Visibility`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Failure, Result};
use crate::flights::{Pinned, Status, Ticket};
use crate::pin::{Awaitable, Pin, Seen};
use crate::queue_state::QueueState;
use crate::signal::{GpuTime, LOOK_EVERY, Signal, TimeCell};
use crate::visibility::Visibility;

/// Submitted work.
#[derive(Clone)]
pub struct Token {
    queue: Arc<QueueState>,
    ticket: Ticket,
    visibility: Visibility,
    time: Option<TimeCell>,
}

impl Token {
    pub(crate) fn new(
        queue: Arc<QueueState>,
        ticket: Ticket,
        visibility: Visibility,
        time: Option<TimeCell>,
    ) -> Self {
        Self { queue, ticket, visibility, time }
    }

    /// Whether the work is complete. Its results are visible to the host then.
    ///
    /// # Errors
    /// [`Error::Failed`] if it never will be, [`Error::NotVisible`] if it is not [`Visibility::System`].
    pub fn is_done(&self) -> Result<bool> {
        self.check_visible()?;
        match self.status() {
            Ok(status) => Ok(status == Status::Done),
            Err(failure) => Err(failure.into()),
        }
    }

    /// How the work ended: nothing while it may still go on, then success or the failure of its queue. Allowed for every visibility, but
    /// says nothing of what the host can see; of [`Visibility::Queue`] work the end is known only when later work of its queue, which
    /// has a signal, is complete.
    pub fn result(&self) -> Option<Result<()>> {
        let mut status = self.status();
        if matches!(status, Ok(Status::Pending)) && self.queue.flights().is_silent(self.ticket) {
            // What proves it may be complete without anybody having looked.
            self.queue.flights().sweep_all();
            status = self.status();
        }
        match status {
            Ok(Status::Done) => Some(Ok(())),
            Ok(_) => None,
            Err(failure) => Some(Err(failure.into())),
        }
    }

    /// Waits until the work is complete. ROCr lets one thread at a time sleep on a signal: further threads that wait for the same
    /// work spin. Ends with an error if the queue fails; a kernel that runs for ever is waited for, for
    /// ever: use [`Token::wait_timeout`] where that can be.
    ///
    /// # Errors
    /// [`Error::Failed`] if the work never will be complete, [`Error::NotVisible`] if it is not [`Visibility::System`].
    pub fn wait(&self) -> Result<()> {
        while !self.wait_once(LOOK_EVERY)? {}
        Ok(())
    }

    /// As [`Token::wait`], for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the work is not complete by then, and as [`Token::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            let left = timeout.saturating_sub(begin.elapsed());
            if self.wait_once(left.min(LOOK_EVERY))? {
                return Ok(());
            }
            if begin.elapsed() >= timeout {
                return Err(Error::Timeout {
                    what: format!("work on {}", self.queue.label()),
                    after: timeout,
                });
            }
        }
    }

    /// When the GPU began and ended the work (of a group: began its first packet and ended its last), if the queue was made with
    /// [`crate::QueueBuilder::profiling`] and the work has a signal. Replays of recordings are not measured.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the queue does not measure or the work is of [`Visibility::Queue`], [`Error::Timeout`] if the work is not complete
    /// yet, [`Error::Failed`] if it never will be.
    pub fn gpu_time(&self) -> Result<GpuTime> {
        let Some(cell) = &self.time else {
            let label = self.queue.label();
            return Err(Error::Invalid(format!(
                "{label} does not measure times: create it with QueueBuilder::profiling, and submit with a visibility beyond the queue"
            )));
        };
        // The thread that completed the work may still be reading the times: it holds nothing that we have, so wait for it.
        let begin = Instant::now();
        loop {
            if let Some(time) = cell.get() {
                let label = self.queue.label();
                return time.ok_or_else(|| match self.status() {
                    Err(failure) => failure.into(),
                    Ok(_) => Error::Invalid(format!("ROCr gave no times for work on {label}")),
                });
            }
            if self.status()? != Status::Done || begin.elapsed() > Duration::from_secs(1) {
                return Err(Error::Timeout {
                    what: format!("work on {}", self.queue.label()),
                    after: Duration::ZERO,
                });
            }
            std::thread::yield_now();
        }
    }

    /// Who may wait for it.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Label of the queue that the work is on.
    pub fn queue_label(&self) -> &str {
        self.queue.label()
    }

    /// Why the work will never be complete, if so.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.status().err()
    }

    pub(crate) fn queue(&self) -> &Arc<QueueState> {
        &self.queue
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    #[inline]
    pub(crate) fn status(&self) -> Result<Status, Arc<Failure>> {
        self.queue.status(self.ticket, &mut Seen::default())
    }

    pub(crate) fn check_visible(&self) -> Result<()> {
        if self.visibility == Visibility::System {
            return Ok(());
        }
        Err(self.not_visible("the host"))
    }

    #[cold]
    pub(crate) fn not_visible(&self, waiter: &str) -> Error {
        Error::NotVisible {
            queue: self.queue.label().to_owned(),
            visible: self.visibility,
            waiter: waiter.to_owned(),
        }
    }

    /// Whether work of this queue may wait for it.
    pub(crate) fn check_visible_to(&self, queue: &Arc<QueueState>) -> Result<()> {
        let (agent, own) = (&self.queue.parts().agent, &queue.parts().agent);
        match self.visibility {
            Visibility::System if agent.runtime().is(own.runtime()) => Ok(()),
            Visibility::System => Err(Error::Invalid(
                "a token of another Runtime: signals of one cannot be waited for in the other".into(),
            )),
            Visibility::Agent if agent.is(own) => Ok(()),
            Visibility::Queue if Arc::ptr_eq(&self.queue, queue) => Ok(()),
            Visibility::Agent | Visibility::Queue => Err(self.not_visible(queue.label())),
        }
    }

    /// True when complete. The slot is pinned while waiting, or its signal could be used again under our feet.
    fn wait_once(&self, timeout: Duration) -> Result<bool> {
        if self.is_done()? {
            return Ok(true);
        }
        match self.pin()? {
            Some(pin) => {
                if let Some(signal) = self.signal() {
                    signal.wait(timeout);
                }
                drop(pin);
            }
            // Another thread is completing it: a few instructions away, unless that thread was interrupted.
            None => std::thread::yield_now(),
        }
        self.is_done()
    }

    /// The signal. Call while it is pinned.
    pub(crate) fn signal(&self) -> Option<&Signal> {
        self.queue.flights().signal(self.ticket.slot).current()
    }

    /// Keeps the signal from being used again; `None` if the work is not pending any more.
    pub(crate) fn pin(&self) -> Result<Option<Pin>> {
        match self.queue.flights().pin(self.ticket) {
            Pinned::Yes => Ok(Some(Pin::new(self.queue.clone(), self.ticket))),
            Pinned::Over => Ok(None),
            Pinned::TooMany => Err(Error::WouldBlock {
                queue: self.queue.label().to_owned(),
                what: "pin of a token that millions wait for",
            }),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ticket { slot, generation, place } = self.ticket;
        let packet = place.start - self.queue.lane().base;
        write!(f, "Token({}, packet {packet}, slot {slot}, generation {generation})", self.queue.label())
    }
}
