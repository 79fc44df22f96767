//! The command processor: packets, pipes, hardware queues and CU masks.
//!
//! A queue's packets are looked at in order. Reading one takes its pipe's time; a pipe reads no other packet until all workgroups
//! of the kernel it offers are placed. Queues beyond the hardware's number take turns.

use std::collections::VecDeque;
use std::sync::Arc;

use super::run::Run;
use super::timer::Timer;
use super::{Event, EventKind, Gpu, PacketId, QueueId};
use crate::error::ModelError;
use crate::kernel::{Cost, Kernel};
use crate::mask::Mask;

/// What a packet waits for, besides its place in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Starts although earlier packets of its queue still run (no barrier bit).
    pub overlap: bool,
    /// Waits until [`Gpu::release`].
    pub held: bool,
    /// Packets, of any queue, that must have ended. Ids that are not in flight count as ended.
    pub after: Vec<PacketId>,
}

#[derive(Debug)]
pub(crate) struct Packet {
    id: PacketId,
    /// `None`: a barrier-AND.
    kernel: Option<(Arc<Kernel>, Cost)>,
    overlap: bool,
    held: bool,
    unmet: u32,
    submitted: f64,
    /// When the last thing that it waited for ended.
    met: f64,
}

/// A packet between submission and end.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    queue: usize,
    /// Queues with packets that wait for it.
    waiters: Vec<(usize, PacketId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// A timer will look again.
    Pausing,
    WaitsForPipe,
    Reading,
}

/// A pipe reads one packet, or offers one kernel, at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipe {
    busy: bool,
    /// The kernel that it offers.
    run: Option<usize>,
    waiters: VecDeque<usize>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    alive: bool,
    mask: Mask,
    packets: VecDeque<Packet>,
    /// Kernels that have started and not ended.
    running: u32,
    last_end: f64,
    pipe: usize,
    phase: Phase,
    /// Changes of masks that keep it off the hardware.
    stops: u32,
    mapped: bool,
}

impl Queue {
    fn is_active(&self) -> bool {
        !self.packets.is_empty() || self.running > 0
    }

    fn can_run(&self) -> bool {
        self.alive && self.mapped && self.stops == 0
    }
}

impl Gpu {
    pub(super) fn run(&self, slot: usize) -> &Run {
        self.runs[slot].as_ref().expect("the kernel is in flight")
    }

    pub(super) fn run_mut(&mut self, slot: usize) -> &mut Run {
        self.runs[slot].as_mut().expect("the kernel is in flight")
    }

    fn index(&self, queue: QueueId) -> Result<usize, ModelError> {
        let index = queue.0 as usize;
        if self.queues.get(index).is_some_and(|queue| queue.alive) {
            Ok(index)
        } else {
            Err(ModelError::NoQueue(queue.0))
        }
    }

    /// A new queue whose kernels use the CUs of `mask`. Queues are spread over the pipes in turn.
    pub fn add_queue(&mut self, mask: Mask) -> QueueId {
        self.classify(&mask);
        let index = self.queues.len();
        self.queues.push(Queue {
            alive: true,
            mask,
            packets: VecDeque::new(),
            running: 0,
            last_end: f64::NEG_INFINITY,
            pipe: index % self.pipes.len(),
            phase: Phase::Idle,
            stops: 0,
            mapped: false,
        });
        QueueId(index as u32)
    }

