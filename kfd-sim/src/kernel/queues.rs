//! User-mode queues: checked, given a doorbell, handed to the command processor.
//!
//! Any thread. A queue id is the command processor's.

use super::buffers::{DOORBELL_BYTES, DOORBELL_OFFSET, VA_END};
use super::uapi::{Answer, CreateQueue, Errno, QueueWaveState, UpdateQueue, queue_type};
use crate::cp::{CommandProcessor, CpError, DoorbellPtr, QueueDesc, QueueKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const DOORBELLS: usize = DOORBELL_BYTES as usize / 8;
/// Highest KFD queue priority.
const MOST_PRIORITY: u32 = 15;

/// The queues of one process on one GPU.
#[derive(Debug)]
pub struct Queues {
    processor: Arc<CommandProcessor>,
    doorbells: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Queue id to doorbell slot.
    slots: BTreeMap<u32, usize>,
}

fn errno(error: &CpError) -> Errno {
    Errno(match error {
        CpError::NotMapped { .. } => libc::EFAULT,
        CpError::Stopped => libc::EIO,
        CpError::Forked { .. } => libc::EBADF,
        CpError::UnknownQueue(_)
        | CpError::BadRing { .. }
        | CpError::Unsupported(_)
        | CpError::NotStepping(_)
        | CpError::BadMask { .. } => libc::EINVAL,
    })
}

impl Queues {
    /// No queues yet. `doorbells` is the device's mapping of the doorbell page, valid as long as the device.
    pub fn new(processor: Arc<CommandProcessor>, doorbells: *mut u8) -> Self {
        Self { processor, doorbells: doorbells as usize, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The command processor behind the queues.
    pub fn processor(&self) -> &Arc<CommandProcessor> {
        &self.processor
    }

    /// CREATE_QUEUE. EINVAL for bad properties, EFAULT for addresses that no user has, ENOMEM without a free doorbell.
    pub fn create(&self, args: &mut CreateQueue) -> Answer {
        check_properties(args.queue_percentage, args.queue_priority, args.ring_base_address, args.ring_size)?;
        for address in [args.read_pointer_address, args.write_pointer_address] {
            if address == 0 || address >= VA_END || address % 8 != 0 {
                return Err(Errno(libc::EFAULT));
            }
        }
        let kind = match args.queue_type {
            queue_type::COMPUTE => QueueKind::Pm4,
            queue_type::COMPUTE_AQL => QueueKind::Aql,
            queue_type::SDMA | queue_type::SDMA_XGMI => QueueKind::Sdma { engine: None },
            queue_type::SDMA_BY_ENGINE => QueueKind::Sdma { engine: Some(args.sdma_engine_id) },
            _ => return Err(Errno(libc::EINVAL)),
        };
        let mut table = self.lock();
        let slot =
            (0..DOORBELLS).find(|s| !table.slots.values().any(|t| t == s)).ok_or(Errno(libc::ENOMEM))?;
        let doorbell = (self.doorbells + slot * 8) as *const AtomicU64;
        // SAFETY: the slot lies in the device's doorbell mapping, which outlives its queues; 8-byte aligned.
        // Relaxed: the command processor learns of the slot through `create_queue`, which orders it.
        unsafe { (*doorbell).store(0, Ordering::Relaxed) };
        let desc = QueueDesc {
            kind,
            ring_va: args.ring_base_address,
            ring_bytes: args.ring_size.into(),
            read_ptr_va: args.read_pointer_address,
            write_ptr_va: args.write_pointer_address,
            doorbell: DoorbellPtr(doorbell),
            percentage: args.queue_percentage & 0xff,
            priority: args.queue_priority,
            ctx_save_va: args.ctx_save_restore_address,
            ctx_save_bytes: args.ctx_save_restore_size.into(),
            eop_va: args.eop_buffer_address,
        };
        let id = self.processor.create_queue(desc).map_err(|e| errno(&e))?;
        table.slots.insert(id, slot);
        args.queue_id = id;
        args.doorbell_offset = DOORBELL_OFFSET + slot as u64 * 8;
        Ok(())
    }

    /// Whether there is no queue.
    pub fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// DESTROY_QUEUE: returns when the GPU no longer touches the queue. EINVAL for an unknown id.
    pub fn destroy(&self, id: u32) -> Answer {
        // The slot stays taken until the device has let go of it, so that nobody inherits a ringing doorbell.
        self.known(id, libc::EINVAL)?;
        self.processor.destroy_queue(id).map_err(|e| errno(&e))?;
        self.lock().slots.remove(&id);
        Ok(())
    }

    /// UPDATE_QUEUE. EFAULT for an unknown id, as amdkfd answers.
    pub fn update(&self, args: &UpdateQueue) -> Answer {
        check_properties(args.queue_percentage, args.queue_priority, args.ring_base_address, args.ring_size)?;
        self.known(args.queue_id, libc::EFAULT)?;
        let ring = (args.ring_base_address, args.ring_size.into());
        let percentage = args.queue_percentage & 0xff;
        (self.processor)
            .update_queue(args.queue_id, ring.0, ring.1, percentage, args.queue_priority)
            .map_err(|e| errno(&e))
    }

    /// SET_CU_MASK. EFAULT for an unknown id, as amdkfd answers.
    pub fn set_cu_mask(&self, id: u32, mask: &[u32]) -> Answer {
        self.known(id, libc::EFAULT)?;
        self.processor.set_cu_mask(id, mask).map_err(|e| errno(&e))
    }

    /// GET_QUEUE_WAVE_STATE: no wave is ever saved here, so both areas are empty.
    pub fn wave_state(&self, args: &mut QueueWaveState) -> Answer {
        self.known(args.queue_id, libc::EINVAL)?;
        (args.ctl_stack_used_size, args.save_area_used_size) = (0, 0);
        Ok(())
    }

    fn known(&self, id: u32, otherwise: i32) -> Answer {
        if self.lock().slots.contains_key(&id) { Ok(()) } else { Err(Errno(otherwise)) }
    }
}

fn check_properties(percentage: u32, priority: u32, ring: u64, ring_bytes: u32) -> Answer {
    // Bits 8 to 15 carry the partition's index in newer headers.
    if percentage & 0xff > 100 || priority > MOST_PRIORITY {
        return Err(Errno(libc::EINVAL));
    }
    if ring >= VA_END {
        return Err(Errno(libc::EFAULT));
    }
    if ring_bytes != 0 && !ring_bytes.is_power_of_two() {
        return Err(Errno(libc::EINVAL));
    }
    Ok(())
}
