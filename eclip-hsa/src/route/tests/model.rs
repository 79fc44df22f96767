//! Random streams of two workers on a model of the GPU that runs packets in any order that AQL allows, against what an
//! in-order stream promises.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};

/// A packet in a queue of the model, with worker and number if it is one of a stream.
#[derive(Clone, Debug)]
struct Slot {
    packet: Packet,
    of: Option<(usize, usize)>,
}

/// Queues whose packets run in any order that AQL allows, and the signals.
struct Gpu {
    waiting: Vec<VecDeque<Slot>>,
    /// Queue and packet.
    running: Vec<(usize, Slot)>,
    signals: HashMap<u64, i64>,
    free: Vec<u64>,
    /// Completed packets of the streams, and those whose writes reached the agent.
    done: HashSet<(usize, usize)>,
    released: HashSet<(usize, usize)>,
    /// What every CU sees because of an acquire since.
    visible: HashSet<(usize, usize)>,
    /// Queue of each packet of the streams.
    queue_of: HashMap<(usize, usize), usize>,
    opaque: bool,
}

/// The callers' signals are above this.
const CALLERS: u64 = 1 << 32;

impl Signals for Gpu {
    fn is_complete(&mut self, handle: u64) -> bool {
        assert!(!self.opaque || handle < CALLERS, "an opaque signal was read");
        self.signals[&handle] == 0
    }
    fn fresh(&mut self) -> Option<u64> {
        let handle = self.free.pop()?;
        let named = |slot: &Slot| {
            let waits =
                slot.packet.as_barrier().is_some_and(|barrier| barrier.dependencies.contains(&handle));
            waits || slot.packet.completion_signal() == handle
        };
        let running = self.running.iter().map(|(_, slot)| slot);
        assert!(!self.waiting.iter().flatten().chain(running).any(named), "a signal in use was used again");
        self.signals.insert(handle, 1);
        Some(handle)
    }
    fn recycle(&mut self, handle: u64) {
        assert!(!self.free.contains(&handle) && handle < CALLERS);
        self.free.push(handle);
    }
}

impl Gpu {
    fn new(queues: usize, signals: u64, opaque: bool) -> Self {
        Self {
            waiting: vec![VecDeque::new(); queues],
            running: Vec::new(),
            signals: HashMap::new(),
            free: (1..=signals).collect(),
            done: HashSet::new(),
            released: HashSet::new(),
            visible: HashSet::new(),
            queue_of: HashMap::new(),
            opaque,
        }
    }

    /// Starts the packet at the head of a queue if AQL allows it.
    fn start(&mut self, queue: usize) -> bool {
        let Some(slot) = self.waiting[queue].front() else { return false };
        let header = slot.packet.header().unwrap();
        if header.barrier && self.running.iter().any(|(other, _)| *other == queue) {
            return false;
        }
        if let Some(barrier) = slot.packet.as_barrier()
            && barrier.dependencies.iter().any(|handle| *handle != 0 && self.signals[handle] != 0)
        {
            return false;
        }
        let slot = self.waiting[queue].pop_front().unwrap();
        if header.acquire >= FenceScope::Agent {
            self.visible.extend(&self.released);
        }
        if let Some((worker, number)) = slot.of {
            for before in 0..number {
                assert!(
                    self.done.contains(&(worker, before)),
                    "worker {worker}: {number} began before {before} had ended"
                );
                let elsewhere = self.queue_of[&(worker, before)] != queue;
                let is_kernel = header.kind == PacketKind::KernelDispatch;
                assert!(
                    !(is_kernel && elsewhere) || self.visible.contains(&(worker, before)),
                    "worker {worker}: {number} does not see what {before} wrote"
                );
            }
        }
        // A barrier packet completes at once, or nothing behind it may start.
        if header.kind == PacketKind::BarrierAnd {
            self.complete(slot)
        } else {
            self.running.push((queue, slot))
        }
        true
    }

    fn complete(&mut self, slot: Slot) {
        let header = slot.packet.header().unwrap();
        if let Some(of) = slot.of {
            self.done.insert(of);
            if header.release >= FenceScope::Agent || header.kind != PacketKind::KernelDispatch {
                self.released.insert(of);
            }
        }
        if let Some(value) = self.signals.get_mut(&slot.packet.completion_signal()) {
            *value -= 1;
        }
    }

    /// One step of the device; false if `choice` names nothing that can happen.
    fn step(&mut self, choice: usize) -> bool {
        let queues = self.waiting.len();
        match choice % (queues + 2) {
            queue if queue < queues => self.start(queue),
            _ if self.running.is_empty() => false,
            _ => {
                let (_, slot) = self.running.swap_remove(choice / 7 % self.running.len());
                self.complete(slot);
                true
            }
        }
    }

    /// Runs until nothing moves.
    fn drain(&mut self) {
        while (0..self.waiting.len() + 1).any(|choice| self.step(choice)) {}
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.iter().all(VecDeque::is_empty)
    }
}

/// A packet of a stream.
#[derive(Clone, Debug)]
struct Given {
    kind: PacketKind,
    fences: (u8, u8),
    own_signal: bool,
    name: u8,
}

