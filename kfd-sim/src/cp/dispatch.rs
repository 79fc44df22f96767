//! A kernel dispatch in flight: its workgroups, where they sit, how far they are.
//!
//! Workgroups are placed as the dispatcher allows and executed in slices of wave-instructions, oldest first, so a kernel
//! that spins is interleaved with everything else. Several host threads share the workgroups of a slice when the dispatch is a
//! long one: results then depend on their order where the kernel's own do (atomics), as on hardware. The dispatch's *horizon* is the GPU time at which it would end if what
//! has been executed so far were all of it: the GPU clock never passes the horizon of a dispatch that still runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::api::HardwareQueue;
use super::clock::GpuClock;
use super::crew::Crew;
use super::cu_mask::CuMask;
use super::dispatcher::{Dispatcher, Grant, Needs, Turn};
use super::kernel::{MakeWorkgroup, RunWorkgroup};
use super::log::WorkgroupRecord;
use super::scratch::ScratchSlots;
use crate::caches::{Caches, DispatchCache, L2, SharedCaches};
use crate::isa::{CodeCache, ExecFault, ExecStats, Launch, Placement, Progress};
use crate::memory::AddressSpace;
use crate::ports::Interrupts;
use crate::timing::{Shape, TimingModel, Work};

/// Wave-instructions after which stores have left the dispatch, waited for or not.
const STORES_LEAVE: u64 = 1 << 20;
/// Wave-instructions that one workgroup executes before the next one's turn.
const WORKGROUP_BUDGET: u64 = 2048;
/// Wave-instructions that a dispatch executes before other threads are woken up to help: most kernels end sooner, and waking
/// costs about as long as a thousand instructions.
const ALONE: u64 = 16_384;
/// How much longer a slice is for each of several threads. Measured with `lane_ops`, "v_add_f32 chain", on two processors: at 2 two threads were no faster
/// than one, at 8 1.6 times as fast; nothing else was tried.
const LONGER: u64 = 8;

/// What a slice came to.
#[derive(Debug)]
pub(crate) enum Slice {
    /// Goes on later.
    Running,
    /// No room on the CUs whose turn it is, and nothing resident.
    Blocked,
    /// Every workgroup is done.
    Finished,
    /// A workgroup died.
    Fault(ExecFault),
}

/// The parts of the device that execution needs.
pub(crate) struct Machine<'a> {
    pub mem: &'a AddressSpace,
    /// Strict memory.
    pub l2: Option<&'a mut L2>,
    pub crew: &'a mut Crew,
    pub dispatcher: &'a mut Dispatcher,
    pub clock: &'a GpuClock,
    pub model: &'a dyn TimingModel,
    pub make: &'a MakeWorkgroup,
    /// Whether workgroups may be placed: not while a dispatch of a higher priority waits for room.
    pub may_place: bool,
    pub tracing: bool,
    pub interrupts: &'a dyn Interrupts,
}

struct Resident {
    id: [u32; 3],
    grant: Grant,
    slot: u32,
    placed_ns: u64,
    /// Made at its first slice, so that waiting workgroups hold no registers.
    run: Option<Box<dyn RunWorkgroup>>,
}

/// A dispatch from launch until its last workgroup has been executed.
pub(crate) struct Dispatch {
    pub queue: u32,
    pub index: u64,
    launch: Launch,
    hardware: HardwareQueue,
    needs: Needs,
    shape: Shape,
    turn: Turn,
    next: u64,
    resident: VecDeque<Resident>,
    /// Begun, and taken off the compute units with their state while the queue is paused.
    saved: VecDeque<Resident>,
    /// The queue's scratch slots; `None` when the kernel uses no scratch.
    scratch: Option<Arc<Mutex<ScratchSlots>>>,
    start_ns: u64,
    /// Time that it could not run: blocked, or its queue paused.
    lost_ns: u64,
    /// Since when its queue is paused.
    paused_ns: Option<u64>,
    work: Work,
    horizon: u64,
    /// Whether the clock may pass the horizon, since nothing of it can run now.
    pub idle: bool,
    /// CUs used, for each shader engine.
    pub cus_used: Vec<u64>,
    /// Strict memory: what it sees.
    pub caches: Option<DispatchCache>,
    /// Instructions executed when its stores last left.
    stores_left: u64,
    /// Race detection: its number there.
    pub race: Option<u64>,
    /// Workgroups that have ended, while tracing.
    pub ran: Vec<WorkgroupRecord>,
}