    /// Removes a queue. What it had in flight is lost: it stops at once, never ends, and is returned in order of submission.
    pub fn remove_queue(&mut self, queue: QueueId) -> Result<Vec<PacketId>, ModelError> {
        let index = self.index(queue)?;
        self.settle();
        self.take_off(index);
        let mut lost: Vec<PacketId> = self.queues[index].packets.drain(..).map(|packet| packet.id).collect();
        for slot in 0..self.runs.len() {
            if self.runs[slot].as_ref().is_some_and(|run| run.queue == index) {
                self.offered.retain(|&other| other != slot);
                self.timers.forget(|timer| timer == Timer::Offer(slot) || timer == Timer::End(slot));
                lost.extend(self.runs[slot].take().map(|run| run.packet));
                self.free_runs.push(slot);
            }
        }
        self.timers.forget(|timer| {
            [Timer::Queue(index), Timer::Packet(index), Timer::Resume(index), Timer::Mapped(index)]
                .contains(&timer)
        });
        let reading = self.queues[index].phase == Phase::Reading;
        self.queues[index].alive = false;
        self.queues[index].running = 0;
        self.queues[index].phase = Phase::Idle;
        self.pipes[self.queues[index].pipe].waiters.retain(|&waiter| waiter != index);
        if reading {
            self.free_pipe(self.queues[index].pipe);
        }
        self.deactivate(index);
        lost.sort();
        for packet in &lost {
            self.flights.remove(packet);
        }
        Ok(lost)
    }

    /// Puts a kernel into a queue at this moment.
    pub fn submit(
        &mut self,
        queue: QueueId,
        kernel: &Arc<Kernel>,
        order: &Order,
    ) -> Result<PacketId, ModelError> {
        let index = self.index(queue)?;
        let cost = kernel.cost(&self.device)?;
        Ok(self.enqueue(index, Some((kernel.clone(), cost)), order))
    }

    /// Puts a barrier-AND packet into a queue at this moment: what follows waits for what `order` names.
    pub fn submit_barrier(&mut self, queue: QueueId, order: &Order) -> Result<PacketId, ModelError> {
        let index = self.index(queue)?;
        Ok(self.enqueue(index, None, order))
    }

    fn enqueue(&mut self, index: usize, kernel: Option<(Arc<Kernel>, Cost)>, order: &Order) -> PacketId {
        let id = PacketId(self.next_packet);
        self.next_packet += 1;
        let mut unmet = 0;
        for before in &order.after {
            if let Some(flight) = self.flights.get_mut(before) {
                flight.waiters.push((index, id));
                unmet += 1;
            }
        }
        self.flights.insert(id, Flight { queue: index, waiters: Vec::new() });
        let (overlap, held, submitted) = (order.overlap, order.held, self.now);
        let packet = Packet { id, kernel, overlap, held, unmet, submitted, met: f64::NEG_INFINITY };
        let was_active = self.queues[index].is_active();
        self.queues[index].packets.push_back(packet);
        if !was_active {
            self.activate(index);
        }
        self.look(index);
        id
    }

    /// Lets a held packet go on.
    pub fn release(&mut self, packet: PacketId) -> Result<(), ModelError> {
        let now = self.now;
        let queue = self.flights.get(&packet).map(|flight| flight.queue);
        let found = queue.and_then(|queue| {
            self.queues[queue]
                .packets
                .iter_mut()
                .find(|other| other.id == packet)
                .map(|packet| (queue, packet))
        });
        let (queue, packet) = found.ok_or(ModelError::NoPacket(packet.0))?;
        packet.held = false;
        packet.met = now;
        self.look(queue);
        Ok(())
    }

    /// A pause is over.
    pub(super) fn look_again(&mut self, index: usize) {
        self.queues[index].phase = Phase::Idle;
        self.look(index);
    }

    /// The command processor looks at a queue's first packet.
    pub(super) fn look(&mut self, index: usize) {
        let cp = &self.device.cp;
        let queue = &mut self.queues[index];
        let Some(packet) = queue.packets.front() else { return };
        let waits = packet.held || packet.unmet > 0 || (!packet.overlap && queue.running > 0);
        if queue.phase != Phase::Idle || waits || !queue.can_run() {
            return;
        }
        let mut ready = packet.submitted;
        if !packet.overlap && queue.last_end >= packet.submitted {
            ready = ready.max(queue.last_end + cp.dependent_ns.value);
        }
        if packet.met >= packet.submitted {
            ready = ready.max(packet.met + cp.barrier_ns.value);
        }
        if ready > self.now {
            queue.phase = Phase::Pausing;
            self.timers.set(ready, Timer::Queue(index));
            return;
        }
        let pipe = queue.pipe;
        if self.pipes[pipe].busy {
            queue.phase = Phase::WaitsForPipe;
            self.pipes[pipe].waiters.push_back(index);
        } else {
            self.read(index);
        }
    }

