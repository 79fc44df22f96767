//! The command processor's thread: its loop over queues, events, dispatches and commands.
//!
//! All state is owned by this thread; other threads reach it through commands. In each turn the GPU clock is held while
//! queues are looked at and due events handled, then allowed up to the next thing that can happen: the next event, or the
//! horizon of a running dispatch. With nothing to do the thread sleeps, twice as long each time, until a command, the next
//! event, or a look at the doorbells is due.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

mod commands;
mod failure;

use failure::exec_fault;

use super::Modes;
use super::aql::QueueError;
use super::common::{Common, Device, Stop, What};
use super::dispatch::{Machine, Slice};
use super::inbox::{Command, Inbox};
use super::kernel::MakeWorkgroup;
use super::queue::{Body, Queue};
use super::turns::Turns;
use crate::device::DeviceSpec;
use crate::journal::Event;

/// Wave-instructions between two looks at doorbells and commands.
const SLICE_BUDGET: u64 = 4096;
/// How far, in GPU ns, execution may run ahead of the clock: a kernel that waits for the host must not get far ahead.
const LEAD: u64 = 2_000_000;
/// First and longest sleep while idle.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);
/// No queue has this id.
const NOBODY: u32 = 0;
/// Waits shorter than this are spun: the kernel does not wake a thread more exactly.
const SPIN: Duration = Duration::from_micros(60);

/// The device's queues and everything else of it.
pub(crate) struct Processor {
    spec: Arc<DeviceSpec>,
    device: Device,
    make: Arc<MakeWorkgroup>,
    queues: BTreeMap<u32, Queue>,
    last_id: u32,
    /// A memory fault took all queues off the hardware.
    evicted: bool,
    /// Who has the hardware queues that several share.
    turns: Turns,
    stepping: bool,
}

impl Processor {
    pub fn new(spec: Arc<DeviceSpec>, device: Device, make: Arc<MakeWorkgroup>, modes: Modes) -> Self {
        let (queues, turns) = Default::default();
        let mut new = Self { spec, device, make, queues, last_id: 0, evicted: false, turns, stepping: false };
        new.set_memory_model(modes.memory);
        new.set_races(modes.races);
        (new.device.tracing, new.stepping) = (modes.tracing, modes.stepping);
        new
    }

    /// Runs until told to stop.
    pub fn run(mut self, inbox: &Inbox) {
        let mut sleep = SHORTEST_SLEEP;
        loop {
            let mut busy = false;
            while let Some((command, reply)) = inbox.take() {
                if matches!(command, Command::Stop) {
                    self.device.clock.set_limit(u64::MAX);
                    reply.send(Ok(0));
                    return;
                }
                busy = true;
                let (answer, stops) = self.command(command);
                for (id, stop) in stops {
                    self.fail(id, stop);
                }
                reply.send(answer);
            }
            busy |= self.look(busy);
            if self.execute() {
                sleep = SHORTEST_SLEEP;
                continue;
            }
            sleep = if busy { SHORTEST_SLEEP } else { (sleep * 2).min(LONGEST_SLEEP) };
            let due = self.next_due().map_or(Duration::MAX, |at| self.device.clock.until(at));
            if due < SPIN {
                std::hint::spin_loop();
            } else {
                inbox.wait(sleep.min(due - SPIN / 2));
            }
        }
    }

    /// Polls doorbells, handles due events, moves queues. Returns whether anything moved.
    fn look(&mut self, commanded: bool) -> bool {
        let (mut rung, mut moved) = (false, false);
        let mut stops = Vec::new();
        for (&id, queue) in &mut self.queues {
            if queue.common.rung() && !queue.common.failed {
                rung = true;
                self.device.with_record(|r| r.queue(id).doorbells += 1);
                match queue.common.read_write_index(&self.device.mem) {
                    Ok(()) => queue.published(&self.device),
                    Err(stop) => stops.push((id, stop)),
                }
                stops.extend(self.device.mem.take_lost().map(|fault| (id, Stop::Memory(fault))));
            }
        }
        for (id, stop) in stops {
            self.fail(id, stop);
        }
        let now = self.device.clock.now_ns();
        moved |= self.take_turns(now);
        let due = self.device.events.peek().is_some_and(|Reverse(event)| event.at <= now);
        if !(rung || due || commanded || moved || self.queues.values().any(Queue::wants_attention)) {
            return false;
        }
        // Held until the new limit is known, so that nothing is worked out after its time has passed.
        self.device.clock.set_limit(0);
        let now = self.device.clock.now_ns();
        moved |= self.step_all(now);
        while let Some(&Reverse(event)) = self.device.events.peek().filter(|Reverse(event)| event.at <= now) {
            self.device.events.pop();
            moved = true;
            let Some(queue) = self.queues.get_mut(&event.queue) else { continue };
            if let Err(stop) = queue.event(&mut self.device, event.what, event.at) {
                self.fail(event.queue, stop);
            }
            self.check_lost(event.queue);
            self.take_turns(now);
            self.step_all(now);
        }
        self.update_limit();
        self.forget_ordered();
        moved
    }

