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

use super::api::{CpError, HardwareQueue, QueueDesc, QueueKind};
use super::aql::{self, QueueError};
use super::aql_queue::AqlQueue;
use super::common::{Common, Device, Stop, What};
use super::crew::Crew;
use super::cu_mask::CuMask;
use super::dispatch::{Machine, Slice};
use super::gpu_memory::GpuMemory;
use super::inbox::{Command, Inbox, Reply};
use super::kernel::MakeWorkgroup;
use super::queue::{Body, Queue};
use super::sdma::SdmaQueue;
use super::signal;
use crate::caches::MemoryModel;
use crate::device::DeviceSpec;
use crate::isa::ExecFault;
use crate::memory::{Access, MemoryFault};

/// Wave-instructions between two looks at doorbells and commands.
const SLICE_BUDGET: u64 = 4096;
/// How far, in GPU ns, execution may run ahead of the clock: a kernel that waits for the host must not get far ahead.
const LEAD: u64 = 2_000_000;
/// First and longest sleep while idle.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);
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
}

impl Processor {
    pub fn new(spec: Arc<DeviceSpec>, device: Device, make: Arc<MakeWorkgroup>, memory: MemoryModel) -> Self {
        let mut new = Self { spec, device, make, queues: BTreeMap::new(), last_id: 0, evicted: false };
        new.set_memory_model(memory);
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
        let mut rung = false;
        let mut stops = Vec::new();
        for (&id, queue) in &mut self.queues {
            if queue.common.rung() && !queue.common.failed {
                rung = true;
                self.device.with_record(|r| r.queue(id).doorbells += 1);
                if let Err(stop) = queue.common.read_write_index(&self.device.mem) {
                    stops.push((id, stop));
                }
            }
        }
        for (id, stop) in stops {
            self.fail(id, stop);
        }
        let now = self.device.clock.now_ns();
        let due = self.device.events.peek().is_some_and(|Reverse(event)| event.at <= now);
        if !(rung || due || commanded || self.queues.values().any(Queue::wants_attention)) {
            return false;
        }
        // Held until the new limit is known, so that nothing is worked out after its time has passed.
        self.device.clock.set_limit(0);
        let now = self.device.clock.now_ns();
        let mut moved = self.step_all(now);
        while let Some(&Reverse(event)) = self.device.events.peek().filter(|Reverse(event)| event.at <= now) {
            self.device.events.pop();
            moved = true;
            let Some(queue) = self.queues.get_mut(&event.queue) else { continue };
            if let Err(stop) = queue.event(&mut self.device, event.what, event.at) {
                self.fail(event.queue, stop);
            }
            self.step_all(now);
        }
        self.update_limit();
        moved
    }