    fn read(&mut self, index: usize) {
        let pipe = self.queues[index].pipe;
        self.pipes[pipe].busy = true;
        self.queues[index].phase = Phase::Reading;
        self.timers.set(self.now + self.device.cp.packet_ns.value, Timer::Packet(index));
    }

    fn free_pipe(&mut self, pipe: usize) {
        self.pipes[pipe].busy = false;
        self.pipes[pipe].run = None;
        while let Some(next) = self.pipes[pipe].waiters.pop_front() {
            self.queues[next].phase = Phase::Idle;
            self.look(next);
            if self.pipes[pipe].busy {
                return;
            }
        }
    }

    pub(super) fn release_pipe_of(&mut self, slot: usize) {
        if let Some(pipe) = self.pipes.iter().position(|pipe| pipe.run == Some(slot)) {
            self.free_pipe(pipe);
        }
    }

    pub(super) fn packet_read(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        queue.phase = Phase::Idle;
        let pipe = queue.pipe;
        let packet = queue.packets.pop_front().expect("the packet that was read");
        let Some((kernel, cost)) = packet.kernel else {
            queue.last_end = self.now;
            self.free_pipe(pipe);
            self.tell(packet.id, index, EventKind::Ended);
            self.ended(packet.id);
            self.after_packet(index);
            return;
        };
        queue.running += 1;
        let stopped = !queue.can_run();
        let mut run = Run::new(&self.device, packet.id, index, kernel, cost, queue.mask.clone());
        run.turn = self.turn % run.mask.engines().len();
        run.stopped = stopped;
        let launch = run.launch_ns;
        let slot = match self.free_runs.pop() {
            Some(slot) => {
                self.runs[slot] = Some(run);
                slot
            }
            None => {
                self.runs.push(Some(run));
                self.runs.len() - 1
            }
        };
        self.pipes[pipe].run = Some(slot);
        self.tell(packet.id, index, EventKind::Started);
        self.timers.set(self.now + launch, Timer::Offer(slot));
        self.look(index);
    }

    pub(super) fn offer(&mut self, slot: usize) {
        self.run_mut(slot).offered = true;
        self.offered.push(slot);
        self.dispatch_wanted = true;
    }

    pub(super) fn kernel_ended(&mut self, slot: usize) {
        let run = self.runs[slot].take().expect("the kernel that ends");
        self.free_runs.push(slot);
        let queue = &mut self.queues[run.queue];
        queue.running -= 1;
        queue.last_end = self.now;
        self.tell(run.packet, run.queue, EventKind::Ended);
        self.ended(run.packet);
        self.after_packet(run.queue);
    }

    fn tell(&mut self, packet: PacketId, queue: usize, kind: EventKind) {
        self.events.push_back(Event { time: self.now, packet, queue: QueueId(queue as u32), kind });
    }

    fn after_packet(&mut self, index: usize) {
        if self.queues[index].is_active() {
            self.look(index);
        } else {
            self.deactivate(index);
        }
    }

    /// Tells those that waited for it.
    fn ended(&mut self, packet: PacketId) {
        let Some(flight) = self.flights.remove(&packet) else { return };
        for (queue, waiter) in flight.waiters {
            let now = self.now;
            if let Some(packet) = self.queues[queue].packets.iter_mut().find(|packet| packet.id == waiter) {
                packet.unmet -= 1;
                packet.met = now;
                self.look(queue);
            }
        }
    }

