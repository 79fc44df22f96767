//! The render node's ioctls: the few that libdrm and libdrm_amdgpu need to recognise the GPU.

use super::Device;
use super::buffers::{GTT_BYTES, VA_END};
use super::ioctl::{GB_ADDR_CONFIG, with};
use super::uapi::*;
use super::user;
use bytemuck::Zeroable;

/// amdgpu's DRM interface version.
const VERSION: (i32, i32, i32) = (3, 49, 0);
/// AMDGPU_FAMILY_AI: Vega.
const FAMILY_AI: u32 = 141;
/// Vega 20's chips start here in the family (`VEGA20_A0`).
const EXTERNAL_REVISION: u32 = 0x28;
/// PCI revision of the MI50 in libdrm's table of names.
pub const PCI_REVISION: u32 = 0x02;
/// Register offset of GB_ADDR_CONFIG, as libdrm_amdgpu asks for it.
const GB_ADDR_CONFIG_REGISTER: u32 = 0x263e;
/// Most registers in one query (amdgpu).
const MOST_REGISTERS: u32 = 128;

/// Copies a string as `drm_copy_field` does: as much as fits, and its full length.
fn copy_field(text: &str, pointer: u64, len: &mut u64) -> Answer {
    let fits = (*len).min(text.len() as u64) as usize;
    *len = text.len() as u64;
    if pointer == 0 || fits == 0 { Ok(()) } else { user::write_bytes(pointer, &text.as_bytes()[..fits]) }
}

impl Device {
    pub(super) fn drm_ioctl(&self, nr: u32, bytes: &mut [u8]) -> Answer {
        match nr {
            0x00 => with(bytes, |a: &mut DrmVersion| {
                (a.major, a.minor, a.patch) = VERSION;
                copy_field("amdgpu", a.name, &mut a.name_len)?;
                copy_field("20150101", a.date, &mut a.date_len)?;
                copy_field("AMD GPU (simulated)", a.desc, &mut a.desc_len)
            }),
            0x05 => with(bytes, |a: &mut DrmClient| {
                if a.idx != 0 {
                    return Err(Errno(libc::EINVAL));
                }
                (a.auth, a.pid) = (1, std::process::id().into());
                Ok(())
            }),
            0x45 => with(bytes, |a: &mut DrmInfo| self.drm_info(a)),
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    fn drm_info(&self, args: &DrmInfo) -> Answer {
        let (vram_used, gtt_used) = self.buffers.used();
        let vram = self.spec.memory.vram_bytes;
        let answer: Vec<u8> = match args.query {
            // ACCEL_WORKING, HW_IP_COUNT
            0x00 | 0x03 => 1u32.to_le_bytes().into(),
            // TIMESTAMP
            0x05 => self.clock.counter().to_le_bytes().into(),
            // FW_VERSION: version and feature
            0x0e => vec![0; 8],
            // VRAM_USAGE, GTT_USAGE, VIS_VRAM_USAGE
            0x10 | 0x17 => vram_used.to_le_bytes().into(),
            0x11 => gtt_used.to_le_bytes().into(),
            // VRAM_GTT: VRAM, of which the host can map, GTT
            0x14 => bytemuck::cast_slice(&[vram, vram, GTT_BYTES]).into(),
            // READ_MMR_REG
            0x15 => {
                let [offset, count, ..] = args.arg;
                if count > MOST_REGISTERS {
                    return Err(Errno(libc::EINVAL));
                }
                let read =
                    |i| if offset.wrapping_add(i) == GB_ADDR_CONFIG_REGISTER { GB_ADDR_CONFIG } else { 0 };
                (0..count).map(read).flat_map(u32::to_le_bytes).collect()
            }
            // DEV_INFO
            0x16 => bytemuck::bytes_of(&self.drm_device_info()).into(),
            // MEMORY: for VRAM, host-visible VRAM and GTT: total, usable, used, largest allocation
            0x19 => {
                let heap = |total: u64, used| [total, total, used, total / 4 * 3];
                bytemuck::cast_slice(&[
                    heap(vram, vram_used),
                    heap(vram, vram_used),
                    heap(GTT_BYTES, gtt_used),
                ])
                .into()
            }
            _ => return Err(Errno(libc::EINVAL)),
        };
        let fits = answer.len().min(args.return_size as usize);
        user::write_bytes(args.return_pointer, &answer[..fits])
    }

    fn drm_device_info(&self) -> DrmDeviceInfo {
        let shape = &self.spec.shape;
        let mut cus = [[0u32; 4]; 4];
        for engine in cus.iter_mut().take(shape.shader_engines as usize) {
            for array in engine.iter_mut().take(shape.sh_per_se as usize) {
                *array = ((1u64 << shape.cus_per_sh) - 1) as u32;
            }
        }
        DrmDeviceInfo {
            device_id: self.spec.device_id,
            external_rev: EXTERNAL_REVISION,
            pci_rev: PCI_REVISION,
            family: FAMILY_AI,
            num_shader_engines: shape.shader_engines,
            num_shader_arrays_per_engine: shape.sh_per_se,
            gpu_counter_freq_khz: (self.spec.clocks.counter_hz / 1000) as u32,
            max_engine_clock_khz: u64::from(self.spec.clocks.engine_mhz) * 1000,
            max_memory_clock_khz: u64::from(self.spec.clocks.memory_mhz) * 1000,
            cu_active_number: self.spec.cu_count(),
            cu_bitmap: cus,
            cu_ao_bitmap: cus,
            virtual_address_offset: 0x20_0000,
            virtual_address_max: VA_END,
            virtual_address_alignment: 4096,
            pte_fragment_size: 0x20_0000,
            gart_page_size: 4096,
            // AMDGPU_VRAM_TYPE_HBM, on a 4096-bit bus (AMD's MI50 data sheet)
            vram_type: 6,
            vram_bit_width: 4096,
            wave_front_size: self.spec.wave_size,
            num_shader_visible_vgprs: 256,
            num_cu_per_sh: shape.cu_slots_per_sh,
            num_tcc_blocks: 16,
            ..DrmDeviceInfo::zeroed()
        }
    }
}