fn given() -> impl Strategy<Value = Given> {
    let kind = prop_oneof![
        8 => Just(PacketKind::KernelDispatch),
        1 => Just(PacketKind::BarrierAnd),
        1 => Just(PacketKind::VendorSpecific)
    ];
    (kind, (0u8..3, 0u8..3), prop::bool::weighted(0.2), 0u8..6)
        .prop_map(|(kind, fences, own_signal, name)| Given { kind, fences, own_signal, name })
}

impl Given {
    fn packet(&self) -> Packet {
        let scope = |value| [FenceScope::None, FenceScope::Agent, FenceScope::System][usize::from(value)];
        let mut header = Header::new(self.kind);
        (header.acquire, header.release) = (scope(self.fences.0), scope(self.fences.1));
        Packet::from_dwords(std::array::from_fn(|i| if i == 0 { header.bits().into() } else { 0 }))
    }
}

/// Placements as slots (0 is the worker's own queue, 1 and 2 are shared), and whether they go by name.
fn any_table() -> impl Strategy<Value = (Vec<usize>, bool)> {
    (prop::collection::vec(0usize..3, 1..6), any::<bool>())
}

/// Four queues: 0 and 1 are each one worker's, 2 and 3 (the default) are shared.
const SHARED: usize = 2;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn two_workers_keep_their_order(
        tables in [any_table(), any_table()],
        streams in [prop::collection::vec(given(), 0..30), prop::collection::vec(given(), 0..30)],
        choices in prop::collection::vec(0usize..1000, 0..400),
        signals in 2u64..12,
        opaque: bool,
        by_count: bool,
    ) {
        let mut gpu = Gpu::new(4, signals, opaque);
        let caller = if opaque { CallerSignals::Opaque } else { CallerSignals::OnePerPacket };
        let boundaries = if by_count { Boundaries::ByCount } else { Boundaries::Explicit };
        let mut workers: Vec<(Router, usize)> = tables.iter().enumerate().map(|(worker, (route, by_name))| {
            let route: Vec<usize> = route.iter().map(|slot| [worker, 2, 3][*slot]).collect();
            (Router::new(table(4, &route, *by_name, None), |queue| queue >= SHARED, caller, boundaries), 0)
        }).collect();
        let mut choices = choices.into_iter();
        while workers.iter().zip(&streams).any(|((_, next), stream)| *next < stream.len()) {
            let choice = choices.next().unwrap_or(0);
            if choice % 3 != 0 {
                gpu.step(choice / 3);
                continue;
            }
            let worker = choice / 3 % 2;
            let worker = if workers[worker].1 < streams[worker].len() { worker } else { 1 - worker };
            let (router, next) = &mut workers[worker];
            let given = &streams[worker][*next];
            let mut packet = given.packet();
            let header = packet.header().unwrap();
            if given.own_signal {
                // Opaque ones may be shared by many packets.
                let own = CALLERS + if opaque { 0 } else { (worker * 1000 + *next) as u64 };
                packet.set_completion_signal(own);
                gpu.signals.insert(own, if opaque { 100_000 } else { 1 });
            }
            let name = match given.name {
                0 => KernelName::UNPLANNED,
                name @ 1..3 => router.table().name(["k0", "k1"][usize::from(name - 1)]),
                _ => KernelName::ANY,
            };
            let before = router.core.previous();
            let was_complete = *next == 0 || gpu.done.contains(&(worker, *next - 1));
            let routed = match router.route(packet, name, &mut gpu) {
                Ok(routed) => routed,
                Err(RouteError::NoSignal) => {
                    // The other worker may hold the last signals: both give theirs back when they are idle.
                    gpu.drain();
                    prop_assert!(gpu.is_empty());
                    workers.iter_mut().for_each(|(router, _)| router.idle(&mut gpu));
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let (queue, last) = *routed.packets().last().unwrap();
            // Never more than is needed.
            let same = before.is_none_or(|(before, ..)| before == queue);
            let needed = match before {
                Some((_, told, known)) if !same || queue >= SHARED => {
                    !known && if told { !was_complete } else { !same }
                }
                _ => false,
            };
            prop_assert_eq!(routed.packets().len() > 1, needed);
            prop_assert!(routed.packets().len() < 3 || matches!(before, Some((_, false, _))));
            if given.own_signal {
                prop_assert_eq!(last.completion_signal(), packet.completion_signal(), "its own signal is kept");
            }
            prop_assert!(last.header().unwrap().release >= header.release);
            prop_assert!(last.header().unwrap().acquire >= header.acquire);
            gpu.queue_of.insert((worker, *next), queue);
            for (index, (queue, packet)) in routed.packets().iter().enumerate() {
                let of = (index + 1 == routed.packets().len()).then_some((worker, *next));
                gpu.waiting[*queue].push_back(Slot { packet: *packet, of });
            }
            *next += 1;
        }
        gpu.drain();
        prop_assert!(gpu.is_empty(), "the workers wait for ever");
        for (router, next) in &mut workers {
            let total = router.total();
            prop_assert_eq!((total.kernels + total.passed) as usize, *next);
            router.idle(&mut gpu);
        }
        prop_assert_eq!(gpu.free.len() as u64, signals, "every signal came back");
    }
}
