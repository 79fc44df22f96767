//! KFD's ioctls: arguments checked, then handed to the table that owns the matter.
//!
//! errno values follow amdkfd (`kfd_chardev.c`). What this device does not have is refused with EINVAL and appears by
//! name in the ioctl log.

use super::buffers::VA_END;
use super::uapi::*;
use super::{Device, GPU_ID, user};
use crate::kernel::Node;
use bytemuck::Pod;
use std::sync::atomic::Ordering;

/// amdkfd's `KFD_MMAP_TYPE_EVENTS`: the mapping offset that a signal event's page is reported with.
const MMAP_TYPE_EVENTS: u64 = 2 << 62;

/// Version of the interface from which on events have ages.
const AGES_SINCE: u32 = 14;
/// RUNTIME_ENABLE's mode: enable, or else disable.
const RUNTIME_ENABLE: u32 = 1;
/// GB_ADDR_CONFIG of Vega 20 (amdgpu, `gfx_v9_0.c`).
pub(super) const GB_ADDR_CONFIG: u32 = 0x2201_4042;
/// LDS and scratch apertures of gfx9: outside the canonical low half, so never mistaken for memory.
const LDS_BASE: u64 = 0x1_0000_0000_0000;
const SCRATCH_BASE: u64 = 0x2_0000_0000_0000;
/// First address of the GPU's page tables that programs use.
const GPUVM_BASE: u64 = 0x4000;

/// Runs `f` on the argument as the struct that this side knows; bytes beyond what the caller sent are zero, bytes beyond
/// what we know are left alone.
pub(super) fn with<T: Pod>(bytes: &mut [u8], f: impl FnOnce(&mut T) -> Answer) -> Answer {
    let mut value = T::zeroed();
    let shared = bytes.len().min(size_of::<T>());
    bytemuck::bytes_of_mut(&mut value)[..shared].copy_from_slice(&bytes[..shared]);
    let answer = f(&mut value);
    bytes[..shared].copy_from_slice(&bytemuck::bytes_of(&value)[..shared]);
    answer
}

fn this_gpu(id: u32) -> Answer {
    if id == GPU_ID { Ok(()) } else { Err(Errno(libc::EINVAL)) }
}