fn instructions(stats: &ExecStats) -> u64 {
    stats.salu + stats.valu + stats.smem + stats.vmem + stats.lds
}

fn bytes(stats: &ExecStats) -> u64 {
    stats.vmem_read_bytes + stats.vmem_write_bytes
}

/// What a workgroup of this launch occupies.
pub(crate) fn needs(launch: &Launch) -> Needs {
    Needs {
        waves: launch.waves_per_workgroup(),
        vgprs: launch.vgprs(),
        sgprs: launch.sgprs(),
        lds_bytes: launch.lds_bytes(),
    }
}

/// What identifies a dispatch at its launch.
pub(crate) struct Start {
    pub queue: u32,
    pub index: u64,
    pub hardware: HardwareQueue,
    pub now: u64,
    /// The queue's scratch slots, if the kernel uses any.
    pub scratch: Option<Arc<Mutex<ScratchSlots>>>,
    /// Strict memory: what it sees.
    pub caches: Option<DispatchCache>,
    /// Race detection: its number there.
    pub race: Option<u64>,
    /// How much longer it takes because a fault plan says so.
    pub delay_ns: u64,
}

/// What running workgroups need of the device and the dispatch, and do not change.
struct Surroundings<'a, 'c> {
    mem: &'a AddressSpace,
    caches: Option<&'a SharedCaches<'c>>,
    clock: &'a GpuClock,
    model: &'a dyn TimingModel,
    make: &'a MakeWorkgroup,
    interrupts: &'a dyn Interrupts,
    launch: Launch,
    hardware: HardwareQueue,
}

/// A slice while threads work on it.
struct Round<'a> {
    dispatch: &'a mut Dispatch,
    dispatcher: &'a mut Dispatcher,
    /// Wave-instructions left that nobody has begun.
    budget: u64,
    /// Workgroups that threads have in hand.
    running: usize,
    fault: Option<ExecFault>,
    may_place: bool,
    tracing: bool,
}

impl Round<'_> {
    /// The next workgroup to run, and how many wave-instructions it may execute.
    fn next(&mut self) -> Option<(Resident, u64)> {
        if self.fault.is_some() {
            return None;
        }
        if self.may_place {
            self.dispatch.place(self.dispatcher);
        }
        if self.budget == 0 {
            return None;
        }
        let group = self.dispatch.resident.pop_front()?;
        let quota = self.budget.min(WORKGROUP_BUDGET);
        self.budget -= quota;
        self.running += 1;
        Some((group, quota))
    }

    /// Takes a workgroup back that has run.
    fn settle(
        &mut self,
        model: &dyn TimingModel,
        group: Resident,
        progress: Progress,
        quota: u64,
        before: &ExecStats,
        after: &ExecStats,
    ) {
        self.running -= 1;
        let work = &mut self.dispatch.work;
        let executed = instructions(after) - instructions(before);
        work.instructions += executed;
        work.bytes += bytes(after) - bytes(before);
        work.longest_workgroup = work.longest_workgroup.max(instructions(after));
        // A slice without instructions still costs budget, or a workgroup that only yields would spin here.
        self.budget += quota.saturating_sub(executed.max(64));
        self.dispatch.update_horizon(model);
        match progress {
            Progress::Yielded => self.dispatch.resident.push_back(group),
            Progress::Done => self.dispatch.leave(group, self.dispatcher, self.tracing),
            Progress::Fault(fault) => {
                self.dispatch.leave(group, self.dispatcher, self.tracing);
                self.fault.get_or_insert(fault);
            }
        }
    }

    /// What the slice came to, when nobody works on it any more.
    fn outcome(self) -> Slice {
        debug_assert_eq!(self.running, 0);
        match self.fault {
            Some(fault) => Slice::Fault(fault),
            None if !self.dispatch.resident.is_empty() => Slice::Running,
            None if !self.dispatch.waits_for_room() => Slice::Finished,
            None => Slice::Blocked,
        }
    }
}

