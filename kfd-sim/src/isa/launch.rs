//! What the hardware initialises for a dispatch: kernel descriptor, packet, and the registers a wave starts with.
//!
//! Sources: the HSA specification's dispatch packet, LLVM's "User Guide for AMDGPU" (kernel descriptor, initial kernel
//! execution state) and `amd_hsa_kernel_code.h`. The 64-byte descriptor (code object v3 and later) and the 256-byte
//! `amd_kernel_code_t` (ROCr's built-in kernels) put entry offset, `compute_pgm_rsrc1/2` and the properties at the same
//! offsets (16, 48, 52, 56); the command processor reads nothing else, so one parser serves both.

use super::fault::LaunchError;
use super::workgroup::Placement;
use crate::memory::{Access, AddressSpace};

/// Lanes of a wave.
pub const WAVE: u32 = 64;

/// Scratch memory of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScratchDesc {
    /// The buffer resource given to kernels (`scratch_resource_descriptor`).
    pub resource: [u32; 4],
    /// GPU address of the backing memory.
    pub base_va: u64,
    /// Bytes of the backing memory.
    pub bytes: u64,
    /// Bytes of one wave's share: wave slot `n` owns `[base_va + n * wave_bytes, + wave_bytes)`.
    pub wave_bytes: u64,
}

/// What the command processor knows when it starts a kernel dispatch packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchDesc {
    /// The AQL kernel dispatch packet.
    pub packet: [u8; 64],
    /// Where the packet lies.
    pub packet_va: u64,
    /// The queue's `amd_queue_t`.
    pub queue_va: u64,
    /// The packet's index in its queue.
    pub dispatch_id: u64,
    /// The queue's scratch memory, if it has any.
    pub scratch: Option<ScratchDesc>,
    /// Base of the 4 GiB flat aperture of LDS (a multiple of 2^48).
    pub lds_aperture: u64,
    /// Base of the 4 GiB flat aperture of scratch (a multiple of 2^48).
    pub scratch_aperture: u64,
}

/// A dispatch ready to be run workgroup by workgroup.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(super) desc: LaunchDesc,
    pub(super) entry: u64,
    pub(super) rsrc1: u32,
    pub(super) rsrc2: u32,
    properties: u32,
    workgroup: [u32; 3],
    grid: [u32; 3],
    private_bytes: u32,
    lds_bytes: u32,
    kernarg: u64,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

const PROP_PRIVATE_BUFFER: u32 = 1 << 0;
const PROP_DISPATCH_PTR: u32 = 1 << 1;
const PROP_QUEUE_PTR: u32 = 1 << 2;
const PROP_KERNARG_PTR: u32 = 1 << 3;
const PROP_DISPATCH_ID: u32 = 1 << 4;
const PROP_FLAT_SCRATCH_INIT: u32 = 1 << 5;
const PROP_PRIVATE_SIZE: u32 = 1 << 6;
const PROP_GRID_COUNT_X: u32 = 1 << 7;
const PROP_WAVE32: u32 = 1 << 10;

/// LDS is allocated in units of 128 dwords.
const LDS_GRANULE: u32 = 512;

impl Launch {
    /// Reads the packet and the kernel descriptor that it names.
    pub fn parse(desc: &LaunchDesc, mem: &AddressSpace) -> Result<Launch, LaunchError> {
        let packet = &desc.packet;
        let setup = u16_at(packet, 2);
        let dims = usize::from(setup & 3);
        let sizes = [4, 6, 8].map(|at| u16_at(packet, at));
        let grid = [12, 16, 20].map(|at| u32_at(packet, at));
        if dims == 0 || sizes[..dims].contains(&0) || grid[..dims].contains(&0) {
            return Err(LaunchError::Dimensions { setup, workgroup: sizes, grid });
        }
        let (mut workgroup, mut grid) = (sizes.map(u32::from), grid);
        for dim in dims..3 {
            (workgroup[dim], grid[dim]) = (1, 1);
        }
        let items: u64 = workgroup.iter().map(|&n| u64::from(n)).product();
        if items > 1024 {
            return Err(LaunchError::WorkgroupTooLarge(items));
        }
        let (private_bytes, group_bytes) = (u32_at(packet, 24), u32_at(packet, 28));
        if group_bytes > 65536 {
            return Err(LaunchError::LdsTooLarge(group_bytes));
        }
        let kernel_object = u64_at(packet, 32);
        if !kernel_object.is_multiple_of(64) {
            return Err(LaunchError::MisalignedDescriptor(kernel_object));
        }
        let span = mem.translate(kernel_object, 64, Access::Read).map_err(LaunchError::Descriptor)?;
        let mut kd = [0u8; 64];
        // SAFETY: `translate` just said that these 64 bytes are mapped; u8 copies need no alignment.
        unsafe { std::ptr::copy_nonoverlapping(span.at(kernel_object), kd.as_mut_ptr(), 64) };
        let entry = kernel_object.wrapping_add(u64_at(&kd, 16));
        mem.translate(entry, 4, Access::Execute).map_err(LaunchError::Descriptor)?;
        let (rsrc1, rsrc2, properties) = (u32_at(&kd, 48), u32_at(&kd, 52), u32_at(&kd, 56) & 0xffff);
        if properties & PROP_WAVE32 != 0 {
            return Err(LaunchError::Unsupported("wave32".into()));
        }
        if !entry.is_multiple_of(4) {
            return Err(LaunchError::Unsupported(format!("entry {entry:#x} is not a multiple of 4")));
        }
        let need = u64::from(private_bytes) * u64::from(WAVE);
        let have = desc.scratch.map_or(0, |s| s.wave_bytes);
        if need > have {
            return Err(LaunchError::Scratch { need, have });
        }
        Ok(Launch {
            desc: *desc,
            entry,
            rsrc1,
            rsrc2,
            properties,
            workgroup,
            grid,
            private_bytes,
            lds_bytes: group_bytes.next_multiple_of(LDS_GRANULE),
            kernarg: u64_at(packet, 40),
        })
    }

