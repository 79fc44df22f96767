//! The way of a recorded request into its queues.
//!
//! Room is set aside on all queues before anything is published, so a request is submitted as a whole or not at all; then its segments
//! are published level by level. Each queue's share ends with a barrier packet of its own, whose signal frees what the share uses; the last
//! queue's waits for all others, and stands for the request. Any thread may replay; nobody waits with a lock held.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::block::Block;
use crate::counts::PacketCounts;
use crate::depend::{Clock, Dep};
use crate::dispatch::Arg;
use crate::error::{Error, Result};
use crate::flights::{Place, Status, Ticket};
use crate::packet::{BARRIER_DEPENDENCIES, Barrier, FenceScope, Header, Packet, PacketKind};
use crate::packet_ring::PacketRing;
use crate::patch::Patch;
use crate::pin::{Awaited, Pin, Wait};
use crate::port::HsaPort;
use crate::program::Program;
use crate::queue::Queue;
use crate::queue_state::{QueueState, SlotClaim};
use crate::recorded::{Part, Recorded, Step};
use crate::ring::{Refused, Ring};
use crate::signal::{Signal, Use};
use crate::submit::{Order, patience, try_submit as submit_group};
use crate::token::Token;
use crate::visibility::Visibility;

/// Queues that one request can use.
const MAX_PARTS: usize = 24;

/// A recorded request, ready to be replayed.
pub(crate) struct Request {
    agent: Agent,
    recorded: Recorded,
    /// For each part: its buffers, and how many replays use them.
    owners: Vec<Arc<Program>>,
    counts: Vec<PacketCounts>,
    /// Not in flight, or soon not to be.
    instances: Mutex<Vec<Arc<Instance>>>,
}

/// What one replay in flight has for itself.
struct Instance {
    /// For each part: packets with addresses and signals in place, and INVALID headers.
    bodies: Vec<Box<[Packet]>>,
    signals: Vec<Signal>,
    kernargs: Option<Block>,
    /// Kernels whose arguments differ from the recorded ones.
    patched: Vec<usize>,
}