    /// Saves the queue's workgroups and takes them off the CUs.
    fn take_off(&mut self, index: usize) {
        for slot in 0..self.runs.len() {
            if self.runs[slot].as_ref().is_none_or(|run| run.queue != index || run.stopped) {
                continue;
            }
            if self.run(slot).stream.is_some() {
                self.end_stream(slot);
            }
            self.run_mut(slot).stopped = true;
            if self.run(slot).resident > 0 {
                for cu in 0..self.cus.len() {
                    while let Some(place) = self.cus[cu].cohorts.iter().position(|cohort| cohort.run == slot)
                    {
                        self.cus[cu].progress(self.now);
                        let count = self.cus[cu].count();
                        let cohort = self.remove_cohort(cu, place);
                        self.run_mut(slot).put_back(count * u64::from(cohort.n), cohort.done.min(1.0));
                    }
                }
                if !self.offered.contains(&slot) {
                    self.offered.push(slot);
                    self.offered.sort_by_key(|&slot| self.runs[slot].as_ref().map(|run| run.packet));
                }
            }
            self.release_pipe_of(slot);
        }
        self.dispatch_wanted = true;
    }

    fn put_on(&mut self, index: usize) {
        if !self.queues[index].can_run() {
            return;
        }
        for run in self.runs.iter_mut().flatten().filter(|run| run.queue == index) {
            run.stopped = false;
            run.looked = false;
        }
        self.dispatch_wanted = true;
        self.look(index);
    }

    /// Changes a queue's mask, as SET_CU_MASK does: its waves are saved and go on under the new mask. Queues stand still for
    /// the time that the driver takes, all of them or only this one as the device says. Returns for how long, in ns from
    /// now, the caller waits; the driver sets one mask at a time.
    pub fn set_mask(&mut self, queue: QueueId, mask: Mask) -> Result<f64, ModelError> {
        let index = self.index(queue)?;
        self.classify(&mask);
        self.settle();
        let (least, most) = (self.device.cp.mask_min_ns.value, self.device.cp.mask_max_ns.value);
        let cost = least + (most - least) * self.random.f64();
        let until = self.mask_free.max(self.now) + cost;
        self.mask_free = until;
        let all = self.device.cp.mask_stops_all.value != 0.0;
        for other in 0..self.queues.len() {
            if self.queues[other].alive && (all || other == index) {
                self.take_off(other);
                self.queues[other].stops += 1;
                self.timers.set(until, Timer::Resume(other));
            }
        }
        for run in self.runs.iter_mut().flatten().filter(|run| run.queue == index) {
            run.mask = mask.clone();
            run.turn = 0;
            run.filled = false;
        }
        self.queues[index].mask = mask;
        Ok(until - self.now)
    }

    pub(super) fn resume(&mut self, index: usize) {
        self.queues[index].stops -= 1;
        self.put_on(index);
    }

    fn activate(&mut self, index: usize) {
        if self.mapped.len() < self.device.shape.hw_queues.value as usize {
            self.mapped.push_back(index);
            self.queues[index].mapped = true;
        } else {
            self.unmapped.push_back(index);
            self.arm_quantum();
        }
    }

    fn arm_quantum(&mut self) {
        if !self.quantum_armed {
            self.quantum_armed = true;
            self.timers.set(self.now + self.device.cp.quantum_ns.value, Timer::Quantum);
        }
    }

    /// An idle queue makes way for one that waits.
    fn deactivate(&mut self, index: usize) {
        self.unmapped.retain(|&other| other != index);
        self.queues[index].mapped = false;
        if let Some(place) = self.mapped.iter().position(|&other| other == index) {
            self.mapped.remove(place);
            self.map_next();
        }
    }

    fn map_next(&mut self) {
        if let Some(next) = self.unmapped.pop_front() {
            self.mapped.push_back(next);
            self.timers.set(self.now + self.device.cp.switch_ns.value, Timer::Mapped(next));
        }
    }

    pub(super) fn map(&mut self, index: usize) {
        self.queues[index].mapped = self.mapped.contains(&index);
        self.put_on(index);
    }

    /// Queues that have been on the hardware longest make way for those that wait.
    pub(super) fn quantum(&mut self) {
        self.quantum_armed = false;
        if self.unmapped.is_empty() {
            return;
        }
        let leaving = self.unmapped.len().min(self.mapped.len());
        let gone: Vec<usize> = self.mapped.drain(..leaving).collect();
        for &index in &gone {
            self.queues[index].mapped = false;
            self.take_off(index);
        }
        for _ in 0..leaving {
            self.map_next();
        }
        self.unmapped.extend(gone);
        self.arm_quantum();
    }
}
