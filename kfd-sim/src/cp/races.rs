//! The race detector: which dispatches are ordered by what the packets say, and which touched the same bytes all the same.
//!
//! Off by default. Two dispatches are ordered if a barrier bit, a barrier packet's dependency, a DMA queue's poll, or the host is between
//! them. Of the host it is only known what it could have seen: a dispatch that was complete when another one was published, or
//! when the host changed a signal that the other one's barrier waited for, counts as ordered. So what is reported is not ordered by any of
//! these; and what is only ordered by luck, because the host was slow to publish, is not reported: submit while the queues are stalled, to be sure.
//! Order that kernels make among themselves, by atomics on memory or on signals, is not seen.
//!
//! Happens-before is kept as sets: of dispatches named one by one, and of all that had completed at some count. Command processor's thread only.

use std::collections::{HashMap, HashSet};

use crate::caches::{Footprint, Race, RacingDispatch};

/// Dispatches whose footprints are kept; older ones count as ordered.
const KEPT: usize = 512;
/// Pages in all footprints kept: 1.5 KiB each.
const MOST_PAGES: usize = 200_000;

/// What is ordered before something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    named: HashSet<u64>,
    /// Every dispatch that had completed when this many had.
    completed: u64,
}

impl Order {
    fn join(&mut self, other: &Order) {
        self.named.extend(&other.named);
        self.completed = self.completed.max(other.completed);
    }
}

/// What one queue orders.
#[derive(Debug, Default)]
pub(crate) struct QueueOrder {
    /// Before whatever is launched next.
    order: Order,
    /// Dispatches of this queue that the next barrier bit waits for.
    since_barrier: Vec<u64>,
    /// Write indices as they were read, with what had completed then.
    published: Vec<(u64, u64)>,
}

struct Dispatch {
    id: u64,
    who: RacingDispatch,
    before: Order,
    /// Its place among completed dispatches.
    completed: Option<u64>,
    /// Known once it is executed.
    footprint: Option<Footprint>,
    /// Scratch memory: address and bytes.
    private: (u64, u64),
}

/// A signal's value as the GPU left it last, and what that orders.
#[derive(Default)]
struct SignalOrder {
    order: Order,
    value: u64,
}

/// See the module's description.
#[derive(Default)]
pub(crate) struct Races {
    next: u64,
    completed: u64,
    dispatches: Vec<Dispatch>,
    /// By address of the value.
    signals: HashMap<u64, SignalOrder>,
}

impl QueueOrder {
    /// The write index was read.
    pub fn published(&mut self, races: &Races, write_index: u64) {
        if self.published.last().is_none_or(|&(index, _)| index < write_index) {
            self.published.push((write_index, races.completed));
        }
    }

    /// The slot at the read position was found unpublished: what it will hold is published later.
    pub fn unpublished(&mut self, races: &Races) {
        self.published.iter_mut().for_each(|(_, completed)| *completed = races.completed);
    }

    /// The packet at `index` is taken.
    pub fn take(&mut self, races: &Races, index: u64, barrier_bit: bool) {
        self.published.retain(|&(end, _)| end > index);
        let completed = self.published.first().map_or(races.completed, |&(_, completed)| completed);
        self.order.completed = self.order.completed.max(completed);
        if barrier_bit {
            self.order.named.extend(self.since_barrier.drain(..));
        }
        let oldest = races.dispatches.first().map_or(races.next, |d| d.id);
        self.order.named.retain(|&id| id >= oldest);
    }

    /// What follows is ordered behind the signal's last change, which made it `value`.
    pub fn wait(&mut self, races: &Races, value_va: u64, value: u64) {
        match races.signals.get(&value_va) {
            Some(signal) if signal.value == value => self.order.join(&signal.order),
            // The host changed it, having seen whatever is complete.
            _ => self.order.completed = self.order.completed.max(races.completed),
        }
    }

    /// A packet without work changes a signal to `value`.
    pub fn signal(&self, races: &mut Races, value_va: u64, value: u64) {
        races.signal(value_va, value, &self.order);
    }

