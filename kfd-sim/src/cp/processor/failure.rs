//! How a queue stops for good: what is reported to whom.

use super::super::aql::{self, QueueError};
use super::super::common::{Common, Device, Stop};
use super::super::gpu_memory::GpuMemory;
use super::super::signal;
use super::{Processor, pause};
use crate::isa::ExecFault;
use crate::journal::Event;
use crate::settings::say;

impl Processor {
    /// Stops a queue for good and reports why; the others go on.
    pub(super) fn fail(&mut self, id: u32, stop: Stop) {
        self.drop_dispatches(id);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if std::mem::replace(&mut queue.common.failed, true) {
            return;
        }
        let what = match &stop {
            Stop::Memory(fault) => fault.to_string(),
            Stop::Error(_, what) => what.clone(),
        };
        say(format_args!("queue {id} stopped: {what}"));
        self.device.interrupts.note(Event::QueueStopped { queue: id, why: what.clone() });
        self.device.with_record(|r| r.queue(id).failure = Some(what));
        match stop {
            Stop::Memory(fault) => {
                // The wave's exception for the queue, and the process's memory fault event, as the trap handler and the driver raise them.
                let word = self.queues.get(&id).and_then(|q| error_word(&q.common, &self.device));
                if let Some((word, event)) = word {
                    match self.device.mem.or64(word, aql::MEMORY_VIOLATION) {
                        Ok(_) => self.device.interrupts.event(event),
                        Err(fault) => {
                            say(format_args!("queue {id}: the error could not be reported: {fault}"))
                        }
                    }
                }
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
                    say(format_args!("queue {id}: the error could not be reported: {fault}"));
                }
            }
        }
        if self.device.mem.take_lost().is_some() {
            say(format_args!("queue {id}: the memory for its errors is gone"));
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
}

/// What a kernel's error is for its queue.
pub(super) fn exec_fault(fault: ExecFault) -> Stop {
    let code = match &fault {
        ExecFault::Memory { fault, address } => {
            say(format_args!("memory fault by the instruction at {address:#x}"));
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