impl Device {
    pub(super) fn kfd_ioctl(&self, nr: u32, bytes: &mut [u8]) -> Answer {
        match nr {
            0x01 => with(bytes, |a: &mut GetVersion| {
                (a.major, a.minor) = self.kfd_version();
                Ok(())
            }),
            0x02 => with(bytes, |a: &mut CreateQueue| {
                this_gpu(a.gpu_id)?;
                self.vm_is_acquired()?;
                self.queues.create(a)
            }),
            0x03 => with(bytes, |a: &mut DestroyQueue| self.queues.destroy(a.queue_id)),
            0x04 => with(bytes, |a: &mut SetMemoryPolicy| this_gpu(a.gpu_id)),
            0x05 => with(bytes, |a: &mut ClockCounters| self.clock_counters(a)),
            0x07 => with(bytes, |a: &mut UpdateQueue| self.queues.update(a)),
            0x08 => with(bytes, |a: &mut CreateEvent| self.create_event(a)),
            0x09 => with(bytes, |a: &mut EventId| self.events.destroy(a.event_id)),
            0x0a => with(bytes, |a: &mut EventId| self.events.set(a.event_id)),
            0x0b => with(bytes, |a: &mut EventId| self.events.reset(a.event_id)),
            0x0c => with(bytes, |a: &mut WaitEvents| self.wait_events(a)),
            0x11 => with(bytes, |a: &mut ScratchBackingVa| this_gpu(a.gpu_id)),
            0x12 => with(bytes, |a: &mut TileConfig| {
                this_gpu(a.gpu_id)?;
                // gfx9 has no tile mode tables; the counts say how many entries were filled in.
                (a.num_tile_configs, a.num_macro_tile_configs) = (0, 0);
                (a.gb_addr_config, a.num_banks, a.num_ranks) = (GB_ADDR_CONFIG, 0, 0);
                Ok(())
            }),
            0x13 => with(bytes, |a: &mut SetTrapHandler| this_gpu(a.gpu_id)),
            0x14 => with(bytes, |a: &mut GetApertures| self.apertures(a)),
            0x15 => with(bytes, |a: &mut AcquireVm| self.acquire_vm(a)),
            0x16 => with(bytes, |a: &mut AllocMemory| {
                this_gpu(a.gpu_id)?;
                self.vm_is_acquired()?;
                self.buffers.allocate(a)
            }),
            0x17 => with(bytes, |a: &mut FreeMemory| self.buffers.free(a.handle)),
            0x18 => with(bytes, |a: &mut MapMemory| each_device(a, |handle| self.buffers.map(handle))),
            0x19 => with(bytes, |a: &mut MapMemory| {
                let answer = each_device(a, |handle| self.buffers.unmap(handle));
                // The caller may give the memory back to the host as soon as this returns.
                self.processor().fence();
                answer
            }),
            0x1a => with(bytes, |a: &mut SetCuMask| self.set_cu_mask(a)),
            0x1b => with(bytes, |a: &mut QueueWaveState| self.queues.wave_state(a)),
            0x21 => with(bytes, |a: &mut XnackMode| match a.mode {
                mode if mode > 0 => Err(Errno(libc::EPERM)),
                _ => {
                    a.mode = 0;
                    Ok(())
                }
            }),
            0x23 => with(bytes, |a: &mut AvailableMemory| {
                this_gpu(a.gpu_id)?;
                a.available = self.spec.memory.vram_bytes - self.buffers.used().0;
                Ok(())
            }),
            0x1f => with(bytes, |a: &mut SmiEvents| {
                this_gpu(a.gpu_id)?;
                a.anon_fd = self.listeners.open()? as u32;
                Ok(())
            }),
            0x25 => with(bytes, |a: &mut RuntimeEnable| self.runtime_enable(a)),
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    fn vm_is_acquired(&self) -> Answer {
        // Acquire: pairs with the release in `acquire_vm`, from whichever thread opened the device.
        if self.vm_acquired.load(Ordering::Acquire) { Ok(()) } else { Err(Errno(libc::ENODEV)) }
    }

    fn acquire_vm(&self, args: &AcquireVm) -> Answer {
        this_gpu(args.gpu_id)?;
        match i32::try_from(args.drm_fd).ok().and_then(|fd| self.node_of(fd)) {
            Some(Node::Render) => {
                // Release: pairs with the acquire in `vm_is_acquired`.
                self.vm_acquired.store(true, Ordering::Release);
                Ok(())
            }
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// EBUSY if it is enabled already, EEXIST if queues exist (`kfd_chardev.c`). Without a debugger that is all it does.
    fn runtime_enable(&self, args: &mut RuntimeEnable) -> Answer {
        args.capabilities = 0;
        if args.mode_mask & RUNTIME_ENABLE == 0 {
            // AcqRel: as below.
            self.runtime_enabled.swap(false, Ordering::AcqRel);
            return Ok(());
        }
        // AcqRel: of two callers one finds it changed; pairs with itself.
        if self.runtime_enabled.swap(true, Ordering::AcqRel) {
            return Err(Errno(libc::EBUSY));
        }
        if !self.queues.is_empty() {
            self.runtime_enabled.store(false, Ordering::Release);
            return Err(Errno(libc::EEXIST));
        }
        Ok(())
    }

    fn clock_counters(&self, args: &mut ClockCounters) -> Answer {
        let (gpu, system) = self.clock.read();
        // The CPU node asks too, with id 0.
        args.gpu = if args.gpu_id == GPU_ID { gpu } else { 0 };
        (args.cpu, args.system, args.system_freq) = (system, system, 1_000_000_000);
        Ok(())
    }

    fn apertures(&self, args: &mut GetApertures) -> Answer {
        let ours = Apertures {
            lds_base: LDS_BASE,
            lds_limit: LDS_BASE + 0xffff_ffff,
            scratch_base: SCRATCH_BASE,
            scratch_limit: SCRATCH_BASE + 0xffff_ffff,
            gpuvm_base: GPUVM_BASE,
            gpuvm_limit: VA_END - 1,
            gpu_id: GPU_ID,
            pad: 0,
        };
        // With no room given, the caller only asks for the count.
        if args.num_of_nodes > 0 {
            user::write_array(args.apertures_ptr, &[ours])?;
        }
        args.num_of_nodes = 1;
        Ok(())
    }

    fn create_event(&self, args: &mut CreateEvent) -> Answer {
        if args.event_page_offset != 0 {
            let bytes = u64::from(super::events::SIGNAL_EVENT_LIMIT) * 8;
            let page = self.buffers.host(args.event_page_offset, bytes)?;
            // AcqRel: only one thread may win the page; pairs with itself.
            if self.event_page.swap(true, Ordering::AcqRel) {
                return Err(Errno(libc::EINVAL));
            }
            user::write_bytes(page as u64, &vec![0xff; bytes as usize])?;
        }
        let id = self.events.create(args.event_type, args.auto_reset != 0)?;
        args.event_id = id;
        if id < super::events::SIGNAL_EVENT_LIMIT {
            (args.event_trigger_data, args.event_slot_index) = (id, id);
            // Not zero, or the thunk gives the signal no mailbox, and the GPU then raises no interrupt for it.
            args.event_page_offset = MMAP_TYPE_EVENTS;
        }
        Ok(())
    }

    fn wait_events(&self, args: &mut WaitEvents) -> Answer {
        let mut data: Vec<EventData> = user::read_array(args.events_ptr, args.num_events as usize)?;
        let ids: Vec<u32> = data.iter().map(|d| d.event_id).collect();
        let age = |d: &EventData| u64::from_le_bytes(d.payload[..8].try_into().expect("8 bytes"));
        let has_ages = self.kfd_version().1 >= AGES_SINCE;
        let seen: Vec<u64> = if has_ages { data.iter().map(age).collect() } else { Vec::new() };
        args.wait_result = wait_result::FAIL;
        let waited = self.events.wait_for_ages(&ids, &seen, args.wait_for_all != 0, args.timeout)?;
        args.wait_result = waited.result;
        if waited.result != wait_result::COMPLETE {
            return Ok(());
        }
        let mut carried = false;
        for (data, age) in data.iter_mut().zip(waited.ages) {
            if let Some(age) = age {
                data.payload[..8].copy_from_slice(&age.to_le_bytes());
                carried = true;
            }
        }
        for (data, payload) in data.iter_mut().zip(waited.payloads) {
            if let Some(payload) = payload.filter(|p| !matches!(p, super::events::Payload::None)) {
                data.payload = payload.bytes();
                carried = true;
            }
        }
        if carried { user::write_array(args.events_ptr, &data) } else { Ok(()) }
    }

    fn set_cu_mask(&self, args: &SetCuMask) -> Answer {
        /// amdkfd's bound on the bits of a mask; what is beyond is ignored.
        const MOST_BITS: u32 = 1024;
        if args.num_cu_mask == 0 || !args.num_cu_mask.is_multiple_of(32) {
            return Err(Errno(libc::EINVAL));
        }
        let words = args.num_cu_mask.min(MOST_BITS) as usize / 32;
        let mask: Vec<u32> = user::read_array(args.cu_mask_ptr, words)?;
        self.queues.set_cu_mask(args.queue_id, &mask)?;
        self.recorder.log_mask(args.queue_id, mask);
        Ok(())
    }
}

/// MAP and UNMAP name their devices in an array, and count how many of them are done.
fn each_device(args: &mut MapMemory, mut act: impl FnMut(u64) -> Answer) -> Answer {
    if args.n_devices == 0 || args.n_success > args.n_devices {
        return Err(Errno(libc::EINVAL));
    }
    let ids: Vec<u32> = user::read_array(args.device_ids_ptr, args.n_devices as usize)?;
    for id in &ids[args.n_success as usize..] {
        this_gpu(*id)?;
        act(args.handle)?;
        args.n_success += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn shorter_and_longer_arguments_than_ours_work() {
        let mut short = [0u8; 4];
        with(&mut short, |a: &mut GetVersion| {
            (a.major, a.minor) = (1, 2);
            Ok(())
        })
        .unwrap();
        assert_eq!(short, [1, 0, 0, 0]);
        let mut long = [7u8; 12];
        with(&mut long, |a: &mut GetVersion| {
            assert_eq!(a.minor, 0x0707_0707);
            *a = GetVersion::zeroed();
            Ok(())
        })
        .unwrap();
        assert_eq!(long, [0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7]);
    }
}
