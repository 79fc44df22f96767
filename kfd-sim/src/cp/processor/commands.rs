//! What other threads ask of the command processor: queues made, changed and destroyed, modes switched.

use super::super::api::{CpError, HardwareQueue, QueueDesc, QueueKind};
use super::super::aql;
use super::super::aql_queue::AqlQueue;
use super::super::common::{Common, Device, Stop};
use super::super::crew::Crew;
use super::super::cu_mask::CuMask;
use super::super::gpu_memory::GpuMemory;
use super::super::inbox::{Command, Reply};
use super::super::queue::{Body, Queue};
use super::super::races::Races;
use super::super::sdma::SdmaQueue;
use super::{Processor, pause};
use crate::caches::MemoryModel;
use crate::journal::Event;
use crate::memory::{Access, MemoryFault};

impl Processor {
    /// Reads every queue's write index again, as remapping the queues does on hardware without MES.
    fn remap(&mut self, stops: &mut Vec<(u32, Stop)>) {
        for (&id, queue) in self.queues.iter_mut().filter(|(_, q)| !q.common.failed) {
            match queue.common.read_write_index(&self.device.mem) {
                Ok(()) => queue.published(&self.device),
                Err(stop) => stops.push((id, stop)),
            }
            stops.extend(self.device.mem.take_lost().map(|fault| (id, Stop::Memory(fault))));
        }
    }

    pub(super) fn command(&mut self, command: Command) -> (Reply, Vec<(u32, Stop)>) {
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
                self.turns.leave(id);
                if gone.is_ok() {
                    self.device.interrupts.note(Event::QueueDestroyed { queue: id });
                }
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
            Command::Races(on) => {
                self.set_races(on);
                Ok(0)
            }
            Command::Trace(on) => {
                self.device.tracing = on;
                Ok(0)
            }
            Command::Stepping(on) => {
                self.stepping = on;
                self.queues.values_mut().for_each(|q| q.common.permits = on.then_some(0));
                Ok(0)
            }
            Command::Permit { id, packets } => {
                self.with_queue(id, |queue, _| queue.common.permits = Some(packets))
            }
            Command::Fence => Ok(0),
            Command::Stop => unreachable!("handled by the loop"),
        };
        (answer, stops)
    }

    /// Switches the race detector. It needs caches, past which every access goes.
    pub(super) fn set_races(&mut self, on: bool) {
        if on && self.device.l2.is_none() {
            self.set_memory_model(MemoryModel::Caches);
        }
        self.device.races = on.then(Races::default);
    }

    pub(super) fn set_memory_model(&mut self, model: MemoryModel) {
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
        let (desc_is_aql, priority) = (desc.kind == QueueKind::Aql, desc.priority);
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
        if let Some(lost) = mem.take_lost() {
            return Err(fault(lost));
        }
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
        common.permits = self.stepping.then_some(0);
        if desc_is_aql {
            common.off_turn = !self.turns.join(hardware, id);
        }
        self.queues.insert(id, Queue { common, body });
        self.device.interrupts.note(Event::QueueCreated { queue: id, hardware, priority });
        self.device.with_record(|r| {
            r.hardware.insert(id, hardware);
            r.queue(id);
        });
        Ok(id)
    }

    /// The first hardware queue with the fewest users. KFD spreads its queues over the four pipes of MEC1 and leaves the
    /// first two of each to the graphics driver: 24 = 4 pipes x 6. Beyond that, queues that share a hardware queue take turns.
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
