//! The packet processor of one AQL queue: order, dependencies, launch and completion.
//!
//! Packets are looked at in order. A dispatch is launched and the next packet looked at while it runs, unless that has the
//! barrier bit; so packets complete in any order. Barrier and vendor packets hold up what is behind them until they are
//! complete. A slot is given back (header INVALID, read index) when its packet has completed and every earlier one too,
//! because kernels may read their packet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::aql::{INVALID_HEADER, PACKET_BYTES, Packet, PacketType, QueueError, queue};
use super::common::{Common, Device, Stop, What};
use super::dispatch::{self, Dispatch, Start};
use super::gpu_memory::GpuMemory;
use super::log::DispatchRecord;
use super::pm4::{self, Pm4Error};
use super::races::{QueueOrder, Races};
use super::scratch::ScratchSlots;
use super::signal;
use crate::caches::{DispatchCache, L2, QueueCache, RacingDispatch};
use crate::isa::{Launch, LaunchDesc, LaunchError, ScratchDesc};
use crate::journal::Event;
use crate::memory::{Access, AddressSpace, FaultCause, MemoryFault};
use crate::plan::Fault;
use crate::ports::Interrupts;
use crate::settings::say;

/// A packet between launch and the return of its slot.
struct Slot {
    packet: Packet,
    record: DispatchRecord,
    done: bool,
    /// Strict memory: scope of the release fence, what it covers, what the packet stored.
    release: u8,
    mark: u64,
    caches: Option<DispatchCache>,
    /// Race detection: the dispatch's number there.
    race: Option<u64>,
    /// A fault plan lets its interrupt get lost.
    deaf: bool,
}

/// See the module's description.
pub(crate) struct AqlQueue {
    /// Index of the next packet to look at.
    next: u64,
    /// Index of the oldest slot not given back: `slots[0]`.
    read: u64,
    slots: VecDeque<Slot>,
    /// Packet that nothing behind may overtake.
    blocking: Option<u64>,
    /// Dependencies of the barrier packet at `next` that were seen at 0.
    met: [bool; 5],
    /// The runtime must store 0 to the inactive signal before the queue goes on.
    awaiting_runtime: bool,
    /// The scratch memory in use is for one dispatch.
    reclaim_scratch: bool,
    /// The packet at `next` has been reported as unpublished, or its mask as empty.
    noted: bool,
    /// Strict memory.
    caches: QueueCache,
    /// Race detection.
    order: QueueOrder,
    scratch_slots: Arc<Mutex<ScratchSlots>>,
}

/// Where a fault plan's memory faults happen: nothing is ever mapped there.
const INJECTED_VA: u64 = 0xdead_0000;
/// How much longer a dispatch takes that a fault plan delays: 10 ms.
const DELAY_NS: u64 = 10_000_000;

/// GPU address of the queue's `amd_queue_t`.
fn queue_va(common: &Common) -> u64 {
    common.desc.read_ptr_va - queue::READ_DISPATCH_ID
}

/// Handle of `queue_inactive_signal`.
pub(crate) fn inactive_signal(common: &Common, mem: &AddressSpace) -> Result<u64, MemoryFault> {
    mem.load64(queue_va(common) + queue::INACTIVE_SIGNAL)
}

struct Scratch {
    desc: ScratchDesc,
    waves: u32,
}

fn scratch(queue_va: u64, mem: &AddressSpace) -> Result<Option<Scratch>, MemoryFault> {
    let tmpring = mem.load32(queue_va + queue::COMPUTE_TMPRING_SIZE)?;
    let (waves, wave_kib) = (tmpring & 0xfff, tmpring >> 12 & 0x1fff);
    if waves == 0 || wave_kib == 0 {
        return Ok(None);
    }
    let mut resource = [0; 4];
    for (i, word) in resource.iter_mut().enumerate() {
        *word = mem.load32(queue_va + queue::SCRATCH_RESOURCE + 4 * i as u64)?;
    }
    let desc = ScratchDesc {
        resource,
        base_va: mem.load64(queue_va + queue::SCRATCH_LOCATION)?,
        bytes: mem.load64(queue_va + queue::SCRATCH_BYTES)?,
        wave_bytes: u64::from(wave_kib) * 1024,
    };
    Ok(Some(Scratch { desc, waves }))
}

