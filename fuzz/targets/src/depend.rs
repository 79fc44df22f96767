//! Graphs of groups: the barriers that the library decides on are enough, by brute force over what the packets really order.
//!
//! The input is a program: groups submitted to a few queues after others, and completions. The library decides from clocks and
//! positions; here the packets are written out, and what has certainly happened before each of them is followed through all of
//! them (HSA System Architecture 1.2, 2.9: packets are launched in order; one with the barrier bit after all earlier ones are
//! complete; a barrier-AND holds up what is behind it until all that it names is complete).

use arbitrary::{Result, Unstructured};
use eclip_hsa::depend::{Clock, Clocked, Dep, Extent, Known, NO_LANE, Stamp, View, decide, enter};
use eclip_hsa::packet::BARRIER_DEPENDENCIES;

/// Submissions that a graph has at most: a set of them is a word.
const MOST: usize = 128;
/// Queues.
const QUEUES: usize = 4;

/// A set of submissions.
type Set = u128;

/// A submission.
struct Submission {
    queue: usize,
    dep: Clocked,
    /// Everything that is complete when it is, itself included.
    implies: Set,
    complete: bool,
}

/// A queue: what the library keeps of it, and what is true of it.
struct Queue {
    lane: u8,
    next: u64,
    view: View,
    /// Complete before anything that is submitted now is launched.
    launched_after: Set,
    /// Everything submitted.
    all: Vec<usize>,
}

/// Reads the input as a program and checks every decision in it.
pub fn depend(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut graph = Graph::new(input.arbitrary().unwrap_or(0));
    while !input.is_empty() && graph.submissions.len() < MOST {
        if graph.action(&mut input).is_err() {
            break;
        }
    }
}

/// What a group is made of.
struct Form {
    /// None: a barrier.
    kernels: u64,
    concurrent: bool,
    /// A barrier packet with the bit behind the kernels tells of their end.
    marker: bool,
}

struct Graph {
    queues: Vec<Queue>,
    submissions: Vec<Submission>,
}

impl Graph {
    /// `lanes`: which queues have one; the last bits say where positions begin.
    fn new(lanes: u8) -> Self {
        let base = if lanes & 0x80 != 0 { 1 << 48 } else { 0 };
        let queue = |number: usize| Queue {
            lane: if lanes >> number & 1 == 0 { number as u8 } else { NO_LANE },
            next: base,
            view: View { queue: 7 + number as u64, barrier: 0, clock: Clock::default() },
            launched_after: 0,
            all: Vec::new(),
        };
        Self { queues: (0..QUEUES).map(queue).collect(), submissions: Vec::new() }
    }

    fn action(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let action: u8 = input.arbitrary()?;
        if action & 0xc0 == 0xc0 {
            return self.complete(input);
        }
        let queue = usize::from(action & 3);
        let more: u8 = input.arbitrary()?;
        let form = Form {
            kernels: u64::from(action >> 2 & 3),
            concurrent: action & 0x10 != 0,
            marker: more & 1 == 1,
        };
        let count = input.int_in_range(0..=if action & 0x20 != 0 { 40u8 } else { 6 })?;
        let mut after = Vec::new();
        if !self.submissions.is_empty() {
            for _ in 0..count {
                after.push(usize::from(input.arbitrary::<u8>()?) % self.submissions.len());
            }
        }
        self.submit(queue, form, &after, input.arbitrary()?);
        Ok(())
    }

    /// Lets one submission complete, if it can: what it waits for has to be complete.
    fn complete(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let number = usize::from(input.arbitrary::<u8>()?);
        let done = self.done();
        if let Some(submission) = self.submissions.get_mut(number) {
            let needs = submission.implies & !(1 << number);
            submission.complete |= needs & !done == 0;
        }
        Ok(())
    }

    fn done(&self) -> Set {
        self.submissions.iter().enumerate().fold(0, |set, (n, s)| set | Set::from(s.complete) << n)
    }

