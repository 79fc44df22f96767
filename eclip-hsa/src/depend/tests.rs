//! The decision against brute force.
//!
//! Small graphs of submissions are built with the code that builds real ones: [`decide`], [`View::enter`], [`View::learn`], the shared
//! clock of each queue and [`Frame`], which writes packets. The packets are then read back by an oracle that knows nothing of epochs,
//! lanes and clocks, only what HSA says of packets, and works out which completions come before which launches.

use proptest::prelude::*;

use super::*;
use crate::clock::SharedClock;
use crate::frame::Frame;
use crate::frame::tests::{Recorded, Wire};
use crate::packet::{Packet, PacketKind};
use crate::pin::Wait;
use crate::ring::Slots;

/// Packets, as bits.
type Set = u128;

/// What HSA says of packets (System Architecture 1.2, 2.9): those of a queue are launched in order; one with the barrier bit when
/// all earlier ones of its queue are complete; a barrier-AND is complete when its signals are zero, and until then nothing behind it
/// is launched. A signal is zero when all packets that decrement it are complete.
#[derive(Clone, Default)]
struct Oracle {
    packets: Vec<Seen>,
    /// Packets of each queue, in order.
    queues: Vec<Vec<usize>>,
}

#[derive(Clone)]
struct Seen {
    /// Complete before this one is launched.
    launched_after: Set,
    /// Complete when this one is, itself included.
    complete_with: Set,
    is_barrier: bool,
    signal: u64,
}

impl Oracle {
    /// What is complete before anything that comes next in the queue is launched.
    fn next(&self, queue: usize) -> Set {
        self.queues[queue].last().map_or(0, |&last| {
            let last = &self.packets[last];
            if last.is_barrier { last.complete_with } else { last.launched_after }
        })
    }

    /// What is complete when all packets of the queue are.
    fn drained(&self, queue: usize) -> Set {
        self.queues[queue].iter().fold(0, |all, &packet| all | self.packets[packet].complete_with)
    }

    /// What is complete when the signal is zero.
    fn signalled(&self, signal: u64) -> Set {
        assert!(signal != 0 && self.packets.iter().any(|packet| packet.signal == signal), "nobody signals");
        let by = self.packets.iter().filter(|packet| packet.signal == signal);
        by.fold(0, |all, packet| all | packet.complete_with)
    }

    fn push(&mut self, queue: usize, packet: &Packet) {
        let header = packet.header().expect("valid");
        let mut launched_after = self.next(queue);
        if header.barrier {
            launched_after |= self.drained(queue);
        }
        let mut complete_with = launched_after | 1 << self.packets.len();
        for signal in packet.as_barrier().map_or([0; 5], |fields| fields.dependencies) {
            if signal != 0 {
                complete_with |= self.signalled(signal);
            }
        }
        self.queues[queue].push(self.packets.len());
        let is_barrier = header.kind == PacketKind::BarrierAnd;
        let signal = packet.completion_signal();
        self.packets.push(Seen { launched_after, complete_with, is_barrier, signal });
    }
}