fn launch_error(error: LaunchError) -> Stop {
    let code = match &error {
        LaunchError::Descriptor(_) | LaunchError::MisalignedDescriptor(_) | LaunchError::Unsupported(_) => {
            QueueError::Code
        }
        LaunchError::Dimensions { .. } => QueueError::Dimensions,
        LaunchError::WorkgroupTooLarge(_) => QueueError::WorkgroupSize,
        LaunchError::LdsTooLarge(_) => QueueError::GroupSegment,
        LaunchError::Scratch { .. } => QueueError::InsufficientScratch,
    };
    Stop::Error(code, error.to_string())
}

impl AqlQueue {
    /// A queue whose indices are as found in memory.
    pub fn new(read: u64, l2: Option<&mut L2>) -> Self {
        Self {
            next: read,
            read,
            slots: VecDeque::new(),
            blocking: None,
            met: [false; 5],
            awaiting_runtime: false,
            reclaim_scratch: false,
            noted: false,
            caches: QueueCache::new(l2),
            order: QueueOrder::default(),
            scratch_slots: Arc::new(Mutex::new(ScratchSlots::new(0))),
        }
    }

    pub fn wants_attention(&self, common: &Common) -> bool {
        self.blocking.is_none() && (common.wptr > self.next || self.reclaim_scratch)
    }

    /// Whether anything is published or in flight.
    pub fn has_work(&self, common: &Common) -> bool {
        common.wptr > self.next || !self.slots.is_empty() || self.reclaim_scratch
    }

    /// Race detection: the write index was read.
    pub fn published(&mut self, races: &Races, common: &Common) {
        self.order.published(races, common.wptr);
    }

    /// Moves as far as possible at `now`.
    pub fn step(&mut self, common: &mut Common, device: &mut Device, now: u64) -> Result<bool, Stop> {
        let mut moved = false;
        if let Some(races) = &device.races {
            self.published(races, common);
        }
        while self.advance(common, device, now)? {
            moved = true;
        }
        Ok(moved)
    }

    /// Handles the packet at `next`, if it can be handled now.
    fn advance(&mut self, common: &mut Common, device: &mut Device, now: u64) -> Result<bool, Stop> {
        if self.awaiting_runtime {
            let handle = inactive_signal(common, &device.mem)?;
            if signal::value(&device.mem, handle)? != 0 {
                return Ok(false);
            }
            self.awaiting_runtime = false;
        }
        if now < common.ready_at || self.blocking.is_some() {
            return Ok(false);
        }
        if self.reclaim_scratch {
            if self.slots.is_empty() {
                self.reclaim_scratch = false;
                self.ask_runtime(common, device, QueueError::ScratchReclaim)?;
            }
            return Ok(false);
        }
        let packets = common.desc.ring_bytes / PACKET_BYTES;
        // A write index more than a ring ahead would make slots that are still in use look new.
        if common.permits == Some(0) || self.next >= common.wptr || self.next - self.read >= packets {
            return Ok(false);
        }
        let va = common.desc.ring_va + self.next % packets * PACKET_BYTES;
        if device.mem.load16(va)? as u8 == INVALID_HEADER as u8 {
            if !self.noted {
                self.noted = true;
                device.with_record(|r| r.queue(common.id).unpublished_slots += 1);
            }
            if let Some(races) = &device.races {
                self.order.unpublished(races);
            }
            return Ok(false);
        }
        let mut packet = Packet([0; PACKET_BYTES as usize]);
        device.mem.read(va, &mut packet.0)?;
        if packet.barrier_bit() && !self.slots.is_empty() {
            return Ok(false);
        }
        let cost = device.model.packet_ns();
        match packet.kind() {
            PacketType::KernelDispatch => {
                if !self.dispatch(common, device, &packet, va, now)? {
                    return Ok(false);
                }
                common.ready_at = now + cost;
                device.schedule(common.ready_at, common.id, What::Wake);
            }
            PacketType::BarrierAnd | PacketType::BarrierOr => {
                if !self.dependencies_met(&packet, device)? {
                    return Ok(false);
                }
                if let Some(races) = &device.races {
                    self.order.take(races, self.next, packet.barrier_bit());
                    let met = packet.dependencies().into_iter().zip(self.met);
                    for (handle, _) in met.filter(|&(handle, met)| handle != 0 && met) {
                        self.order.wait(races, signal::value_va(handle), 0);
                    }
                }
                let (acquire, release) = packet.fences();
                self.acquire(device, acquire);
                self.hold_until(common, device, packet, now, now + cost, release);
            }
            PacketType::Pm4Ib => {
                let jump = std::array::from_fn(|i| packet.u32(4 + 4 * i));
                let actions = pm4::execute(jump, &device.mem).map_err(|error| match error {
                    Pm4Error::Memory(fault) => Stop::Memory(fault),
                    error => Stop::Error(QueueError::VendorPacket, error.to_string()),
                })?;
                if actions.invalidate_code {
                    device.crew.forget_code();
                }
                if let Some(races) = &device.races {
                    self.order.take(races, self.next, packet.barrier_bit());
                }
                let (acquire, release) = packet.fences();
                self.acquire(device, acquire.max(actions.acquire));
                self.hold_until(common, device, packet, now, now + cost, release.max(actions.release));
            }
            PacketType::UnknownVendor(format) => {
                let what =
                    format!("packet {}: vendor packet format {format} is unknown to gfx906", self.next);
                return Err(Stop::Error(QueueError::VendorPacket, what));
            }
            PacketType::AgentDispatch => {
                let what = format!("packet {}: agent dispatch on a kernel-dispatch queue", self.next);
                return Err(Stop::Error(QueueError::PacketFormat, what));
            }
            PacketType::Unknown(kind) => {
                let what = format!("packet {}: unknown packet type {kind}", self.next);
                return Err(Stop::Error(QueueError::PacketFormat, what));
            }
        }
        self.next += 1;
        common.use_permit();
        self.noted = false;
        self.met = [false; 5];
        Ok(true)
    }