    /// Submits a group. `late` says of which dependencies the library has not noticed yet that they are complete.
    fn submit(&mut self, at: usize, form: Form, after: &[usize], late: u8) {
        let number = self.submissions.len();
        let deps: Vec<Clocked> = after
            .iter()
            .enumerate()
            .map(|(place, &other)| {
                let noticed = self.submissions[other].complete && late >> (place % 8) & 1 == 0;
                let Clocked { dep, clock } = self.submissions[other].dep;
                Clocked { dep: Dep { pending: !noticed, ..dep }, clock }
            })
            .collect();
        let mut named = deps.clone();
        let decision = decide(&self.queues[at].view, &mut named);

        // What was decided: nothing invented, everything accounted for, own work by the barrier bit alone.
        let own = self.queues[at].view.queue;
        for Clocked { dep, .. } in &named {
            assert!(dep.pending && dep.stamp.queue != own, "a barrier for what needs none: {dep:?}");
            let times = named.iter().filter(|other| other.dep.stamp == dep.stamp).count();
            assert_eq!(times, 1, "named twice");
        }
        if deps.len() <= 32 {
            let proved = |dep: &Clocked| named.iter().any(|by| by.clock.covers(&dep.dep.stamp));
            assert!(!named.iter().any(proved), "a barrier for what another one proves: {named:?}");
        }
        let e = decision.elided;
        let by_bit = deps.len() as u64 - named.len() as u64 - (e.complete + e.epoch + e.waited + e.newest);
        assert_eq!(decision.barrier_bit, by_bit > 0, "{decision:?}");
        assert_eq!(decision.elsewhere, deps.iter().any(|dep| dep.dep.elsewhere));
        let own_left = |Clocked { dep, .. }: &Clocked| {
            dep.pending && dep.stamp.queue == own && dep.stamp.end >= self.queues[at].view.barrier
        };
        assert!(!decision.barrier_bit || deps.iter().any(own_left), "a barrier bit for nothing");

        // What the packets really order: what is complete before the group's first kernel is launched.
        let number_of = |stamp: &Stamp| {
            self.submissions.iter().position(|s| s.dep.dep.stamp == *stamp).expect("a submitted one is named")
        };
        let mut before = self.queues[at].launched_after;
        if decision.barrier_bit {
            for &earlier in &self.queues[at].all {
                before |= self.submissions[earlier].implies;
            }
        }
        for dep in &named {
            before |= self.submissions[number_of(&dep.dep.stamp)].implies;
        }
        let done = self.done();
        for &other in after {
            assert!(
                (before | done) >> other & 1 == 1,
                "submission {number} on queue {at} may start before {other}, which it comes after: {decision:?}"
            );
        }

        // The packets: barriers, kernels, a marker. The bit is in the first kernel, or in the last barrier if there is none.
        let bit = decision.barrier_bit;
        let barriers = named.len().div_ceil(BARRIER_DEPENDENCIES) as u64;
        let (in_order, marker) = (!form.concurrent && form.kernels > 1, form.marker && form.kernels > 0);
        let barriers = if form.kernels == 0 { barriers.max(1) } else { barriers };
        let last = barriers + form.kernels + u64::from(marker) - 1;
        let last_barrier =
            if marker || in_order || bit && form.kernels == 0 { Some(last) } else { bit.then_some(barriers) };
        let ends_in_barrier = marker || form.kernels == 0;
        let extent = Extent { last, last_barrier, newest_barrier: last_barrier, ends_in_barrier };

        // What is true of them: a later barrier bit waits for all that is older, and nothing gets past a barrier packet.
        let queue = &mut self.queues[at];
        let mut launched_after = before;
        if marker || in_order {
            queue.all.iter().for_each(|&earlier| launched_after |= self.submissions[earlier].implies);
        }
        let implies = launched_after | 1 << number;
        if ends_in_barrier {
            launched_after = implies;
        }

        // What the library keeps of them.
        let entry = enter(queue.view.barrier, queue.next, &extent);
        queue.next += last + 1;
        queue.view.learn(&named);
        let clock = queue.view.clock;
        queue.view.barrier = entry.barrier.unwrap_or(queue.view.barrier);
        if let Some(known) = entry.known {
            queue.view.clock.raise(queue.lane, known);
        }
        let stamp = Stamp { queue: queue.view.queue, lane: queue.lane, end: entry.end, proves: entry.proves };
        queue.launched_after = launched_after;
        queue.all.push(number);
        let dep = Dep { stamp, pending: true, elsewhere: number.is_multiple_of(7) };
        let dep = Clocked { dep, clock };
        self.submissions.push(Submission { queue: at, dep, implies, complete: false });
        self.check_knowledge(at);
    }

    /// Whatever the library believes to be complete before what a queue launches next really is.
    fn check_knowledge(&self, at: usize) {
        let queue = &self.queues[at];
        for (number, submission) in self.submissions.iter().enumerate() {
            let believed = queue.view.clock.covers(&submission.dep.dep.stamp)
                || submission.queue == at && submission.dep.dep.stamp.end < queue.view.barrier;
            let no_lane = submission.dep.dep.stamp.lane == NO_LANE;
            assert!(
                !believed || queue.launched_after >> number & 1 == 1,
                "queue {at} takes {number} for complete (no lane: {no_lane})"
            );
        }
        // Knowledge about a lane without packets would be about nobody.
        assert!(queue.view.clock.lanes().all(|(_, known)| known != Known::default()));
    }
}