    /// Workgroups of the grid, partial ones included.
    pub fn workgroups(&self) -> [u32; 3] {
        std::array::from_fn(|d| self.grid[d].div_ceil(self.workgroup[d]))
    }

    /// Waves of a full workgroup.
    pub fn waves_per_workgroup(&self) -> u32 {
        self.workgroup.iter().product::<u32>().div_ceil(WAVE)
    }

    /// VGPRs allocated to each lane.
    pub fn vgprs(&self) -> u32 {
        ((self.rsrc1 & 0x3f) + 1) * 4
    }

    /// SGPRs allocated to each wave (VCC, FLAT_SCRATCH and XNACK_MASK included).
    pub fn sgprs(&self) -> u32 {
        (((self.rsrc1 >> 6 & 0xf) / 2 + 1) * 16).min(112)
    }

    /// Bytes of LDS allocated to each workgroup.
    pub fn lds_bytes(&self) -> u32 {
        self.lds_bytes
    }

    /// Bytes of private segment of each work-item.
    pub fn private_bytes_per_lane(&self) -> u32 {
        self.private_bytes
    }

    /// GPU address of the kernel arguments.
    pub fn kernarg(&self) -> u64 {
        self.kernarg
    }

    /// GPU address of the first instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Work-items of workgroup `id` in each dimension: smaller at the far edge of a grid that is not a multiple.
    pub(super) fn extent(&self, id: [u32; 3]) -> [u32; 3] {
        std::array::from_fn(|d| {
            let start = u64::from(id[d]) * u64::from(self.workgroup[d]);
            u64::from(self.grid[d]).saturating_sub(start).min(u64::from(self.workgroup[d])) as u32
        })
    }

    /// Highest work-item id dimension put in VGPRs: 0 for X only, 1 for X and Y, 2 for all.
    pub(super) fn workitem_id_dims(&self) -> u32 {
        self.rsrc2 >> 11 & 3
    }

    /// MODE register at the start: rounding [3:0], denormals [7:4], DX10_CLAMP 8, IEEE 9.
    pub(super) fn mode(&self) -> u32 {
        (self.rsrc1 >> 12 & 0xff) | (self.rsrc1 >> 21 & 1) << 8 | (self.rsrc1 >> 23 & 1) << 9
    }

    /// SGPRs of wave `wave` (of `waves`) of workgroup `id`, in the order of the ABI.
    pub(super) fn initial_sgprs(&self, id: [u32; 3], wave: u32, waves: u32, place: &Placement) -> Vec<u32> {
        let mut user = Vec::with_capacity(32);
        let has = |bit: u32| self.properties & bit != 0;
        let push64 = |user: &mut Vec<u32>, value: u64| user.extend([value as u32, (value >> 32) as u32]);
        let scratch = self.desc.scratch;
        if has(PROP_PRIVATE_BUFFER) {
            user.extend(scratch.map_or([0; 4], |s| s.resource));
        }
        if has(PROP_DISPATCH_PTR) {
            push64(&mut user, self.desc.packet_va);
        }
        if has(PROP_QUEUE_PTR) {
            push64(&mut user, self.desc.queue_va);
        }
        if has(PROP_KERNARG_PTR) {
            push64(&mut user, self.kernarg);
        }
        if has(PROP_DISPATCH_ID) {
            push64(&mut user, self.desc.dispatch_id);
        }
        if has(PROP_FLAT_SCRATCH_INIT) {
            push64(&mut user, scratch.map_or(0, |s| s.base_va));
        }
        if has(PROP_PRIVATE_SIZE) {
            user.push(self.private_bytes);
        }
        let counts = self.workgroups();
        for (dim, count) in counts.into_iter().enumerate() {
            if has(PROP_GRID_COUNT_X << dim) {
                user.push(count);
            }
        }
        // The count in rsrc2 says where user SGPRs end, whatever the properties ask for.
        user.resize((self.rsrc2 >> 1 & 0x1f) as usize, 0);
        for (dim, id) in id.into_iter().enumerate() {
            if self.rsrc2 >> (7 + dim) & 1 != 0 {
                user.push(id);
            }
        }
        if self.rsrc2 >> 10 & 1 != 0 {
            user.push(u32::from(wave == 0) << 31 | waves & 0x3f);
        }
        if self.rsrc2 & 1 != 0 {
            user.push(self.scratch_wave_offset(wave, place) as u32);
        }
        user
    }

    /// Byte offset of a wave's scratch from the queue's scratch base.
    pub(super) fn scratch_wave_offset(&self, wave: u32, place: &Placement) -> u64 {
        let wave_bytes = self.desc.scratch.map_or(0, |s| s.wave_bytes);
        (u64::from(place.scratch_slot) + u64::from(wave)) * wave_bytes
    }
}