    /// Whether the barrier packet's condition holds. A dependency counts once it was seen at 0, whatever it is later.
    fn dependencies_met(&mut self, packet: &Packet, device: &Device) -> Result<bool, Stop> {
        let handles = packet.dependencies();
        for (met, &handle) in self.met.iter_mut().zip(&handles) {
            if handle != 0 && !*met {
                *met = signal::is_zero(&device.mem, handle)?;
            }
        }
        let mut named = handles.iter().zip(&self.met).filter(|&(&handle, _)| handle != 0).peekable();
        Ok(match packet.kind() {
            PacketType::BarrierOr if named.peek().is_some() => named.any(|(_, &met)| met),
            _ => named.all(|(_, &met)| met),
        })
    }

    fn record(&self, common: &Common, packet: &Packet, now: u64) -> DispatchRecord {
        let kind = packet.kind();
        let barrier = matches!(kind, PacketType::BarrierAnd | PacketType::BarrierOr);
        let kernel = kind == PacketType::KernelDispatch;
        DispatchRecord {
            queue: common.id,
            index: self.next,
            kind,
            barrier_bit: packet.barrier_bit(),
            fences: packet.fences(),
            kernel_object: if kernel { packet.kernel_object() } else { 0 },
            kernel_name: None,
            grid: if kernel { packet.grid() } else { [0; 3] },
            workgroup: if kernel { packet.workgroup() } else { [0; 3] },
            cus_used: vec![0; common.mask.cus_per_se().len()],
            dependencies: if barrier {
                packet.dependencies().into_iter().filter(|&d| d != 0).collect()
            } else {
                Vec::new()
            },
            start_ns: now,
            end_ns: now,
            instructions: 0,
        }
    }

    /// A packet's acquire fence: strict memory.
    fn acquire(&mut self, device: &mut Device, scope: u8) {
        if let Some(l2) = &mut device.l2 {
            self.caches.acquire(l2, &device.mem, scope);
        }
    }

    /// Takes a packet that nothing overtakes and that completes at `end`.
    fn hold_until(
        &mut self,
        common: &Common,
        device: &mut Device,
        packet: Packet,
        now: u64,
        end: u64,
        release: u8,
    ) {
        let record = self.record(common, &packet, now);
        let mark = self.caches.mark();
        let (race, deaf) = (None, false);
        self.slots.push_back(Slot { packet, record, done: false, release, mark, caches: None, race, deaf });
        self.blocking = Some(self.next);
        device.schedule(end, common.id, What::Done(self.next));
    }