    fn step_all(&mut self, now: u64) -> bool {
        let mut moved = false;
        let mut stops = Vec::new();
        for (&id, queue) in &mut self.queues {
            match queue.step(&mut self.device, now) {
                Ok(m) => moved |= m,
                Err(stop) => stops.push((id, stop)),
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
        for (_, key) in order {
            let queue = self.device.dispatches[&key].queue;
            let paused = self.paused(queue);
            let Device { dispatches, mem, l2, crew, dispatcher, clock, model, interrupts, .. } =
                &mut self.device;
            let dispatch = dispatches.get_mut(&key).expect("just listed");
            if paused {
                dispatch.idle = true;
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
                interrupts: &**interrupts,
            };
            let before = dispatch.instructions();
            // A panic in there is a bug of the simulator; the queue stops with an error and nothing hangs.
            let slice =
                std::panic::catch_unwind(AssertUnwindSafe(|| dispatch.slice(&mut machine, SLICE_BUDGET)));
            let executed = dispatch.instructions() - before;
            self.device.with_record(|r| r.stats.instructions += executed);
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

    /// All of a dispatch is executed: it completes at its horizon.
    fn finish(&mut self, key: u64, now: u64) {
        let mut dispatch = self.device.dispatches.remove(&key).expect("it just ran");
        if let Some(Queue { body: Body::Aql(aql), .. }) = self.queues.get_mut(&dispatch.queue) {
            aql.executed(&mut dispatch);
        }
        let at = dispatch.horizon().max(now);
        self.device.schedule(at, dispatch.queue, What::Done(dispatch.index));
        dispatch.abandon(&mut self.device.dispatcher);
    }

    fn drop_dispatches(&mut self, queue: u32) {
        let keys: Vec<u64> =
            self.device.dispatches.iter().filter(|(_, d)| d.queue == queue).map(|(&key, _)| key).collect();
        for key in keys {
            if let Some(dispatch) = self.device.dispatches.remove(&key) {
                dispatch.abandon(&mut self.device.dispatcher);
            }
        }
    }

    /// Stops a queue for good and reports why; the others go on.
    fn fail(&mut self, id: u32, stop: Stop) {
        self.drop_dispatches(id);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if std::mem::replace(&mut queue.common.failed, true) {
            return;
        }
        let what = match &stop {
            Stop::Memory(fault) => fault.to_string(),
            Stop::Error(_, what) => what.clone(),
        };
        eprintln!("kfd-sim: queue {id} stopped: {what}");
        self.device.with_record(|r| r.queue(id).failure = Some(what));
        match stop {
            Stop::Memory(fault) => {
                self.evict();
                self.device.interrupts.memory_fault(id, fault);
            }
            Stop::Error(code, _) => {
                let device = &self.device;
                let reported = match (error_word(&queue.common, device), code.exception_bit()) {
                    (Some((word, event)), Some(bit)) => {
                        device.mem.or64(word, bit).map(|_| device.interrupts.event(event))
                    }
                    _ => match queue.inactive_signal(&device.mem) {
                        Some(handle) => signal::store(&device.mem, handle, code as u64, &*device.interrupts),
                        None => Ok(()),
                    },
                };
                if let Err(fault) = reported {
                    eprintln!("kfd-sim: queue {id}: the error could not be reported: {fault}");
                }
            }
        }
    }

    /// Takes every queue off the hardware, as amdkfd does to the process whose kernel faulted (`kfd_dqm_evict_pasid`), before it
    /// raises the event. New queues stay off it, too. amdkfd never brings them back; here that ends with the last queue,
    /// so that a process can test it more than once.
    fn evict(&mut self) {
        self.evicted = true;
        for queue in self.queues.values_mut() {
            pause(queue, &mut self.device, |common| common.evicted = true);
        }
    }

    /// Reads every queue's write index again, as remapping the queues does on hardware without MES.
    fn remap(&mut self, stops: &mut Vec<(u32, Stop)>) {
        for (&id, queue) in self.queues.iter_mut().filter(|(_, q)| !q.common.failed) {
            if let Err(stop) = queue.common.read_write_index(&self.device.mem) {
                stops.push((id, stop));
            }
        }
    }

    fn command(&mut self, command: Command) -> (Reply, Vec<(u32, Stop)>) {
        let mut stops = Vec::new();
        let answer = match command {
            Command::Create(desc) => {
                let made = self.create(*desc);
                self.remap(&mut stops);
                made
            }
            Command::Destroy(id) => {
                self.drop_dispatches(id);
                let gone = self.queues.remove(&id).map(|_| 0).ok_or(CpError::UnknownQueue(id));
                self.device.with_record(|r| r.hardware.remove(&id));
                self.evicted &= !self.queues.is_empty();
                self.remap(&mut stops);
                gone
            }
            Command::Update { id, ring_va, ring_bytes, percentage, priority } => {
                let fits = self
                    .queues
                    .get(&id)
                    .is_none_or(|q| percentage == 0 || ring_fits(q.common.desc.kind, ring_va, ring_bytes));
                let answer = if !fits {
                    let least = packet_bytes(self.queues[&id].common.desc.kind);
                    Err(CpError::BadRing { va: ring_va, bytes: ring_bytes, least })
                } else {
                    self.with_queue(id, |queue, device| {
                        let desc = &mut queue.common.desc;
                        (desc.ring_va, desc.ring_bytes) = (ring_va, ring_bytes);
                        (desc.percentage, desc.priority) = (percentage, priority);
                        pause(queue, device, |common| common.suspended = percentage == 0);
                    })
                };
                self.remap(&mut stops);
                answer
            }
            Command::SetCuMask { id, mask } => {
                let shape = &self.spec.shape;
                let mask =
                    if mask.is_empty() { CuMask::full(shape) } else { CuMask::from_bits(shape, &mask) };
                let answer = self.with_queue(id, |queue, _| queue.common.mask = mask);
                self.remap(&mut stops);
                answer
            }
            Command::Stall { id, stalled } => self.with_queue(id, |queue, device| {
                pause(queue, device, |common| common.stalled = stalled);
            }),
            Command::InjectFault(id) => {
                let running = self.device.dispatches.values().any(|d| d.queue == id);
                if running {
                    let fault = MemoryFault {
                        va: 0xdead_0000,
                        len: 4,
                        access: Access::Read,
                        cause: crate::memory::FaultCause::NotMapped,
                    };
                    stops.push((id, Stop::Memory(fault)));
                }
                self.with_queue(id, |queue, _| queue.common.inject_fault = !running)
            }
            Command::Memory(model) => {
                self.set_memory_model(model);
                Ok(0)
            }
            Command::Threads(threads) => {
                self.device.crew = Crew::new(threads);
                Ok(0)
            }
            Command::Fence => Ok(0),
            Command::Stop => unreachable!("handled by the loop"),
        };
        (answer, stops)
    }

    fn set_memory_model(&mut self, model: MemoryModel) {
        let mem = self.device.mem.clone();
        if model != MemoryModel::Coherent {
            if self.device.l2.is_none() {
                mem.list_removed(true);
            }
            self.device.l2.get_or_insert_default().set_model(model);
        } else if let Some(mut l2) = self.device.l2.take() {
            for mut caches in self.device.dispatches.values_mut().filter_map(|d| d.caches.take()) {
                caches.drain(&mut l2, &mem);
            }
            for queue in self.queues.values_mut() {
                if let Body::Aql(aql) = &mut queue.body {
                    aql.give_up_caches(&mut l2, &mem);
                }
            }
            l2.write_back(&mem);
            mem.list_removed(false);
        }
    }

    fn with_queue(&mut self, id: u32, f: impl FnOnce(&mut Queue, &mut Device)) -> Reply {
        let queue = self.queues.get_mut(&id).ok_or(CpError::UnknownQueue(id))?;
        f(queue, &mut self.device);
        Ok(0)
    }

    fn create(&mut self, desc: QueueDesc) -> Reply {
        if desc.kind == QueueKind::Pm4 {
            return Err(CpError::Unsupported(QueueKind::Pm4));
        }
        let (va, bytes, least) = (desc.ring_va, desc.ring_bytes, packet_bytes(desc.kind));
        if !ring_fits(desc.kind, va, bytes) {
            return Err(CpError::BadRing { va, bytes, least });
        }
        let mem = &self.device.mem;
        let mapped = |what, va, len, access| {
            mem.translate(va, len, access).map_err(|fault| CpError::NotMapped { what, fault })
        };
        mapped("ring", va, least, Access::Write)?;
        mapped("read index", desc.read_ptr_va, 8, Access::Write)?;
        mapped("write index", desc.write_ptr_va, 8, Access::Read)?;
        if desc.kind == QueueKind::Aql {
            let start = desc.read_ptr_va.wrapping_sub(aql::queue::READ_DISPATCH_ID);
            mapped("amd_queue_t", start, aql::queue::BYTES, Access::Write)?;
        }
        let fault = |fault| CpError::NotMapped { what: "read index", fault };
        let read = mem.load64(desc.read_ptr_va).map_err(fault)?;
        let (hardware, body) = match desc.kind {
            QueueKind::Sdma { engine } => {
                let engine = engine.unwrap_or(self.last_id) % self.spec.queues.sdma_engines.max(1);
                let hardware = HardwareQueue { me: 0, pipe: engine, queue: self.last_id };
                (hardware, Body::Sdma(SdmaQueue::new(read)))
            }
            _ => (self.free_hardware_queue(), Body::Aql(AqlQueue::new(read, self.device.l2.as_mut()))),
        };
        self.last_id += 1;
        let id = self.last_id;
        let mask = CuMask::full(&self.spec.shape);
        let mut common = Common::new(id, desc, hardware, mask);
        common.evicted = self.evicted;
        self.queues.insert(id, Queue { common, body });
        self.device.with_record(|r| {
            r.hardware.insert(id, hardware);
            r.queue(id);
        });
        Ok(id)
    }

    /// The first hardware queue with the fewest users. KFD spreads its queues over the four pipes of MEC1 and leaves the
    /// first two of each to the graphics driver: 24 = 4 pipes x 6. Beyond that hardware takes turns; here queues that share
    /// a hardware queue run side by side.
    fn free_hardware_queue(&self) -> HardwareQueue {
        let place = |n: u32| HardwareQueue { me: 1, pipe: n % 4, queue: 2 + n / 4 };
        let users = |place: HardwareQueue| {
            self.queues.values().filter(|q| q.common.hardware == place && q.is_aql()).count()
        };
        (0..self.spec.queues.compute.max(1)).map(place).min_by_key(|&p| users(p)).expect("at least one")
    }
}

/// Least size and alignment of a ring.
fn packet_bytes(kind: QueueKind) -> u64 {
    if kind == QueueKind::Aql { aql::PACKET_BYTES } else { 4 }
}

fn ring_fits(kind: QueueKind, va: u64, bytes: u64) -> bool {
    let least = packet_bytes(kind);
    bytes >= least && bytes.is_power_of_two() && va.is_multiple_of(least) && va.checked_add(bytes).is_some()
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

fn exec_fault(fault: ExecFault) -> Stop {
    let code = match &fault {
        ExecFault::Memory { fault, address } => {
            eprintln!("kfd-sim: memory fault by the instruction at {address:#x}");
            return Stop::Memory(*fault);
        }
        ExecFault::IllegalInstruction { .. } => QueueError::IllegalInstruction,
        ExecFault::Trap { .. } => QueueError::Trap,
        ExecFault::Unaligned { .. } | ExecFault::LdsBounds { .. } | ExecFault::ScratchBounds { .. } => {
            QueueError::Aperture
        }
    };
    Stop::Error(code, fault.to_string())
}

/// Where newer runtimes want errors: address of the error word and event id, from the header of the context-save area
/// (`kfd_context_save_area_header` in `linux/kfd_ioctl.h`). ROCr 5.2.3 leaves the address 0.
fn error_word(common: &Common, device: &Device) -> Option<(u64, u32)> {
    let header = common.desc.ctx_save_va;
    if header == 0 || common.desc.ctx_save_bytes < 40 {
        return None;
    }
    let word = device.mem.load64(header + 24).ok().filter(|&word| word != 0)?;
    Some((word, device.mem.load32(header + 32).ok()?))
}