/// Runs workgroups in turn until the slice's budget is spent; any number of threads do.
fn run_workgroups(round: &Mutex<Round<'_>>, device: &Surroundings<'_, '_>, code: &mut CodeCache) {
    let lock = || round.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // Helpers are not the command processor's thread.
    let _inside = device.mem.enter();
    let mut state = lock();
    while let Some((mut group, quota)) = state.next() {
        let tick = device.clock.counter_at(state.dispatch.horizon);
        drop(state);
        let run = group.run.get_or_insert_with(|| {
            let HardwareQueue { me, pipe, queue } = device.hardware;
            let Grant { se, sh, cu, .. } = group.grant;
            let place = Placement { se, sh, cu, pipe, queue, me, scratch_slot: group.slot };
            (device.make)(&device.launch, group.id, place)
        });
        let before = run.stats();
        let progress = run.run(device.mem, device.caches, code, &|| tick, quota);
        run.take_interrupts().into_iter().for_each(|event| device.interrupts.event(event));
        let after = run.stats();
        state = lock();
        state.settle(device.model, group, progress, quota, &before, &after);
    }
}

impl Dispatch {
    pub fn new(
        launch: Launch,
        start: Start,
        mask: &CuMask,
        device: &Dispatcher,
        model: &dyn TimingModel,
    ) -> Self {
        let needs = needs(&launch);
        let workgroups = launch.workgroups().iter().fold(1u64, |n, &side| n.saturating_mul(side.into()));
        let cus_per_se = mask.cus_per_se();
        let cus_used = vec![0; cus_per_se.len()];
        let waves_per_cu = device.workgroups_per_cu(&needs) * needs.waves;
        let shape = Shape { workgroups, waves_per_workgroup: needs.waves, cus_per_se, waves_per_cu };
        let mut dispatch = Self {
            queue: start.queue,
            index: start.index,
            hardware: start.hardware,
            scratch: start.scratch,
            launch,
            needs,
            shape,
            turn: Turn::new(mask),
            next: 0,
            resident: VecDeque::new(),
            saved: VecDeque::new(),
            start_ns: start.now,
            lost_ns: start.delay_ns,
            paused_ns: None,
            work: Work::default(),
            horizon: 0,
            idle: false,
            cus_used,
            caches: start.caches,
            stores_left: 0,
            race: start.race,
            ran: Vec::new(),
        };
        dispatch.update_horizon(model);
        dispatch
    }

    /// See the module's description.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Wave-instructions executed.
    pub fn instructions(&self) -> u64 {
        self.work.instructions
    }

    fn update_horizon(&mut self, model: &dyn TimingModel) {
        let execution = model.execution_ns(&self.shape, &self.work);
        let begun = self.start_ns + self.lost_ns + model.dispatch_overhead_ns();
        self.horizon = begun.saturating_add(execution);
    }

    /// Goes on after a time in which nothing of it could run: that time does not count as execution.
    pub fn catch_up(&mut self, now: u64) {
        if self.idle {
            self.idle = false;
            // Execution may have been ahead of the clock when it was paused.
            let since = self.paused_ns.take().unwrap_or(self.horizon);
            let lost = now.saturating_sub(since);
            self.lost_ns += lost;
            self.horizon += lost;
        }
    }

    /// Whether workgroups wait for room.
    pub fn waits_for_room(&self) -> bool {
        !self.saved.is_empty() || self.next < self.shape.workgroups
    }

    /// Its queue is paused: what runs is saved and leaves the compute units to others.
    pub fn pause(&mut self, dispatcher: &mut Dispatcher, now: u64) {
        self.idle = true;
        self.paused_ns.get_or_insert(now);
        self.save(dispatcher);
    }

    fn save(&mut self, dispatcher: &mut Dispatcher) {
        for group in self.resident.drain(..) {
            dispatcher.release(&group.grant);
            self.saved.push_back(group);
        }
    }