    /// Launches a kernel; false if it must wait.
    fn dispatch(
        &mut self,
        common: &mut Common,
        device: &mut Device,
        packet: &Packet,
        packet_va: u64,
        now: u64,
    ) -> Result<bool, Stop> {
        if common.inject_fault {
            common.inject_fault = false;
            let (va, len) = (packet.kernel_object(), 4);
            return Err(Stop::Memory(MemoryFault {
                va,
                len,
                access: Access::Execute,
                cause: FaultCause::NotMapped,
            }));
        }
        let queue_va = queue_va(common);
        let scratch = scratch(queue_va, &device.mem)?;
        let aperture = |at| Ok::<u64, MemoryFault>(u64::from(device.mem.load32(queue_va + at)?) << 32);
        let desc = LaunchDesc {
            packet: packet.0,
            packet_va,
            queue_va,
            dispatch_id: self.next,
            scratch: scratch.as_ref().map(|s| s.desc),
            lds_aperture: aperture(queue::GROUP_APERTURE_HI)?,
            scratch_aperture: aperture(queue::PRIVATE_APERTURE_HI)?,
        };
        let launch = match Launch::parse(&desc, &device.mem) {
            Ok(launch) => launch,
            Err(LaunchError::Scratch { .. }) => {
                // The runtime replaces the queue's scratch memory, so nothing may be using it.
                if self.slots.is_empty() {
                    device.with_record(|r| r.queue(common.id).scratch_requests += 1);
                    self.ask_runtime(common, device, QueueError::InsufficientScratch)?;
                }
                return Ok(false);
            }
            Err(error) => return Err(launch_error(error)),
        };
        let needs = dispatch::needs(&launch);
        if device.dispatcher.workgroups_per_cu(&needs) == 0 {
            let what = format!("a workgroup of {needs:?} does not fit a compute unit");
            return Err(Stop::Error(QueueError::Registers, what));
        }
        let scratch_waves = scratch.as_ref().filter(|_| packet.private_bytes() > 0).map(|s| s.waves);
        if scratch_waves.is_some_and(|waves| waves < needs.waves) {
            let what = format!("scratch memory for {scratch_waves:?} waves, {} in a workgroup", needs.waves);
            return Err(Stop::Error(QueueError::WorkgroupSize, what));
        }
        if common.mask.is_empty() {
            if !self.noted {
                self.noted = true;
                say(format_args!("queue {}: its CU mask is empty, so its kernels never start", common.id));
            }
            return Ok(false);
        }
        let kernel_name = device.names.get(&device.mem, packet.kernel_object());
        let planned = device.interrupts.planned(common.id, kernel_name.as_deref());
        if let Some(fault) = planned {
            device.interrupts.note(Event::Injected { queue: common.id, index: self.next, fault });
        }
        let injected = || format!("packet {}: injected by the fault plan", self.next);
        match planned {
            Some(Fault::MemoryFault) => {
                let (len, access, cause) = (4, Access::Read, FaultCause::NotMapped);
                return Err(Stop::Memory(MemoryFault { va: INJECTED_VA, len, access, cause }));
            }
            Some(Fault::IllegalInstruction) => {
                return Err(Stop::Error(QueueError::IllegalInstruction, injected()));
            }
            Some(Fault::Trap) => return Err(Stop::Error(QueueError::Trap, injected())),
            Some(Fault::Aperture) => return Err(Stop::Error(QueueError::Aperture, injected())),
            Some(Fault::Hang) => {
                let record = self.record(common, packet, now);
                let mark = self.caches.mark();
                let (race, deaf) = (None, false);
                self.slots.push_back(Slot {
                    packet: *packet,
                    record,
                    done: false,
                    release: 0,
                    mark,
                    caches: None,
                    race,
                    deaf,
                });
                self.blocking = Some(self.next);
                return Ok(true);
            }
            None | Some(Fault::Delay | Fault::LostInterrupt) => {}
        }
        let properties = device.mem.load32(queue_va + queue::PROPERTIES)?;
        self.reclaim_scratch = scratch_waves.is_some() && properties & queue::USE_SCRATCH_ONCE != 0;
        let mut record = self.record(common, packet, now);
        record.kernel_name = kernel_name;
        let (acquire, release) = packet.fences();
        self.acquire(device, acquire);
        let mut caches = device.l2.as_mut().map(|l2| self.caches.launch(l2));
        let (queue, index, hardware) = (common.id, self.next, common.hardware);
        let private = scratch.as_ref().map_or((0, 0), |s| (s.desc.base_va, s.desc.bytes));
        let race = device.races.as_mut().map(|races| {
            caches.iter_mut().for_each(DispatchCache::track);
            self.order.take(races, index, packet.barrier_bit());
            races.launch(
                &mut self.order,
                RacingDispatch { queue, index, kernel: record.kernel_name.clone() },
                private,
            )
        });
        let scratch = scratch_waves.map(|waves| self.slots_for(waves));
        let delay_ns = if planned == Some(Fault::Delay) { DELAY_NS } else { 0 };
        let start = Start { queue, index, hardware, now, scratch, caches, race, delay_ns };
        let dispatch = Dispatch::new(launch, start, &common.mask, &device.dispatcher, &*device.model);
        device.launch(dispatch);
        let mark = self.caches.mark();
        let deaf = planned == Some(Fault::LostInterrupt);
        self.slots.push_back(Slot {
            packet: *packet,
            record,
            done: false,
            release,
            mark,
            caches: None,
            race,
            deaf,
        });
        Ok(true)
    }