impl Request {
    pub(crate) fn new(agent: &Agent, recorded: Recorded, steps: &[Step]) -> Result<Self> {
        if recorded.parts.len() > MAX_PARTS {
            return Err(Error::Invalid(format!(
                "a recording over {} queues: {MAX_PARTS} are possible, and more than about eight are slow",
                recorded.parts.len()
            )));
        }
        let owner = |part: &Part| {
            let groups =
                steps.iter().filter(|step| step.queue == part.queue).map(|step| step.group.program());
            Arc::new(Program::owner(agent, groups))
        };
        let count = |(number, part): (usize, &Part)| {
            let kernels = part.kernels.len() as u64;
            let joins = if number == recorded.last { joins(recorded.parts.len()) } else { 1 };
            PacketCounts {
                kernels,
                barriers: part.bodies.len() as u64 - kernels + joins as u64,
                barrier_bits: part.firsts.iter().filter(|&&first| first >> 8 & 1 == 1).count() as u64 + 1,
                ..Default::default()
            }
        };
        Ok(Self {
            agent: agent.clone(),
            owners: recorded.parts.iter().map(owner).collect(),
            counts: recorded.parts.iter().enumerate().map(count).collect(),
            recorded,
            instances: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) fn kernels(&self) -> usize {
        self.recorded.kernels.len()
    }

    pub(crate) fn packets(&self) -> usize {
        (0..self.recorded.parts.len()).map(|part| self.share(part) as usize).sum()
    }

    pub(crate) fn segments(&self) -> usize {
        self.recorded.segments.len()
    }

    /// Packets of a part, its end included.
    fn share(&self, part: usize) -> u64 {
        let parts = &self.recorded.parts;
        let end = if part == self.recorded.last { joins(parts.len()) } else { 1 };
        (parts[part].bodies.len() + end) as u64
    }

    /// An instance that is not in flight, if there is one.
    fn free_instance(&self) -> Option<Arc<Instance>> {
        let mut instances = self.instances.lock().expect("no panic while it is held");
        // Each part in flight has a handle; `get_mut` acquires what they did before they dropped it.
        let free = instances.iter_mut().position(|instance| Arc::get_mut(instance).is_some())?;
        Some(instances.swap_remove(free))
    }

    /// An instance that is not in flight. Shares of complete requests that nobody has asked for are let go of before one is made.
    fn instance(&self, lanes: &[Option<Lane<'_>>]) -> Result<Arc<Instance>> {
        if let Some(free) = self.free_instance() {
            return Ok(free);
        }
        for lane in lanes.iter().flatten() {
            lane.queue.flights().sweep_all();
        }
        match self.free_instance() {
            Some(free) => Ok(free),
            None => self.make_instance().map(Arc::new),
        }
    }

    fn put_back(&self, instance: Arc<Instance>) {
        self.instances.lock().expect("no panic while it is held").push(instance);
    }

    fn make_instance(&self) -> Result<Instance> {
        let recorded = &self.recorded;
        let mut kernargs = None;
        if !recorded.image.is_empty() {
            let block = Block::host(&self.agent, PoolKind::Kernarg, recorded.image.len())?;
            // SAFETY: the block is host memory of at least so many bytes, and nothing uses it yet.
            unsafe {
                std::ptr::copy_nonoverlapping(recorded.image.as_ptr(), block.address(), recorded.image.len());
            }
            kernargs = Some(block);
        }
        let signals: Result<Vec<Signal>> =
            recorded.signals.iter().map(|_| Signal::polled(&self.agent)).collect();
        let signals = signals?;
        let base = kernargs.as_ref().map_or(0, |block| block.address() as u64);
        let fill = |part: &Part| {
            let mut bodies = part.bodies.clone();
            part.kernels.iter().for_each(|&packet| bodies[packet].shift_kernargs(base));
            for &(packet, at, signal) in &part.named {
                bodies[packet].set_dependency(at, signals[signal].handle());
            }
            for &(packet, signal) in &part.completed {
                bodies[packet].set_completion_signal(signals[signal].handle());
            }
            bodies.into_boxed_slice()
        };
        Ok(Instance {
            bodies: recorded.parts.iter().map(fill).collect(),
            signals,
            kernargs,
            patched: Vec::new(),
        })
    }

    /// Puts the arguments of one replay in place.
    fn arguments(&self, instance: &mut Instance, patches: &[Patch]) -> Result<()> {
        let recorded = &self.recorded;
        for kernel in instance.patched.drain(..) {
            let (from, Some(block)) = (&recorded.kernels[kernel], &instance.kernargs) else { continue };
            let range = from.offset..from.offset + from.kernel.layout().size();
            let to = block.address().wrapping_add(range.start);
            // SAFETY: the range lies in the block, which has the image's size, and the instance is not in flight.
            unsafe { std::ptr::copy_nonoverlapping(recorded.image[range.clone()].as_ptr(), to, range.len()) };
        }
        let out = match &instance.kernargs {
            // SAFETY: as above; the host memory is ours alone until the packets are published.
            Some(block) => unsafe { std::slice::from_raw_parts_mut(block.address(), recorded.image.len()) },
            None => &mut [],
        };
        for patch in patches {
            patch.apply(&self.agent, &recorded.kernels, out)?;
            instance.patched.push(patch.kernel());
        }
        Ok(())
    }
}

/// Barrier packets that end a request on its last queue, among `parts`.
fn joins(parts: usize) -> usize {
    (parts - 1).div_ceil(BARRIER_DEPENDENCIES).max(1)
}

/// Room that was set aside and not used yet: given back when dropped.
struct Room<'a> {
    ring: &'a Ring<HsaPort>,
    left: u64,
}

impl Room<'_> {
    fn take(&mut self, count: u64) -> u64 {
        self.left -= count;
        self.ring.reserve_promised(count)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.left > 0 {
            self.ring.give_back(self.left);
        }
    }
}

/// A part on its way into its queue.
struct Lane<'a> {
    queue: &'a Arc<QueueState>,
    room: Room<'a>,
    /// Set aside for the barriers in front of it.
    front: Option<(Room<'a>, SlotClaim<'a>)>,
    claim: Option<SlotClaim<'a>>,
    signal: u64,
    acquire: FenceScope,
    host_writes: u64,
    start: Option<u64>,
    /// Set when its end is published.
    place: Place,
}