    /// Puts workgroups onto compute units as long as there is room.
    pub fn place(&mut self, dispatcher: &mut Dispatcher) {
        while let Some(mut group) = self.saved.pop_front() {
            let Some(grant) = dispatcher.place(&mut self.turn, &self.needs) else {
                self.saved.push_front(group);
                return;
            };
            self.cus_used[grant.se as usize] |= 1 << (grant.sh * 16 + grant.cu);
            (group.grant, group.placed_ns) = (grant, self.horizon);
            self.resident.push_back(group);
        }
        while self.next < self.shape.workgroups {
            let slot = match self.slots(|slots, waves| slots.take(waves)) {
                None => 0,
                Some(Some(slot)) => slot,
                Some(None) => return,
            };
            let Some(grant) = dispatcher.place(&mut self.turn, &self.needs) else {
                self.slots(|slots, waves| slots.give_back(slot, waves));
                return;
            };
            let [x, y, _] = self.launch.workgroups().map(u64::from);
            let id = [self.next % x, self.next / x % y, self.next / (x * y)].map(|n| n as u32);
            self.next += 1;
            self.cus_used[grant.se as usize] |= 1 << (grant.sh * 16 + grant.cu);
            self.resident.push_back(Resident { id, grant, slot, placed_ns: self.horizon, run: None });
        }
    }

    fn slots<R>(&self, f: impl FnOnce(&mut ScratchSlots, u32) -> R) -> Option<R> {
        let slots = self.scratch.as_ref()?;
        Some(f(&mut slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), self.needs.waves))
    }

    /// Executes up to `budget` wave-instructions; more when several threads do it, so that waking them pays.
    pub fn slice(&mut self, machine: &mut Machine<'_>, budget: u64) -> Slice {
        let threads = self.threads(machine.crew.threads());
        let mut own = self.caches.take();
        let caches = match (&mut machine.l2, &mut own) {
            (Some(l2), Some(dispatch)) => Some(SharedCaches::new(Caches { l2, dispatch }, threads > 1)),
            _ => None,
        };
        let device = Surroundings {
            mem: machine.mem,
            caches: caches.as_ref(),
            clock: machine.clock,
            model: machine.model,
            make: machine.make,
            interrupts: machine.interrupts,
            launch: self.launch.clone(),
            hardware: self.hardware,
        };
        let budget = if threads > 1 { budget * threads as u64 * LONGER } else { budget };
        let (may_place, tracing) = (machine.may_place, machine.tracing);
        let round = Mutex::new(Round {
            dispatch: self,
            dispatcher: machine.dispatcher,
            budget,
            running: 0,
            fault: None,
            may_place,
            tracing,
        });
        machine.crew.run(threads, |code| run_workgroups(&round, &device, code));
        let round = round.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slice = round.outcome();
        self.caches = own;
        self.let_stores_leave(machine);
        slice
    }

    /// Threads worth waking up: one for each workgroup, once the dispatch has shown that it takes a while.
    fn threads(&self, crew: usize) -> usize {
        if crew == 1 || self.work.instructions < ALONE {
            return 1;
        }
        let workgroups =
            (self.resident.len() + self.saved.len()) as u64 + (self.shape.workgroups - self.next);
        crew.min(workgroups.try_into().unwrap_or(usize::MAX)).max(1)
    }

    /// A store is seen some day, even if nobody waits for it and the kernel never ends.
    fn let_stores_leave(&mut self, machine: &mut Machine<'_>) {
        if self.work.instructions - self.stores_left >= STORES_LEAVE {
            self.stores_left = self.work.instructions;
            if let (Some(l2), Some(caches)) = (&mut machine.l2, &mut self.caches) {
                caches.drain(l2, machine.mem);
            }
        }
    }

    fn leave(&mut self, group: Resident, dispatcher: &mut Dispatcher, tracing: bool) {
        dispatcher.release(&group.grant);
        self.slots(|slots, waves| slots.give_back(group.slot, waves));
        if tracing {
            let Grant { se, sh, cu, .. } = group.grant;
            let (queue, index, start_ns, end_ns) = (self.queue, self.index, group.placed_ns, self.horizon);
            self.ran.push(WorkgroupRecord { queue, index, group: group.id, se, sh, cu, start_ns, end_ns });
        }
    }

    /// Kills what is resident and gives its room back.
    pub fn abandon(mut self, dispatcher: &mut Dispatcher) {
        self.save(dispatcher);
        for group in std::mem::take(&mut self.saved) {
            self.slots(|slots, waves| slots.give_back(group.slot, waves));
        }
    }
}