    /// The queue's scratch slots, of which there are `waves` now.
    fn slots_for(&mut self, waves: u32) -> Arc<Mutex<ScratchSlots>> {
        let known = self.scratch_slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).waves();
        if known != waves {
            // The runtime has put other memory in place, which it does only when nothing uses the old.
            self.scratch_slots = Arc::new(Mutex::new(ScratchSlots::new(waves)));
        }
        self.scratch_slots.clone()
    }

    /// Strict memory is switched off: everything becomes visible.
    pub fn give_up_caches(&mut self, l2: &mut L2, mem: &AddressSpace) {
        self.caches.give_up(l2, mem);
        for mut caches in self.slots.iter_mut().filter_map(|slot| slot.caches.take()) {
            caches.drain(l2, mem);
        }
    }

    fn ask_runtime(&mut self, common: &Common, device: &Device, what: QueueError) -> Result<(), Stop> {
        let handle = inactive_signal(common, &device.mem)?;
        if handle == 0 {
            return Err(Stop::Error(what, "the queue has no inactive signal to ask through".into()));
        }
        self.awaiting_runtime = true;
        signal::store(&device.mem, handle, what as u64, &*device.interrupts)?;
        Ok(())
    }

    /// What the log will say of a dispatch, once its execution is over, and the stores that its release fence is for.
    pub fn executed(&mut self, dispatch: &mut Dispatch) {
        let instructions = dispatch.instructions();
        let cus_used = dispatch.cus_used.clone();
        if let Some(slot) = self.slots.get_mut((dispatch.index - self.read) as usize) {
            slot.caches = dispatch.caches.take();
            slot.record.cus_used = cus_used;
            slot.record.instructions = instructions;
        }
    }

    /// The packet's time is up: its slot, its signal, its event.
    pub fn complete(
        &mut self,
        common: &Common,
        device: &mut Device,
        index: u64,
        now: u64,
    ) -> Result<(), Stop> {
        let packets = common.desc.ring_bytes / PACKET_BYTES;
        let slot = &mut self.slots[(index - self.read) as usize];
        slot.done = true;
        slot.record.end_ns = now;
        if let Some(l2) = &mut device.l2 {
            self.caches.release(l2, &device.mem, slot.caches.take(), slot.mark, slot.release);
        }
        let (packet, record, race, deaf) = (slot.packet, slot.record.clone(), slot.race, slot.deaf);
        if self.blocking == Some(index) {
            self.blocking = None;
        }
        let mem = &*device.mem;
        mem.store16(common.desc.ring_va + index % packets * PACKET_BYTES, INVALID_HEADER)?;
        while self.slots.front().is_some_and(|slot| slot.done) {
            self.slots.pop_front();
            self.read += 1;
        }
        mem.store64(common.desc.read_ptr_va, self.read)?;
        let start = record.start_ns;
        if device.interrupts.wants_packets() {
            device.interrupts.note(Event::Packet(record.clone()));
        }
        device.with_record(|r| r.completed(record));
        let handle = packet.completion_signal();
        let mut changed = None;
        if handle != 0 {
            let properties = mem.load32(queue_va(common) + queue::PROPERTIES)?;
            let ticks = (properties & queue::ENABLE_PROFILING != 0)
                .then(|| (device.clock.counter_at(start), device.clock.counter_at(now)));
            let interrupts: &dyn Interrupts = if deaf { &signal::Deaf } else { &*device.interrupts };
            let value = signal::complete(mem, handle, ticks, interrupts)?;
            changed = Some((signal::value_va(handle), value));
        }
        if let Some(races) = &mut device.races {
            match (race, changed) {
                (Some(id), changed) => races.complete(id, changed),
                (None, Some((value_va, value))) => self.order.signal(races, value_va, value),
                (None, None) => {}
            }
        }
        Ok(())
    }
}