/// Submits the whole request, or nothing of it.
pub(crate) fn try_submit(
    request: &Arc<Request>,
    queues: &[Queue],
    after: &[Token],
    patches: &[Patch],
) -> Result<Token> {
    let failures = request.agent.runtime().failures().count();
    let recorded = &request.recorded;
    let mut lanes: [Option<Lane<'_>>; MAX_PARTS] = [const { None }; MAX_PARTS];
    for (number, part) in recorded.parts.iter().enumerate() {
        let queue = queues.get(part.queue).map(Queue::state).ok_or_else(|| {
            Error::Invalid(format!(
                "the recording uses queue {}, but {} were given (counted from 0)",
                part.queue,
                queues.len()
            ))
        })?;
        let twice = lanes[..number].iter().flatten().any(|lane| Arc::ptr_eq(lane.queue, queue));
        if twice {
            return Err(Error::Invalid(format!("{} stands for two queues of the recording", queue.label())));
        }
        if part.is_root {
            after.iter().try_for_each(|token| token.check_visible_to(queue))?;
        }
        let front = if part.is_root { front(after)? } else { 0 };
        lanes[number] = Some(open(request, number, queue, front)?);
    }
    let mut instance = request.instance(&lanes)?;
    let lanes = &mut lanes[..recorded.parts.len()];
    let submitted = send(request, lanes, &mut instance, queues, after, patches);
    request.put_back(instance);
    // What was lost meanwhile must not be overlooked, whether all of the request was submitted or some of what is in front of it.
    fence(Ordering::SeqCst);
    lanes.iter().flatten().for_each(|lane| lane.queue.note_waiting(failures));
    submitted
}

/// The most barrier packets, and a marker, that it takes to wait for these.
fn front(after: &[Token]) -> Result<u64> {
    let mut pending = 0;
    for token in after {
        pending += usize::from(token.status()? == Status::Pending);
    }
    Ok(if pending == 0 { 0 } else { pending.div_ceil(BARRIER_DEPENDENCIES) as u64 + 1 })
}

/// Takes everything that a part needs and that can be given back. `front` are the packets in front of it.
fn open<'a>(request: &Request, number: usize, queue: &'a Arc<QueueState>, front: u64) -> Result<Lane<'a>> {
    if let Some(failure) = queue.failure() {
        return Err(failure.into());
    }
    let parts = queue.parts();
    if !parts.agent.is(&request.agent) {
        return Err(Error::WrongAgent {
            what: "the recording",
            made_for: request.agent.to_string(),
            used_on: parts.agent.to_string(),
        });
    }
    let PacketRing::Own(ring) = queue.ring() else {
        return Err(Error::Invalid(format!(
            "{} is an adopted queue: others write to it, so room for a whole request cannot be set aside",
            queue.label()
        )));
    };
    let (share, size) = (request.share(number), u64::from(ring.size()));
    let promise = |count| {
        ring.promise(count).map_err(|refused| match refused {
            Refused::Full => queue.full("room for the whole request"),
            Refused::TooLarge => Error::TooLarge { what: "packets", asked: share, limit: size },
        })?;
        Ok::<_, Error>(Room { ring, left: count })
    };
    let room = promise(share)?;
    let mut claim = queue.claim()?;
    let front = if front > 0 {
        if share == size {
            return Err(queue.full("room for the whole request and what it waits for"));
        }
        Some((promise(front.min(size - share))?, queue.claim()?))
    } else {
        None
    };
    let kind = if number == request.recorded.last { Use::Interrupt } else { Use::Polled };
    let signal = claim.signal().prepare(&parts.agent, kind)?.handle();
    let owner = &request.owners[number];
    // Only the last part ends with a release for the host: what the others use may come back before that.
    let last = number == request.recorded.last;
    let visibility = if last { Visibility::System } else { Visibility::Agent };
    claim.cargo(|hold| {
        hold.program = Some(owner.enter(visibility)?);
        Ok::<_, Error>(())
    })?;
    Ok(Lane {
        queue,
        room,
        front,
        claim: Some(claim),
        signal,
        acquire: FenceScope::Agent,
        host_writes: 0,
        start: None,
        place: Place { start: 0, end: 0, proves: 0 },
    })
}

