//! A request put together: which packets go on which queue, in which order they are published, and which signals tie them together.
//!
//! Worked out once, when the request is recorded; nothing here touches a queue. Queues are numbers.
//!
//! Publication order: a packet may only be put in a queue when everything that it waits for is in its queue already, or two requests
//! replayed at once could wait for each other in a circle. So each queue's packets are cut into *segments* by level: a step is one level
//! above the steps of other queues that it depends on. Segments are published level by level.

use crate::depend::{Clock, Clocked, Dep, Dependency, LANES, NO_LANE, Stamp, View, decide};
use crate::error::{Error, Result};
use crate::group::KernelGroup;
use crate::packet::{BARRIER_DEPENDENCIES, Header, Packet, PacketKind};
use crate::program::{KernelArgs, Program};

/// One group of a request.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) group: KernelGroup,
    pub(crate) queue: usize,
    /// Earlier steps.
    pub(crate) after: Vec<usize>,
}

/// What a request puts on one queue.
pub(crate) struct Part {
    pub(crate) queue: usize,
    /// Packets with INVALID headers. Kernarg addresses are offsets into the request's arguments; signals are missing.
    pub(crate) bodies: Vec<Packet>,
    pub(crate) firsts: Vec<u32>,
    /// Which packets are kernels.
    pub(crate) kernels: Vec<usize>,
    /// Dependency `.1` of barrier packet `.0` is signal `.2`.
    pub(crate) named: Vec<(usize, usize, usize)>,
    /// Kernel packet `.0` completes signal `.1`.
    pub(crate) completed: Vec<(usize, usize)>,
    /// Parts that it waits for.
    pub(crate) waits_for: Vec<usize>,
    /// Whether its first packet waits for nothing of the request.
    pub(crate) is_root: bool,
    barrier: u64,
    clock: Clock,
    /// Level of each packet: never falls.
    levels: Vec<usize>,
}

/// Packets of one part that are published at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) level: usize,
    pub(crate) part: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A request put together.
pub(crate) struct Recorded {
    pub(crate) parts: Vec<Part>,
    /// In the order in which they are published.
    pub(crate) segments: Vec<Segment>,
    /// What each signal begins at.
    pub(crate) signals: Vec<i64>,
    /// Arguments of all kernels.
    pub(crate) image: Vec<u8>,
    /// All kernels in the order in which they were recorded, and the part of each.
    pub(crate) kernels: Vec<KernelArgs>,
    pub(crate) part_of: Vec<usize>,
    /// The part of the last step: its end is the request's.
    pub(crate) last: usize,
}

/// A step as others depend on it.
struct Done {
    dep: Clocked,
    level: usize,
    part: usize,
    /// Its kernel packets that are complete last.
    tail: std::ops::Range<usize>,
    signal: Option<usize>,
}

struct Need {
    dep: Clocked,
    step: usize,
}

impl Dependency for Need {
    fn dep(&self) -> &Dep {
        &self.dep.dep
    }

    fn clock(&self) -> &Clock {
        &self.dep.clock
    }
}

/// Puts a request together.
pub(crate) fn put_together(steps: &[Step]) -> Result<Recorded> {
    let mut out = Recorded {
        parts: Vec::new(),
        segments: Vec::new(),
        signals: Vec::new(),
        image: Vec::new(),
        kernels: Vec::new(),
        part_of: Vec::new(),
        last: 0,
    };
    let mut done: Vec<Done> = Vec::with_capacity(steps.len());
    for step in steps {
        add(&mut out, &mut done, step)?;
    }
    for (number, part) in out.parts.iter().enumerate() {
        let mut start = 0;
        for run in part.levels.chunk_by(|a, b| a == b) {
            let end = start + run.len();
            out.segments.push(Segment { level: run[0], part: number, start, end });
            start = end;
        }
    }
    out.segments.sort_by_key(|segment| segment.level);
    Ok(out)
}