/// What is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Kernels, and which of them have the barrier bit.
    Kernels(&'static [bool]),
    /// As `Kernels`, but nobody signals: only the own queue may depend on it.
    Silent(&'static [bool]),
    /// As `Kernels`, with a marker behind.
    Marked(&'static [bool]),
    /// As `Kernels`, with a notification behind.
    Notifying(&'static [bool]),
}

const ONE: Kind = Kind::Kernels(&[false]);
const BARRED: Kind = Kind::Kernels(&[true]);
const IN_ORDER: Kind = Kind::Kernels(&[false, true]);
const CONCURRENT: Kind = Kind::Kernels(&[false, false]);
const MIXED: Kind = Kind::Kernels(&[false, true, false]);
const EMPTY: Kind = Kind::Kernels(&[]);
const SILENT: Kind = Kind::Silent(&[false]);
const MARKED: Kind = Kind::Marked(&[false, false]);
const NOTIFYING: Kind = Kind::Notifying(&[false]);
const ALL: [Kind; 9] = [ONE, BARRED, IN_ORDER, CONCURRENT, MIXED, EMPTY, SILENT, MARKED, NOTIFYING];

/// What a real submission has for each signal that it names.
struct Named {
    signal: u64,
    dep: Clocked,
}

impl Dependency for Named {
    fn dep(&self) -> &Dep {
        &self.dep.dep
    }
    fn clock(&self) -> &Clock {
        &self.dep.clock
    }
}

#[derive(Clone)]
struct Submitted {
    queue: usize,
    silent: bool,
    dep: Dep,
    clock: Clock,
    signal: u64,
    /// Its packets, the notification aside.
    packets: Set,
    complete: bool,
}

struct Notes(SharedClock);

impl Clone for Notes {
    fn clone(&self) -> Self {
        let clock = SharedClock::default();
        clock.learn(&self.0.now());
        clock.raise_barrier(self.0.barrier());
        Self(clock)
    }
}

#[derive(Clone)]
struct World {
    oracle: Oracle,
    known: Vec<Notes>,
    all: Vec<Submitted>,
}

/// Of so many dependencies all subsets are tried.
const MOST: usize = 12;

const BASE: u64 = 1 << 48;

/// What became of one decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// More was named than necessary, because a clock remembers one submission a lane beside the epoch.
    forgotten: u64,
    decisions: u64,
}

impl World {
    fn new(queues: usize) -> Self {
        Self {
            oracle: Oracle { packets: Vec::new(), queues: vec![Vec::new(); queues] },
            known: (0..queues).map(|_| Notes(SharedClock::default())).collect(),
            all: Vec::new(),
        }
    }

    /// Whether the queue may depend on the submission.
    fn is_visible(&self, submission: usize, queue: usize) -> bool {
        !self.all[submission].silent || self.all[submission].queue == queue
    }

    /// As the table of submissions in flight sees it: a silent one is complete when a complete one proves it.
    fn is_known_complete(&self, submission: usize) -> bool {
        let this = &self.all[submission];
        if !this.silent {
            return this.complete;
        }
        let proves = |other: &Submitted| {
            other.complete
                && !other.silent
                && other.queue == this.queue
                && other.dep.stamp.proves > this.dep.stamp.end
        };
        self.all.iter().any(proves)
    }

    /// Submits after all of `after`, and checks the decision.
    fn submit(&mut self, kind: Kind, queue: usize, after: &[usize], outcome: &mut Outcome) {
        let own = |index: usize| self.all[index].queue == queue;
        let stamped = |index: usize| {
            let this = &self.all[index];
            // As `submit` does: the clock of the own queue's submissions is not asked for.
            let clock = if own(index) { Clock::default() } else { this.clock };
            Clocked { dep: Dep { pending: !self.is_known_complete(index), ..this.dep }, clock }
        };
        let mut waits: Vec<Named> = after
            .iter()
            .map(|&index| Named { signal: self.all[index].signal, dep: stamped(index) })
            .collect();
        let pending: Vec<usize> =
            after.iter().copied().filter(|&index| !self.is_known_complete(index)).collect();
        let known = &self.known[queue].0;
        let mut view = View { queue: queue as u64, barrier: known.barrier(), clock: known.now() };
        let decision = decide(&view, &mut waits);
        let elided = decision.elided;
        let left_out = elided.complete + elided.epoch + elided.waited + elided.newest;
        assert_eq!(elided.complete as usize, after.len() - pending.len());
        assert!(
            decision.barrier_bit || left_out as usize + waits.len() == after.len(),
            "every dependency is named or accounted for: {decision:?}"
        );
        self.check_minimum(queue, &pending, &view, &decision, &waits, outcome);

        // As `submit` does it.
        let (bits, silent) = match kind {
            Kind::Kernels(bits) | Kind::Marked(bits) | Kind::Notifying(bits) => (bits, false),
            Kind::Silent(bits) => (bits, true),
        };
        let number = self.all.len() as u64;
        let recorded = Recorded::new(bits);
        let notify = matches!(kind, Kind::Notifying(_)).then_some(9_000);
        let mut frame = Frame::new(recorded.kernels(), waits.len(), 0, notify);
        frame.barrier_bit = decision.barrier_bit;
        frame.marker = matches!(kind, Kind::Marked(_));
        frame.signal = if silent { 0 } else { 1_000 + number };
        let start = self.oracle.queues[queue].len() as u64;
        let base = if queue == 0 { 0 } else { BASE };
        let entry = enter(view.barrier, base + start, &frame.extent());
        let wire = Wire::new(64);
        let names = waits.iter().map(|named| Wait { pin: None, signal: named.signal, dep: named.dep.dep });
        frame.write(&Slots::of(&wire, start), &names.collect::<Vec<_>>());
        if !waits.is_empty() {
            view.learn(&waits);
            known.learn(&view.clock);
        }
        if let Some(position) = entry.barrier {
            known.raise_barrier(position);
        }
        if let Some(more) = entry.known {
            known.learn_one(queue as u8, more);
        }
        let begin = self.oracle.packets.len();
        for packet in wire.packets(start, frame.count()) {
            self.oracle.push(queue, &packet);
        }
        let end = begin + frame.extent().last as usize;
        let is_kernel = |packet: &usize| !self.oracle.packets[*packet].is_barrier;

        // Nothing of it begins before everything that it depends on is complete.
        let needed = pending.iter().fold(0, |all, &index| all | self.all[index].packets);
        for packet in begin..=end {
            let seen = &self.oracle.packets[packet];
            let has = if is_kernel(&packet) { seen.launched_after } else { seen.complete_with };
            assert!(
                needed & !has == 0 || (seen.is_barrier && packet < end),
                "{kind:?} on {queue} after {after:?}: packet {packet} does not wait for {:#b}",
                needed & !has
            );
        }
        let lane = queue as u8;
        let stamp = Stamp { queue: queue as u64, lane, end: entry.end, proves: entry.proves };
        let packets = (begin..=end).fold(0, |all, packet| all | 1 << packet);
        self.check_facts(&stamp, &view.clock, packets, base);
        self.all.push(Submitted {
            queue,
            silent,
            dep: Dep { stamp, pending: true, elsewhere: false },
            clock: view.clock,
            signal: frame.signal,
            packets,
            complete: false,
        });
    }

    /// What a stamp and a clock say is true.
    fn check_facts(&self, stamp: &Stamp, clock: &Clock, packets: Set, base: u64) {
        let complete = (0..self.oracle.packets.len())
            .filter(|packet| packets >> packet & 1 == 1)
            .fold(0, |all, packet| all | self.oracle.packets[packet].complete_with);
        let own = &self.oracle.queues[stamp.queue as usize];
        for (index, packet) in own.iter().enumerate() {
            assert!(
                base + index as u64 >= stamp.proves || complete >> packet & 1 == 1,
                "packet {packet} is not proved"
            );
        }
        for other in self.all.iter().filter(|other| clock.covers(&other.dep.stamp)) {
            assert!(other.packets & !complete == 0, "a clock says more than is true");
        }
    }

    /// No fewer of {barrier bit, named signals} would do.
    fn check_minimum(
        &self,
        queue: usize,
        pending: &[usize],
        view: &View,
        decision: &Decision,
        named: &[Named],
        outcome: &mut Outcome,
    ) {
        outcome.decisions += 1;
        let needed = pending.iter().fold(0, |all, &index| all | self.all[index].packets);
        let before = self.oracle.next(queue);
        let by_bit = self.oracle.drained(queue);
        let by_name: Vec<Set> = pending
            .iter()
            .map(|&index| match self.all[index].signal {
                0 => 0,
                signal => self.oracle.signalled(signal),
            })
            .collect();
        if pending.len() > MOST {
            return;
        }
        let taken = usize::from(decision.barrier_bit) + named.len();
        let mut least = usize::MAX;
        for subset in 0u32..1 << (1 + pending.len()) {
            let mut has = before;
            // What is named is waited for in front of the packet with the bit, which so waits for both.
            (0..pending.len()).filter(|at| subset >> (1 + at) & 1 == 1).for_each(|at| has |= by_name[at]);
            if subset & 1 == 1 {
                has |= by_bit;
            }
            if needed & !has == 0 {
                least = least.min(subset.count_ones() as usize);
            }
        }
        if taken == least {
            return;
        }
        // The one reason: somebody waited for two submissions of one queue that no barrier bit separates, and remembers the newer one.
        let clocks = || pending.iter().map(|&index| &self.all[index].clock).chain([&view.clock]);
        let forgotten =
            |stamp: &Stamp| clocks().any(|clock| clock.known[usize::from(stamp.lane)].next > stamp.end + 1);
        let own = pending.iter().map(|&index| &self.all[index]).filter(|this| this.queue == queue);
        let mut suspects = named.iter().map(|wait| wait.dep.dep.stamp).chain(own.map(|this| this.dep.stamp));
        assert!(
            taken > least && suspects.any(|stamp| forgotten(&stamp)),
            "{taken} taken, {least} would do after {pending:?} on {queue}: {decision:?} {named:?}\n{:#?}",
            self.all.iter().map(|this| (this.queue, this.packets, this.dep.stamp)).collect::<Vec<_>>(),
            named = named.iter().map(|wait| wait.signal).collect::<Vec<_>>()
        );
        outcome.forgotten += 1;
    }

    /// Completes these submissions, if that can be.
    fn complete(&self, which: u32) -> Option<Self> {
        let chosen = |index: usize| which >> index & 1 == 1;
        let packets = (0..self.all.len())
            .filter(|&index| chosen(index))
            .fold(0, |all, index| all | self.all[index].packets);
        let needed = (0..self.oracle.packets.len())
            .filter(|packet| packets >> packet & 1 == 1)
            .fold(0, |all, packet| all | self.oracle.packets[packet].complete_with);
        let notifications = (0..self.oracle.packets.len())
            .filter(|&packet| self.oracle.packets[packet].signal == 9_000)
            .fold(0, |all, packet| all | 1 << packet);
        if needed & !packets & !notifications != 0
            || (0..self.all.len()).any(|index| self.all[index].complete && !chosen(index))
        {
            return None;
        }
        let mut world = self.clone();
        world.all.iter_mut().enumerate().for_each(|(index, this)| this.complete = chosen(index));
        Some(world)
    }
}

/// All graphs of `left` more submissions.
fn explore(world: &World, left: usize, kinds: &[Kind], completions: bool, outcome: &mut Outcome) {
    if left == 0 {
        return;
    }
    let count = world.all.len();
    // Queues have no names of their own: a new one is the next.
    let used = world.all.iter().map(|this| this.queue + 1).max().unwrap_or(0);
    let worlds = (0..if completions { 1u32 << count } else { 1 }).filter_map(|which| world.complete(which));
    for world in worlds {
        for queue in 0..(used + 1).min(world.known.len()) {
            for after in 0u32..1 << count {
                let after: Vec<usize> = (0..count).filter(|index| after >> index & 1 == 1).collect();
                if !after.iter().all(|&index| world.is_visible(index, queue)) {
                    continue;
                }
                for &kind in kinds {
                    let mut next = world.clone();
                    next.submit(kind, queue, &after, outcome);
                    explore(&next, left - 1, kinds, completions, outcome);
                }
            }
        }
    }
}

fn all_graphs(submissions: usize, queues: usize, kinds: &[Kind], completions: bool) -> Outcome {
    let mut outcome = Outcome::default();
    explore(&World::new(queues), submissions, kinds, completions, &mut outcome);
    outcome
}

#[test]
fn three_submissions_of_every_kind() {
    let outcome = all_graphs(3, 3, &ALL, true);
    assert!(outcome.decisions > 100_000 && outcome.forgotten * 1000 < outcome.decisions, "{outcome:?}");
}

#[test]
fn four_submissions_on_three_queues() {
    let outcome = all_graphs(4, 3, &[ONE, IN_ORDER, CONCURRENT], false);
    assert!(outcome.decisions > 70_000, "{outcome:?}");
    assert!(outcome.forgotten > 0 && outcome.forgotten * 100 < outcome.decisions, "{outcome:?}");
}

#[test]
fn four_submissions_some_of_them_complete_or_silent() {
    let outcome = all_graphs(4, 2, &[ONE, SILENT], true);
    assert!(outcome.decisions > 10_000, "{outcome:?}");
}

#[test]
fn five_single_kernels() {
    let outcome = all_graphs(5, 3, &[ONE], false);
    assert!(outcome.decisions > 40_000, "{outcome:?}");
}

/// Kernels on queue `queue` at `end`, with nothing in front.
fn dep(queue: u64, end: u64, proves: u64) -> Clocked {
    let stamp = Stamp { queue, lane: queue as u8, end, proves };
    Clocked { dep: Dep { stamp, pending: true, elsewhere: false }, clock: Clock::default() }
}

fn view(queue: u64) -> View {
    View { queue, barrier: 0, clock: Clock::default() }
}

#[test]
fn of_two_submissions_without_a_barrier_bit_between_the_older_is_forgotten() {
    let mut view = view(0);
    let [older, newer] = [dep(1, 3, 0), dep(1, 4, 0)];
    view.learn(&[older, newer]);
    let mut deps = vec![older];
    assert_eq!(decide(&view, &mut deps).elided, Elided::default());
    assert_eq!(deps.len(), 1, "named again, although it was waited for");
    let mut deps = vec![newer];
    assert_eq!((decide(&view, &mut deps).elided.waited, deps.len()), (1, 0));
    // With a barrier bit between them nothing is forgotten.
    let newer = dep(1, 5, 5);
    view.learn(&[newer]);
    let mut deps = vec![older, newer];
    assert_eq!((decide(&view, &mut deps).elided.waited, deps.len()), (2, 0));
}

#[test]
fn beyond_the_exact_only_epochs_prove() {
    // The last one waited for the first: that is a single submission, not an epoch.
    let mut all: Vec<Clocked> = (0..40).map(|n| dep(1 + n % 8, 10 + n, 0)).collect();
    let first = all[0].dep.stamp;
    all[39].clock.complete(&first);
    let mut few = vec![all[0], all[39]];
    decide(&view(0), &mut few);
    assert_eq!(few.len(), 1);
    let mut many = all.clone();
    assert_eq!((decide(&view(0), &mut many).elided.newest, many.len()), (0, 40));
    // An epoch proves what is older than it, and what is there twice is named once.
    all[39].clock.raise(first.lane, Known { below: first.end + 1, next: 0 });
    all.push(all[20]);
    assert_eq!((decide(&view(0), &mut all).elided.newest, all.len()), (2, 39));
}

#[test]
fn queues_without_a_lane_are_remembered_by_nobody() {
    let mut view = view(0);
    let mut dep = dep(7, 3, 2);
    dep.dep.stamp.lane = NO_LANE;
    view.learn(&[dep]);
    assert!(view.clock.is_empty());
    let mut deps = vec![dep, dep];
    assert_eq!((decide(&view, &mut deps).elided.newest, deps.len()), (1, 1), "the same twice is named once");
    // Their own epochs hold: those need no clock.
    let mut older = dep;
    older.dep.stamp.end = 1;
    let mut deps = vec![older, dep];
    decide(&view, &mut deps);
    assert_eq!(deps[0].dep.stamp.end, 3);
    view.queue = 7;
    view.barrier = 4;
    let mut deps = vec![dep];
    assert_eq!(decide(&view, &mut deps).elided.epoch, 1);
}

#[test]
fn data_from_elsewhere_is_acquired_even_where_nothing_is_waited_for() {
    for pending in [false, true] {
        let mut view = view(0);
        let mut dep = dep(1, 3, 0);
        (dep.dep.elsewhere, dep.dep.pending) = (true, pending);
        view.clock.complete(&dep.dep.stamp);
        let mut deps = vec![dep];
        let decision = decide(&view, &mut deps);
        assert!(decision.elsewhere && deps.is_empty() && !decision.barrier_bit);
    }
}

fn any_clock() -> impl Strategy<Value = Clock> {
    proptest::collection::vec((0u8..4, 0u64..20, 0u64..20), 0..6).prop_map(|facts| {
        let mut clock = Clock::default();
        facts.into_iter().for_each(|(lane, below, next)| clock.raise(lane, Known { below, next }));
        clock
    })
}

fn joined(a: &Clock, b: &Clock) -> Clock {
    let mut both = *a;
    both.join(b);
    both
}

/// Which of some stamps a clock covers.
fn covered(clock: &Clock) -> Vec<bool> {
    let stamp = |n: u64| Stamp { queue: n % 4, lane: (n % 4) as u8, end: n / 4, proves: 0 };
    (0..80).map(|n| clock.covers(&stamp(n))).collect()
}

proptest! {
    #[test]
    fn clocks_join_in_any_order_and_any_number_of_times(a in any_clock(), b in any_clock(), c in any_clock()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
        prop_assert_eq!(joined(&a, &Clock::default()), a);
        prop_assert_eq!(a.is_empty(), a.lanes().next().is_none());
    }

    #[test]
    fn a_joined_clock_says_no_more_than_its_parts_and_forgets_single_submissions_only(a in any_clock(), b in any_clock()) {
        let (ca, cb, both) = (covered(&a), covered(&b), covered(&joined(&a, &b)));
        for n in 0..80 {
            prop_assert!(!both[n] || ca[n] || cb[n]);
            let (lane, end) = (n % 4, n as u64 / 4);
            let single = |clock: &Clock| clock.known[lane].next == end + 1;
            prop_assert!(both[n] || !(ca[n] || cb[n]) || single(&a) || single(&b));
        }
    }

    #[test]
    fn what_is_complete_is_covered_and_so_is_what_it_proves(end in 0u64..1000, ahead in 0u64..1000, older in 0u64..1000) {
        let stamp = Stamp { queue: 3, lane: 3, end, proves: end.saturating_sub(ahead) };
        let mut clock = Clock::default();
        clock.complete(&stamp);
        prop_assert!(clock.covers(&stamp));
        prop_assert_eq!(clock.covers(&Stamp { end: older, ..stamp }), older < stamp.proves || older == end);
        let other_lane = Stamp { lane: 2, ..stamp };
        prop_assert!(!clock.covers(&other_lane));
        // Positions of a later queue of the lane are larger than all of these.
        let later_queue = Stamp { queue: 9, end: end + BASE, ..stamp };
        prop_assert!(!clock.covers(&later_queue));
    }

    /// Larger graphs: every dependency holds, and nothing is named that could be left out, but for what was forgotten.
    #[test]
    fn larger_graphs(steps in proptest::collection::vec((0usize..9, 0usize..4, any::<u16>(), any::<u16>()), 1..13)) {
        let mut world = World::new(4);
        let mut outcome = Outcome::default();
        for (kind, queue, after, done) in steps {
            let after: Vec<usize> = (0..world.all.len())
                .filter(|&index| after >> index & 1 == 1 && world.is_visible(index, queue))
                .collect();
            world.submit(ALL[kind], queue, &after, &mut outcome);
            if let Some(next) = world.complete(u32::from(done)) {
                world = next;
            }
        }
    }

    /// More dependencies than are compared one by one.
    #[test]
    fn wide_graphs(queues in proptest::collection::vec(0usize..5, 34..44), bits in any::<u64>(), thin in any::<u64>()) {
        let mut world = World::new(6);
        let mut outcome = Outcome::default();
        for (index, &queue) in queues.iter().enumerate() {
            let after: Vec<usize> = (0..index).filter(|other| (thin >> (other % 64)) & 0x1111 == 0x1111).take(3).collect();
            world.submit(if bits >> index & 1 == 1 { BARRED } else { ONE }, queue, &after, &mut outcome);
        }
        let all: Vec<usize> = (0..queues.len()).collect();
        world.submit(ONE, 5, &all, &mut outcome);
    }
}