    /// A DMA queue reads the write index: the host has seen what is complete.
    pub fn host(&mut self, races: &Races) {
        self.order.completed = self.order.completed.max(races.completed);
    }
}

impl Races {
    /// A dispatch is launched behind what its queue orders. `private` is memory that it shares with nobody.
    pub fn launch(&mut self, queue: &mut QueueOrder, who: RacingDispatch, private: (u64, u64)) -> u64 {
        let id = self.next;
        self.next += 1;
        queue.since_barrier.push(id);
        let before = queue.order.clone();
        self.dispatches.push(Dispatch { id, who, before, completed: None, footprint: None, private });
        id
    }

    fn find(&mut self, id: u64) -> Option<&mut Dispatch> {
        self.dispatches.iter_mut().find(|d| d.id == id)
    }

    /// All of a dispatch is executed. Returns its races with those that were executed before.
    pub fn executed(&mut self, id: u64, mut footprint: Footprint) -> Vec<Race> {
        let Some(at) = self.dispatches.iter().position(|d| d.id == id) else { return Vec::new() };
        let (va, len) = self.dispatches[at].private;
        if len > 0 {
            footprint.forget(va, len);
        }
        self.dispatches[at].footprint = Some(footprint);
        let this = &self.dispatches[at];
        let mut races = Vec::new();
        for other in self.dispatches.iter().filter(|d| d.id != id && d.footprint.is_some()) {
            if ordered(other, this) || ordered(this, other) {
                continue;
            }
            let (first, second) = if other.id < this.id { (other, this) } else { (this, other) };
            let (Some(a), Some(b)) = (&first.footprint, &second.footprint) else { continue };
            races.extend(a.conflicts(b).into_iter().map(|conflict| Race {
                kind: conflict.kind,
                address: conflict.address,
                run: conflict.run,
                bytes: conflict.bytes,
                first: first.who.clone(),
                second: second.who.clone(),
            }));
        }
        races
    }

    /// A dispatch completes, and its signal, if it has one, becomes `value`.
    pub fn complete(&mut self, id: u64, signal: Option<(u64, u64)>) {
        self.completed += 1;
        let completed = self.completed;
        let Some(dispatch) = self.find(id) else { return };
        dispatch.completed = Some(completed);
        let mut order = dispatch.before.clone();
        order.named.insert(id);
        if let Some((value_va, value)) = signal {
            self.signal(value_va, value, &order);
        }
        self.forget_old();
    }

    fn signal(&mut self, value_va: u64, value: u64, order: &Order) {
        let signal = self.signals.entry(value_va).or_default();
        signal.order.join(order);
        signal.value = value;
    }

    /// Nothing runs and nothing is published: all that comes is ordered behind all that was.
    pub fn quiet(&mut self) {
        if self.dispatches.iter().all(|d| d.completed.is_some()) {
            self.dispatches.clear();
            self.signals.clear();
        }
    }

    fn forget_old(&mut self) {
        let pages = |d: &Dispatch| d.footprint.as_ref().map_or(0, Footprint::pages);
        let mut held: usize = self.dispatches.iter().map(pages).sum();
        while self.dispatches.len() > KEPT || held > MOST_PAGES {
            let Some(old) = self.dispatches.iter().position(|d| d.completed.is_some()) else { break };
            held -= pages(&self.dispatches.remove(old));
        }
        let oldest = self.dispatches.first().map_or(self.next, |d| d.id);
        if self.signals.len() > 4 * KEPT {
            self.signals.values_mut().for_each(|s| s.order.named.retain(|&id| id >= oldest));
            self.signals.retain(|_, s| !s.order.named.is_empty());
        }
    }
}