    /// Hands the hardware queues on that several queues share.
    fn take_turns(&mut self, now: u64) -> bool {
        if !self.turns.shared() {
            return false;
        }
        let host = now + self.device.clock.stall_ns();
        let changes = self.turns.pass(host, |id| {
            self.queues.get(&id).is_some_and(|q| q.has_work() && !q.common.paused_otherwise())
        });
        for &(id, has_turn) in &changes.queues {
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            pause(queue, &mut self.device, |common| common.off_turn = !has_turn);
            if has_turn {
                self.device.with_record(|r| r.queue(id).turns += 1);
                continue;
            }
            let Device { dispatches, dispatcher, .. } = &mut self.device;
            dispatches.values_mut().filter(|d| d.queue == id).for_each(|d| d.pause(dispatcher, now));
        }
        if let Some(at) = changes.next_ns {
            // Nobody's event: it only lets the clock and this thread come back in time.
            self.device.schedule(now + at.saturating_sub(host), NOBODY, What::Wake);
        }
        !changes.queues.is_empty()
    }

    /// Memory that its owner took away while a packet used it: a memory fault of that queue.
    fn check_lost(&mut self, queue: u32) {
        if let Some(fault) = self.device.mem.take_lost() {
            self.fail(queue, Stop::Memory(fault));
        }
    }

    /// Race detection: what comes after a quiet moment is ordered behind all that was before.
    fn forget_ordered(&mut self) {
        if let Some(races) = &mut self.device.races
            && self.device.dispatches.is_empty()
            && self.queues.values().all(|q| q.common.failed || !q.has_work())
        {
            races.quiet();
        }
    }

    fn step_all(&mut self, now: u64) -> bool {
        let mut moved = false;
        let mut stops = Vec::new();
        for (&id, queue) in &mut self.queues {
            match queue.step(&mut self.device, now) {
                Ok(m) => moved |= m,
                Err(stop) => stops.push((id, stop)),
            }
            if let Some(fault) = self.device.mem.take_lost() {
                stops.push((id, Stop::Memory(fault)));
            }
        }
        for (id, stop) in stops {
            self.fail(id, stop);
        }
        moved
    }

    fn paused(&self, queue: u32) -> bool {
        self.queues.get(&queue).is_none_or(|q| q.common.paused())
    }

    /// GPU time of the next thing that can happen.
    fn update_limit(&mut self) {
        let event = self.device.events.peek().map(|Reverse(event)| event.at);
        let running = self.device.dispatches.values().filter(|d| !d.idle).map(|d| d.horizon());
        let limit = running.chain(event).min().unwrap_or(u64::MAX);
        self.device.clock.set_limit(limit);
    }

    /// GPU time at which the thread must be back at work.
    fn next_due(&self) -> Option<u64> {
        let event = self.device.events.peek().map(|Reverse(event)| event.at);
        let running = self.device.dispatches.values().filter(|d| !d.idle);
        running.map(|d| d.horizon().saturating_sub(LEAD)).chain(event).min()
    }