fn send(
    request: &Arc<Request>,
    lanes: &mut [Option<Lane<'_>>],
    shared: &mut Arc<Instance>,
    queues: &[Queue],
    after: &[Token],
    patches: &[Patch],
) -> Result<Token> {
    let recorded = &request.recorded;
    let instance = Arc::get_mut(shared).expect("an instance that is not in flight has one handle");
    request.arguments(instance, patches)?;
    for patch in patches {
        let part = || recorded.part_of[patch.kernel()];
        if let Arg::Buffer(buffer) = patch.value()
            && let Some(lane) = &mut lanes[part()]
            && let Some(claim) = &mut lane.claim
        {
            // Entered one by one into the hold, which gives back what it has if a later one is refused.
            buffer.block.enter()?;
            if part() != recorded.last {
                // As in `open`.
                buffer.block.note_unflushed();
            }
            claim.cargo(|hold| {
                hold.more().buffers.push(buffer.clone());
            });
        }
    }
    // After all buffers were taken: what the host wrote into them is counted.
    let host_writes = request.agent.host_writes();
    for lane in lanes.iter_mut().flatten() {
        lane.host_writes = host_writes;
        // Acquire: pairs with the release in `end` and in `submit`; whoever acquired reserved his slots in front of ours.
        if lane.queue.acquired().load(Ordering::Acquire) < host_writes {
            lane.acquire = FenceScope::System;
        }
    }
    let mut waits = false;
    for token in after {
        waits |= token.status()? == Status::Pending;
        if !token.queue().parts().agent.is(&request.agent) {
            // What another GPU wrote is acquired even where there is nothing to wait for.
            lanes.iter_mut().flatten().for_each(|lane| lane.acquire = FenceScope::System);
        }
    }
    if waits {
        // In front of each part that begins by itself. There is room for all of them; if somebody else takes it in the moment between
        // giving it back and using it, the earlier ones hold up what comes after them for what the caller waits for anyway.
        for (part, lane) in recorded.parts.iter().zip(&mut *lanes).filter(|(part, _)| part.is_root) {
            let queue = queues[part.queue].state();
            lane.iter_mut().for_each(|lane| drop(lane.front.take()));
            let order = Order { after, visibility: Visibility::Queue, ..Order::new(&queue.parts().empty) };
            submit_group(queue, &order)?;
        }
    }

    // From here on nothing fails.
    for (signal, &count) in instance.signals.iter().zip(&recorded.signals) {
        signal.arm(count);
    }
    let instance = shared.clone();
    for segment in &recorded.segments {
        let Some(lane) = &mut lanes[segment.part] else { continue };
        let range = segment.start..segment.end;
        let count = range.len() as u64;
        let first_kernel = recorded.parts[segment.part].kernels.first().copied();
        let bodies = &instance.bodies[segment.part][range.clone()];
        let firsts = &recorded.parts[segment.part].firsts[range.clone()];
        let acquire = lane.acquire;
        let start = lane.room.take(count);
        lane.start.get_or_insert(start);
        lane.room.ring.fill(start, count, |slots| {
            slots.bodies(0, bodies);
            for (offset, &first) in firsts.iter().enumerate() {
                let is_first = Some(range.start + offset) == first_kernel;
                let first = if is_first { first & !(3 << 9) | (acquire as u32) << 9 } else { first };
                slots.first(offset, first);
            }
        });
    }
    let last = recorded.last;
    let mut signals = [0; MAX_PARTS];
    let mut others = 0;
    for lane in lanes
        .iter_mut()
        .enumerate()
        .filter(|(number, _)| *number != last)
        .filter_map(|(_, lane)| lane.as_mut())
    {
        end(lane, &[], FenceScope::Agent);
        signals[others] = lane.signal;
        others += 1;
    }
    if let Some(lane) = &mut lanes[last] {
        end(lane, &signals[..others], FenceScope::System);
    }

    // Everything is published. Each part shares the fate of those that it waits for; the last one's barrier names the others' signals, so it
    // pins their slots.
    let mut tickets: [Option<(Arc<QueueState>, Ticket)>; MAX_PARTS] = [const { None }; MAX_PARTS];
    for (ticket, lane) in tickets.iter_mut().zip(lanes.iter()) {
        *ticket = lane
            .as_ref()
            .and_then(|lane| Some((lane.queue.clone(), lane.claim.as_ref()?.ticket(lane.place))));
    }
    // The last one comes last: when it is over it unpins the others, which are pinned when they are launched.
    let order = (0..lanes.len()).filter(|&number| number != last).chain([last]);
    for number in order {
        let Some(lane) = &mut lanes[number] else { continue };
        let Some(mut claim) = lane.claim.take() else { continue };
        claim.cargo(|hold| {
            let hold = hold.more();
            hold.other = Some(instance.clone());
            for (queue, ticket) in
                recorded.parts[number].waits_for.iter().filter_map(|&part| tickets[part].as_ref())
            {
                hold.fate.push(Awaited::new(queue, *ticket));
            }
            if number == last {
                let others = tickets.iter().enumerate().filter(|(other, _)| *other != last);
                for (queue, ticket) in others.filter_map(|(_, ticket)| ticket.as_ref()) {
                    let stamp = queue.stamp(ticket.place);
                    let dep = Dep { stamp, pending: true, elsewhere: false };
                    let pin = Some(Pin::new(queue.clone(), *ticket));
                    hold.waits.push(Wait { pin, signal: 0, dep });
                }
            }
        });
        // While the slot is ours.
        lane.queue.count(&request.counts[number]);
        if number == last {
            claim.launch(lane.place, false, &Clock::default());
        } else {
            claim.launch_pinned(lane.place, &Clock::default());
        }
        lane.queue.note_marked(lane.place, false);
    }
    let (queue, ticket) = tickets[last].take().expect("a request has a last queue");
    Ok(Token::new(queue, ticket, Visibility::System, None))
}

/// Publishes the end of a part: a barrier packet behind all of it, after `waits`.
fn end(lane: &mut Lane<'_>, waits: &[u64], release: FenceScope) {
    if let Some(signal) = lane.claim.as_ref().and_then(|claim| claim.signal().current()) {
        signal.arm(1);
    }
    let count = lane.room.left;
    let start = lane.room.take(count);
    let packet = |offset: u64| {
        let is_last = offset == count - 1;
        let five = waits.chunks(BARRIER_DEPENDENCIES).nth(offset as usize).unwrap_or_default();
        let mut fields =
            Barrier { completion_signal: if is_last { lane.signal } else { 0 }, ..Default::default() };
        fields.dependencies[..five.len()].copy_from_slice(five);
        let mut header = Header::new(PacketKind::BarrierAnd);
        if is_last {
            header = Header { barrier: true, acquire: FenceScope::Agent, release, ..header };
        }
        Packet::barrier(header, &fields)
    };
    lane.room.ring.fill(start, count, |slots| {
        (0..count).for_each(|offset| slots.body(offset as usize, &packet(offset)));
        (0..count).for_each(|offset| slots.first(offset as usize, packet(offset).dwords()[0]));
    });
    let base = lane.queue.lane().base;
    let position = base + start + count - 1;
    lane.queue.clock().raise_barrier(position + 1);
    if lane.acquire == FenceScope::System {
        // Release: pairs with the acquire in `send` and in `submit`, in a producer that reserves its slots behind ours.
        lane.queue.acquired().fetch_max(lane.host_writes, Ordering::Release);
    }
    lane.place = Place { start: base + lane.start.unwrap_or(start), end: position, proves: position };
}

/// As [`try_submit`], waiting for room. No lock is held while waiting.
pub(crate) fn submit(
    request: &Arc<Request>,
    queues: &[Queue],
    after: &[Token],
    patches: &[Patch],
    timeout: Duration,
) -> Result<Token> {
    patience(timeout, || try_submit(request, queues, after, patches))
}
