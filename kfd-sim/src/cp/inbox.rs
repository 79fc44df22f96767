//! Commands from other threads to the command processor's thread, and its sleep between looks.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::api::{CpError, QueueDesc};
use crate::caches::MemoryModel;

/// Answer to a command: a queue id where there is one, else 0.
pub(crate) type Reply = Result<u32, CpError>;

/// What other threads ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Create(Box<QueueDesc>),
    Destroy(u32),
    Update { id: u32, ring_va: u64, ring_bytes: u64, percentage: u32, priority: u32 },
    SetCuMask { id: u32, mask: Vec<u32> },
    Stall { id: u32, stalled: bool },
    InjectFault(u32),
    Memory(MemoryModel),
    Races(bool),
    Trace(bool),
    Stepping(bool),
    Permit { id: u32, packets: u64 },
    Threads(usize),
    Fence,
    Stop,
}

/// Where the answer goes. Dropped without one, the caller gets [`CpError::Stopped`].
#[derive(Debug)]
pub(crate) struct ReplyTo(SyncSender<Reply>);

impl ReplyTo {
    pub fn send(self, reply: Reply) {
        // The caller waits for it, so this fails only if that thread is gone.
        let _ = self.0.send(reply);
    }
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<(Command, ReplyTo)>,
    sleeping: bool,
    closed: bool,
}

/// A mailbox with one reader.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    kick: Condvar,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Hands over a command and waits for the answer.
    pub fn call(&self, command: Command) -> Reply {
        let (sender, receiver) = sync_channel(1);
        {
            let mut state = self.state();
            if state.closed {
                return Err(CpError::Stopped);
            }
            state.commands.push_back((command, ReplyTo(sender)));
        }
        self.kick.notify_one();
        receiver.recv().unwrap_or(Err(CpError::Stopped))
    }

    /// Whether the reader sleeps: it then touches no GPU memory, and will look everything up anew when it wakes.
    pub fn sleeping(&self) -> bool {
        let state = self.state();
        state.sleeping && state.commands.is_empty()
    }

    /// Whether nobody will read any more.
    pub fn closed(&self) -> bool {
        self.state().closed
    }

    /// Next command, for the reader.
    pub fn take(&self) -> Option<(Command, ReplyTo)> {
        self.state().commands.pop_front()
    }

    /// Sleeps until a command arrives, at most `limit`.
    pub fn wait(&self, limit: Duration) {
        let mut state = self.state();
        if state.commands.is_empty() {
            state.sleeping = true;
            let (mut state, _) =
                self.kick.wait_timeout(state, limit).unwrap_or_else(|poisoned| poisoned.into_inner());
            state.sleeping = false;
        }
    }

    /// No more answers: everyone who waits, or comes later, is told so.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.commands.clear();
    }
}