fn add(out: &mut Recorded, done: &mut Vec<Done>, step: &Step) -> Result<()> {
    let number = out.parts.iter().position(|part| part.queue == step.queue).unwrap_or_else(|| {
        out.parts.push(Part {
            queue: step.queue,
            bodies: Vec::new(),
            firsts: Vec::new(),
            kernels: Vec::new(),
            named: Vec::new(),
            completed: Vec::new(),
            waits_for: Vec::new(),
            is_root: step.after.is_empty(),
            barrier: 0,
            clock: Clock::default(),
            levels: Vec::new(),
        });
        out.parts.len() - 1
    });
    let part = &out.parts[number];
    let mut level = part.levels.last().copied().unwrap_or(0);
    let mut needs = Vec::with_capacity(step.after.len());
    for &index in &step.after {
        let before: &Done = done.get(index).ok_or_else(|| {
            Error::Invalid(format!("step {} depends on step {index}, which comes later", done.len()))
        })?;
        if before.part != number {
            level = level.max(before.level + 1);
        }
        needs.push(Need { dep: before.dep, step: index });
    }
    let view = View { queue: number as u64, barrier: part.barrier, clock: part.clock };
    let decision = decide(&view, &mut needs);

    // The signals of what is named, made for whoever is named first.
    let mut names = Vec::with_capacity(needs.len());
    let mut learnt = Clock::default();
    let mut waits_for = std::mem::take(&mut out.parts[number].waits_for);
    for need in &needs {
        let before = &mut done[need.step];
        if !waits_for.contains(&before.part) {
            waits_for.push(before.part);
        }
        learnt.join(&before.dep.clock);
        learnt.complete(&before.dep.dep.stamp);
        let signal = *before.signal.get_or_insert_with(|| {
            out.signals.push(before.tail.len() as i64);
            out.signals.len() - 1
        });
        if names.is_empty() || !names.contains(&signal) {
            names.push(signal);
        }
        let completed = &mut out.parts[before.part].completed;
        for packet in before.tail.clone() {
            if !completed.contains(&(packet, signal)) {
                completed.push((packet, signal));
            }
        }
    }

    let part = &mut out.parts[number];
    part.waits_for = waits_for;
    part.clock.join(&learnt);
    for five in names.chunks(BARRIER_DEPENDENCIES) {
        let packet = part.bodies.len();
        let mut body = Packet::barrier(Header::new(PacketKind::BarrierAnd), &Default::default());
        part.firsts.push(body.dwords()[0]);
        body.invalidate();
        part.bodies.push(body);
        part.named.extend(five.iter().enumerate().map(|(at, &signal)| (packet, at, signal)));
    }
    let program: &Program = step.group.program();
    let first = part.bodies.len();
    let base = out.image.len().next_multiple_of(64);
    out.image.resize(base, 0);
    out.image.extend_from_slice(&program.image);
    for (index, (body, &dword)) in program.bodies.iter().zip(&program.firsts).enumerate() {
        let mut body = *body;
        body.shift_kernargs(program.shift_to(base as u64));
        part.kernels.push(part.bodies.len());
        part.bodies.push(body);
        let bit = index == 0 && decision.barrier_bit;
        part.firsts.push(dword | u32::from(bit) << 8);
    }
    let moved = |args: &KernelArgs| KernelArgs { kernel: args.kernel.clone(), offset: base + args.offset };
    out.kernels.extend(program.kernels.iter().map(moved));
    out.part_of.resize(out.kernels.len(), number);

    let barrier = program.last_barrier.or(decision.barrier_bit.then_some(0)).map(|at| (first + at) as u64);
    let end = part.bodies.len() as u64 - 1;
    let lane = if number < LANES { number as u8 } else { NO_LANE };
    let proves = barrier.unwrap_or(part.barrier);
    part.barrier = proves;
    part.levels.resize(part.bodies.len(), level);
    done.push(Done {
        dep: Clocked {
            dep: Dep {
                stamp: Stamp { queue: number as u64, lane, end, proves },
                pending: true,
                elsewhere: false,
            },
            clock: part.clock,
        },
        level,
        part: number,
        tail: first + program.last_barrier.unwrap_or(0)..part.bodies.len(),
        signal: None,
    });
    out.last = number;
    Ok(())
}
