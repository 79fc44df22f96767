//! Completion without waiting: one thread, started by whoever wants it, that watches tokens and completes futures or calls back.
//!
//! Nothing in this crate needs it. The thread sleeps in the driver on all watched signals at once, and on a signal of its own that tells it
//! of new ones; signals that have no driver event (past ROCr's limit) are looked at instead, a few thousand times a second. Any thread may
//! call anything here. A callback runs on the thread: while it runs, nobody else's completion is noticed.
//!
//! ```no_run
//! # use eclip_hsa::{Agent, Completions, Token};
//! # async fn example(gpu: Agent, token: Token) -> eclip_hsa::Result<()> {
//! let completions = Completions::start(&gpu)?;
//! completions.watch(&token)?.await?;
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::pin::Pin as StdPin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::flights::Status;
use crate::pin::Pin;
use crate::signal::{LOOK_EVERY, Signal, wait_any};
use crate::token::Token;

/// Between two looks at signals that nobody can sleep on.
const POLL_EVERY: Duration = Duration::from_micros(200);

/// A completion thread. Dropping it stops the thread; what it still watched ends with an error.
pub struct Completions {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    /// Set to 0 to wake the thread.
    bell: Signal,
    watched: AtomicUsize,
}

#[derive(Default)]
struct Inbox {
    new: Vec<Entry>,
    stop: bool,
}

struct Entry {
    token: Token,
    then: Then,
}

enum Then {
    Future(Arc<Mutex<Outcome>>),
    Call(Box<dyn FnOnce(Result<()>) + Send>),
}

#[derive(Default)]
struct Outcome {
    result: Option<Result<()>>,
    waker: Option<Waker>,
}

impl Completions {
    /// Starts a thread for tokens of the runtime of `agent`.
    ///
    /// # Errors
    /// [`Error::Hsa`] if ROCr has no signal left, [`Error::Invalid`] if the system has no thread left.
    pub fn start(agent: &Agent) -> Result<Self> {
        let bell = Signal::new(agent)?;
        bell.arm(1);
        let shared = Arc::new(Shared { inbox: Mutex::default(), bell, watched: AtomicUsize::new(0) });
        let mine = shared.clone();
        let thread =
            std::thread::Builder::new().name("eclip completions".into()).spawn(move || run(&mine)).map_err(
                |error| Error::Invalid(format!("the completion thread cannot be started: {error}")),
            )?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A future that ends when the work is complete, with success, or when it never will be, with the failure. Dropping it
    /// cancels nothing.
    ///
    /// # Errors
    /// [`Error::NotVisible`] for work that the host cannot wait for.
    pub fn watch(&self, token: &Token) -> Result<Completion> {
        let outcome = Arc::<Mutex<Outcome>>::default();
        self.add(token, Then::Future(outcome.clone()))?;
        Ok(Completion { outcome })
    }

    /// Calls `then` on the thread when the work is complete or lost. It should be short; it must not wait for other watched work.
    ///
    /// # Errors
    /// [`Error::NotVisible`] for work that the host cannot wait for.
    pub fn then(&self, token: &Token, then: impl FnOnce(Result<()>) + Send + 'static) -> Result<()> {
        self.add(token, Then::Call(Box::new(then)))
    }

    /// Tokens that are watched now.
    pub fn watched(&self) -> usize {
        // Relaxed: only a count.
        self.shared.watched.load(Ordering::Relaxed)
    }

    fn add(&self, token: &Token, then: Then) -> Result<()> {
        token.check_visible()?;
        // Relaxed: only a count.
        self.shared.watched.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { token: token.clone(), then };
        self.shared.inbox.lock().expect("no panic while it is held").new.push(entry);
        self.shared.bell.ring();
        Ok(())
    }
}

impl Drop for Completions {
    fn drop(&mut self) {
        self.shared.inbox.lock().expect("no panic while it is held").stop = true;
        self.shared.bell.ring();
        let Some(thread) = self.thread.take() else { return };
        // A callback may own this object: a thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Completions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completions").field("watched", &self.watched()).finish()
    }
}

/// Completion of watched work. Made by [`Completions::watch`].
#[must_use = "a future does nothing before it is awaited"]
pub struct Completion {
    outcome: Arc<Mutex<Outcome>>,
}

impl Future for Completion {
    type Output = Result<()>;

    fn poll(self: StdPin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // Cloned before and dropped after the lock is held: both are somebody else's code.
        let waker = context.waker().clone();
        let mut outcome = lock(&self.outcome);
        if let Some(result) = &outcome.result {
            return Poll::Ready(result.clone());
        }
        let old = outcome.waker.replace(waker);
        drop(outcome);
        drop(old);
        Poll::Pending
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completion").finish_non_exhaustive()
    }
}

fn run(shared: &Shared) {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        // Armed before the inbox is read: what is put in later rings again.
        shared.bell.arm(1);
        let stop = {
            let mut inbox = shared.inbox.lock().expect("no panic while it is held");
            entries.append(&mut inbox.new);
            inbox.stop
        };
        let mut at = 0;
        while at < entries.len() {
            let result = match entries[at].token.status() {
                Ok(Status::Done) => Ok(()),
                Err(failure) => Err(failure.into()),
                Ok(_) if stop => Err(Error::Invalid("the completion thread was stopped".into())),
                Ok(_) => {
                    at += 1;
                    continue;
                }
            };
            // Relaxed: only a count.
            shared.watched.fetch_sub(1, Ordering::Relaxed);
            finish(entries.swap_remove(at).then, result);
        }
        if stop {
            return;
        }
        sleep(&shared.bell, &entries);
    }
}

fn finish(then: Then, result: Result<()>) {
    let finish = || match then {
        Then::Future(outcome) => {
            let waker = {
                let mut outcome = lock(&outcome);
                outcome.result = Some(result);
                outcome.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        Then::Call(call) => call(result),
    };
    // A panic is the callback's or the waker's own: it must not end everybody else's completions.
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(finish)) {
        // Dropping it could panic again.
        std::mem::forget(panic);
    }
}

/// A waker's own panic leaves nothing half-way.
fn lock(outcome: &Mutex<Outcome>) -> MutexGuard<'_, Outcome> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until something may have happened.
fn sleep(bell: &Signal, entries: &[Entry]) {
    // The pins keep the signals theirs meanwhile.
    let pins: Vec<Option<Pin>> = entries.iter().map(|entry| entry.token.pin().ok().flatten()).collect();
    let pinned = || entries.iter().zip(&pins).filter(|(_, pin)| pin.is_some());
    if pinned().count() < entries.len() {
        // Somebody is completing one of them right now.
        std::thread::yield_now();
        return;
    }
    let signals: Option<Vec<&Signal>> = pinned()
        .map(|(entry, _)| entry.token.signal())
        .chain([Some(bell)])
        .map(|signal| signal.filter(|signal| signal.can_sleep()))
        .collect();
    match signals {
        Some(signals) => wait_any(&signals, LOOK_EVERY),
        None => std::thread::sleep(POLL_EVERY),
    }
}
