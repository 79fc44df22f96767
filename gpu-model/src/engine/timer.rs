//! What happens at a known time. Equal times: in the order in which they were set.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The command processor looks at a queue again.
    Queue(usize),
    /// It has read the queue's packet.
    Packet(usize),
    /// A kernel's first workgroup may be placed.
    Offer(usize),
    /// A kernel's end time.
    End(usize),
    /// A queue that a change of masks stopped goes on.
    Resume(usize),
    /// A queue is on the hardware.
    Mapped(usize),
    /// Queues change places.
    Quantum,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: f64,
    order: u64,
    timer: Timer,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.time.total_cmp(&self.time).then(other.order.cmp(&self.order))
    }
}

/// All that is due.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Entry>,
    order: u64,
}

impl Timers {
    pub fn set(&mut self, time: f64, timer: Timer) {
        self.heap.push(Entry { time, order: self.order, timer });
        self.order += 1;
    }

    pub fn next_time(&self) -> f64 {
        self.heap.peek().map_or(f64::INFINITY, |entry| entry.time)
    }

    /// The first that is due at `now`.
    pub fn due(&mut self, now: f64) -> Option<Timer> {
        (self.next_time() <= now).then(|| self.heap.pop().map(|entry| entry.timer)).flatten()
    }

    /// Forgets what no longer applies.
    pub fn forget(&mut self, gone: impl Fn(Timer) -> bool) {
        self.heap.retain(|entry| !gone(entry.timer));
    }
}