    /// Executes a slice of the dispatch that is furthest behind. Returns whether anything was executed.
    fn execute(&mut self) -> bool {
        let now = self.device.clock.now_ns();
        let mut order: Vec<(u64, u64)> =
            self.device.dispatches.iter().map(|(&key, d)| (d.horizon(), key)).collect();
        order.sort_unstable();
        let waiting = self.place_by_priority();
        for (_, key) in order {
            let queue = self.device.dispatches[&key].queue;
            let paused = self.paused(queue);
            let may_place = waiting.is_none_or(|priority| self.priority(queue) >= priority);
            let Device { dispatches, mem, l2, crew, dispatcher, clock, model, interrupts, tracing, .. } =
                &mut self.device;
            let dispatch = dispatches.get_mut(&key).expect("just listed");
            if paused {
                dispatch.pause(dispatcher, now);
                continue;
            }
            dispatch.catch_up(now);
            if dispatch.horizon() > now + LEAD {
                continue;
            }
            let mut machine = Machine {
                mem,
                l2: l2.as_mut(),
                crew,
                dispatcher,
                clock,
                model: &**model,
                make: &*self.make,
                may_place,
                tracing: *tracing,
                interrupts: &**interrupts,
            };
            let before = dispatch.instructions();
            // A panic in there is a bug of the simulator; the queue stops with an error and nothing hangs.
            let slice =
                std::panic::catch_unwind(AssertUnwindSafe(|| dispatch.slice(&mut machine, SLICE_BUDGET)));
            let executed = dispatch.instructions() - before;
            self.device.with_record(|r| r.stats.instructions += executed);
            if let Some(fault) = self.device.mem.take_lost() {
                self.fail(queue, Stop::Memory(fault));
                self.update_limit();
                return true;
            }
            match slice {
                Ok(Slice::Running) => {}
                Ok(Slice::Blocked) => {
                    let dispatch = self.device.dispatches.get_mut(&key).expect("just listed");
                    dispatch.idle = true;
                    if executed == 0 {
                        continue;
                    }
                }
                Ok(Slice::Finished) => self.finish(key, now),
                Ok(Slice::Fault(fault)) => self.fail(queue, exec_fault(fault)),
                Err(_) => {
                    let what = "the instruction interpreter panicked: a bug of the simulator";
                    self.fail(queue, Stop::Error(QueueError::Trap, what.into()));
                }
            }
            self.update_limit();
            return true;
        }
        self.update_limit();
        false
    }

    fn priority(&self, queue: u32) -> u32 {
        self.queues.get(&queue).map_or(0, |q| q.common.desc.priority)
    }

    /// Where queues of different priorities run: gives room on the compute units to the highest first. Returns the highest priority that
    /// still waits for room.
    fn place_by_priority(&mut self) -> Option<u32> {
        let mut order: Vec<(Reverse<u32>, u64)> = (self.device.dispatches.iter())
            .filter(|(_, d)| d.waits_for_room() && !self.paused(d.queue))
            .map(|(&key, d)| (Reverse(self.priority(d.queue)), key))
            .collect();
        order.sort_unstable();
        let (Reverse(highest), Reverse(lowest)) = (order.first()?.0, order.last()?.0);
        let others = self.device.dispatches.values().any(|d| self.priority(d.queue) != highest);
        if highest == lowest && !others {
            return None;
        }
        for (_, key) in &order {
            let Device { dispatches, dispatcher, .. } = &mut self.device;
            let dispatch = dispatches.get_mut(key).expect("just listed");
            dispatch.place(dispatcher);
            if dispatch.waits_for_room() {
                let queue = dispatch.queue;
                return Some(self.priority(queue));
            }
        }
        None
    }

    /// All of a dispatch is executed: it completes at its horizon.
    fn finish(&mut self, key: u64, now: u64) {
        let mut dispatch = self.device.dispatches.remove(&key).expect("it just ran");
        if let (Some(races), Some(id)) = (&mut self.device.races, dispatch.race)
            && let Some(footprint) = dispatch.caches.as_mut().and_then(|c| c.take_footprint())
        {
            let found = races.executed(id, footprint);
            self.device.with_record(|r| r.raced(&found));
            found.into_iter().for_each(|race| self.device.interrupts.note(Event::Race(race)));
        }
        self.keep_trace(&mut dispatch);
        if let Some(Queue { body: Body::Aql(aql), .. }) = self.queues.get_mut(&dispatch.queue) {
            aql.executed(&mut dispatch);
        }
        let at = dispatch.horizon().max(now);
        self.device.schedule(at, dispatch.queue, What::Done(dispatch.index));
        dispatch.abandon(&mut self.device.dispatcher);
    }

    fn keep_trace(&self, dispatch: &mut super::dispatch::Dispatch) {
        if !dispatch.ran.is_empty() {
            let ran = std::mem::take(&mut dispatch.ran);
            self.device.with_record(|r| r.ran(ran));
        }
    }

    fn drop_dispatches(&mut self, queue: u32) {
        let keys: Vec<u64> =
            self.device.dispatches.iter().filter(|(_, d)| d.queue == queue).map(|(&key, _)| key).collect();
        for key in keys {
            if let Some(mut dispatch) = self.device.dispatches.remove(&key) {
                self.keep_trace(&mut dispatch);
                dispatch.abandon(&mut self.device.dispatcher);
            }
        }
    }
}

/// Changes a queue's pausing, and hands it the events that came due meanwhile when it goes on.
fn pause(queue: &mut Queue, device: &mut Device, change: impl FnOnce(&mut Common)) {
    change(&mut queue.common);
    if !queue.common.paused() {
        let now = device.clock.now_ns();
        for what in std::mem::take(&mut queue.common.held) {
            device.schedule(now, queue.common.id, what);
        }
    }
}