/// Whether `a` is ordered before `b`.
fn ordered(a: &Dispatch, b: &Dispatch) -> bool {
    b.before.named.contains(&a.id) || a.completed.is_some_and(|count| count <= b.before.completed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caches::RaceKind;
    use crate::memory::Access;

    struct Two {
        races: Races,
        queues: [QueueOrder; 2],
        packets: [u64; 2],
    }

    impl Two {
        fn new() -> Self {
            let mut made = Self { races: Races::default(), queues: Default::default(), packets: [0; 2] };
            made.publish(100);
            made
        }

        fn publish(&mut self, index: u64) {
            self.queues.iter_mut().for_each(|queue| queue.published(&self.races, index));
        }

        fn take(&mut self, queue: usize, barrier_bit: bool) {
            self.queues[queue].take(&self.races, self.packets[queue], barrier_bit);
            self.packets[queue] += 1;
        }

        fn launch(&mut self, queue: usize, barrier_bit: bool) -> u64 {
            self.take(queue, barrier_bit);
            let who = RacingDispatch { queue: queue as u32, index: self.packets[queue], kernel: None };
            self.races.launch(&mut self.queues[queue], who, (0, 0))
        }

        fn execute(&mut self, id: u64) -> usize {
            let mut footprint = Footprint::default();
            footprint.note(0x1000, 8, Access::Write);
            let found = self.races.executed(id, footprint);
            assert!(
                found
                    .iter()
                    .all(|race| race.kind == RaceKind::WriteWrite && (race.address, race.run) == (0x1000, 8))
            );
            found.len()
        }

        fn run(&mut self, queue: usize, barrier_bit: bool, signal: Option<(u64, u64)>) -> usize {
            let id = self.launch(queue, barrier_bit);
            let races = self.execute(id);
            self.races.complete(id, signal);
            races
        }
    }

    #[test]
    fn a_barrier_bit_orders_inside_a_queue_and_nothing_else_does() {
        let mut two = Two::new();
        assert_eq!(two.run(0, false, None), 0);
        assert_eq!(two.run(0, true, None), 0, "the barrier bit");
        assert_eq!(two.run(0, false, None), 1, "only with the one since the barrier: the first is ordered");
        assert_eq!(two.run(1, true, None), 3, "a barrier bit on another queue means nothing");
    }

    #[test]
    fn a_signal_orders_across_queues_with_all_that_was_before_it() {
        let mut two = Two::new();
        two.run(0, false, None);
        two.run(0, true, Some((0x90, 0)));
        two.take(1, false);
        two.queues[1].wait(&two.races, 0x90, 0);
        assert_eq!(two.run(1, false, None), 0, "both of the first queue are before it");
        // And on to a third, through a packet without work.
        two.queues[1].signal(&mut two.races, 0xa0, 0);
        two.queues[0].wait(&two.races, 0xa0, 0);
        assert_eq!(
            two.run(0, true, None),
            1,
            "the second queue's own dispatch did not complete before that packet"
        );
    }

    #[test]
    fn what_the_host_could_have_seen_is_ordered() {
        let mut two = Two::new();
        two.packets = [100; 2];
        let first = two.launch(0, false);
        two.publish(101);
        two.execute(first);
        two.races.complete(first, None);
        assert_eq!(two.run(1, false, None), 1, "published before the first was complete");
        two.publish(102);
        assert_eq!(two.run(1, false, None), 0, "published after both were complete");
        two.packets = [200; 2];
        two.publish(300);
        let third = two.launch(0, false);
        two.execute(third);
        two.races.complete(third, None);
        two.take(1, false);
        two.queues[1].wait(&two.races, 0xb0, 0);
        assert_eq!(two.run(1, false, None), 0, "the host changed the signal");
    }

    #[test]
    fn a_quiet_device_forgets_and_a_busy_one_keeps_a_bounded_number() {
        let mut two = Two::new();
        two.packets = [0; 2];
        two.publish(10_000);
        for _ in 0..KEPT + 10 {
            two.run(0, false, Some((0x1000, 1)));
        }
        assert_eq!(two.races.dispatches.len(), KEPT);
        two.races.quiet();
        assert!(two.races.dispatches.is_empty() && two.races.signals.is_empty());
    }
}
