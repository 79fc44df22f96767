//! What the kernel driver says of a GPU and ROCr does not: hardware queues, XCCs, and which CUs are harvested.
//!
//! Sources: sysfs (`/sys/devices/virtual/kfd/kfd/topology/nodes/N/properties`, `/sys/class/kfd/kfd/proc`) and the DRM
//! device info (`AMDGPU_INFO_DEV_INFO` of `drm/amdgpu_drm.h`). Everything here is optional: `None` where the system does not
//! say. Parsing is pure; reading is a few system calls.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

const TOPOLOGY: &str = "/sys/devices/virtual/kfd/kfd/topology/nodes";
const PROCESSES: &str = "/sys/class/kfd/kfd/proc";

/// A topology node's properties, as `name value` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeProperties {
    pub(crate) num_cp_queues: Option<u32>,
    pub(crate) num_xcc: Option<u32>,
    pub(crate) drm_render_minor: Option<u32>,
    pub(crate) max_slots_scratch_cu: Option<u32>,
}

impl NodeProperties {
    pub(crate) fn parse(text: &str) -> Self {
        let get = |name: &str| {
            text.lines()
                .find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.trim().parse().ok())
        };
        Self {
            num_cp_queues: get("num_cp_queues"),
            num_xcc: get("num_xcc"),
            drm_render_minor: get("drm_render_minor"),
            max_slots_scratch_cu: get("max_slots_scratch_cu"),
        }
    }

    pub(crate) fn read(node: u32) -> Self {
        let path = Path::new(TOPOLOGY).join(node.to_string()).join("properties");
        fs::read_to_string(path).map(|text| Self::parse(&text)).unwrap_or_default()
    }
}

/// KFD's id of a GPU, by which other sysfs files name it.
pub(crate) fn gpu_id(node: u32) -> Option<u32> {
    fs::read_to_string(Path::new(TOPOLOGY).join(node.to_string()).join("gpu_id")).ok()?.trim().parse().ok()
}

/// Compute queues on a GPU, as (of this process, of other processes). `None` where the kernel does not list them.
pub(crate) fn queues_in_use(gpu_id: u32) -> Option<(u32, u32)> {
    queues_listed(Path::new(PROCESSES), gpu_id)
}

/// As [`queues_in_use`], of the processes listed in a folder.
fn queues_listed(processes: &Path, gpu_id: u32) -> Option<(u32, u32)> {
    let (mut ours, mut others) = (0, 0);
    for process in fs::read_dir(processes).ok()?.flatten() {
        let is_us = process.file_name().to_str() == Some(&std::process::id().to_string());
        let Ok(queues) = fs::read_dir(process.path().join("queues")) else { continue };
        for queue in queues.flatten() {
            let read = |file: &str| -> Option<u32> {
                fs::read_to_string(queue.path().join(file)).ok()?.trim().parse().ok()
            };
            // The driver's own `enum kfd_queue_type` (kfd_priv.h), not the ioctl's: 0 is compute, PM4 and AQL alike; 1 is SDMA.
            if read("gpuid") == Some(gpu_id) && read("type") == Some(0) {
                *(if is_us { &mut ours } else { &mut others }) += 1;
            }
        }
    }
    Some((ours, others))
}

/// Shader engines and arrays with a bit for each active CU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CuBitmaps {
    pub(crate) shader_engines: u32,
    pub(crate) sh_per_se: u32,
    /// The driver's `cu_bitmap[4][4]`, which folds the engines from the fifth on into later columns.
    bitmap: [[u32; 4]; 4],
}

impl CuBitmaps {
    /// Active CUs by `[se][sh]`, row-major, folded as KFD does (`cu_bitmap[se % 4][sh + (se / 4)]`).
    pub(crate) fn active(&self) -> Vec<u32> {
        let cells = (0..self.shader_engines).flat_map(|se| (0..self.sh_per_se).map(move |sh| (se, sh)));
        cells
            .map(|(se, sh)| {
                let row = self.bitmap[(se % 4) as usize];
                row.get((sh + se / 4) as usize).map_or(0, |bits| bits.count_ones())
            })
            .collect()
    }

    /// Reads the fields of `struct drm_amdgpu_info_device`.
    fn parse(info: &[u8; INFO_BYTES]) -> Self {
        let u32_at =
            |offset: usize| u32::from_ne_bytes(info[offset..offset + 4].try_into().expect("four bytes"));
        let cell = |se: usize, sh: usize| u32_at(CU_BITMAP_OFFSET + 16 * se + 4 * sh);
        Self {
            shader_engines: u32_at(20),
            sh_per_se: u32_at(24),
            bitmap: std::array::from_fn(|se| std::array::from_fn(|sh| cell(se, sh))),
        }
    }

    /// Asks the render node.
    pub(crate) fn read(render_minor: u32) -> Option<Self> {
        let device = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/dev/dri/renderD{render_minor}"))
            .ok()?;
        let mut info = [0u8; INFO_BYTES];
        let mut request = InfoRequest {
            return_pointer: info.as_mut_ptr() as u64,
            return_size: INFO_BYTES as u32,
            query: AMDGPU_INFO_DEV_INFO,
            parameters: [0; 4],
        };
        // SAFETY: the request has the layout of `struct drm_amdgpu_info`, and its pointer and size describe `info`, which
        // outlives the call; the driver writes at most that many bytes.
        let status = unsafe { libc::ioctl(device.as_raw_fd(), DRM_IOCTL_AMDGPU_INFO, &raw mut request) };
        (status == 0).then(|| Self::parse(&info))
    }
}

/// `struct drm_amdgpu_info`: 32 bytes.
#[repr(C)]
struct InfoRequest {
    return_pointer: u64,
    return_size: u32,
    query: u32,
    parameters: [u32; 4],
}

const _: () = assert!(size_of::<InfoRequest>() == 32);

const AMDGPU_INFO_DEV_INFO: u32 = 0x16;
/// `DRM_IOW(DRM_COMMAND_BASE + DRM_AMDGPU_INFO, struct drm_amdgpu_info)`: write, 32 bytes, 'd', 0x40 + 0x05.
const DRM_IOCTL_AMDGPU_INFO: libc::c_ulong = 1 << 30 | 32 << 16 | (b'd' as libc::c_ulong) << 8 | 0x45;
/// Of `struct drm_amdgpu_info_device` we read the beginning, up to the end of `cu_bitmap`.
const CU_BITMAP_OFFSET: usize = 56;
const INFO_BYTES: usize = CU_BITMAP_OFFSET + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_by_name() {
        let text =
            "cpu_cores_count 0\nsimd_count 240\nnum_cp_queues 24\nsimd_per_cu 4\ndrm_render_minor 128\nbad\n";
        let properties = NodeProperties::parse(text);
        assert_eq!(properties.num_cp_queues, Some(24));
        assert_eq!(properties.drm_render_minor, Some(128));
        assert_eq!(properties.num_xcc, None);
    }

    #[test]
    fn bitmaps_count_active_cus_and_fold_engines_past_the_fourth() {
        let mut info = [0u8; INFO_BYTES];
        info[20] = 8;
        info[24] = 1;
        for se in 0..4 {
            info[CU_BITMAP_OFFSET + 16 * se] = 0xff;
            info[CU_BITMAP_OFFSET + 16 * se + 4] = 0x7f;
        }
        assert_eq!(CuBitmaps::parse(&info).active(), [8, 8, 8, 8, 7, 7, 7, 7]);
    }

    #[test]
    fn compute_queues_of_this_gpu_are_counted_by_process() {
        let root = tempfile::tempdir().unwrap();
        let add = |process: &str, queue: &str, gpu: &str, kind: &str| {
            let folder = root.path().join(process).join("queues").join(queue);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("gpuid"), format!("{gpu}\n")).unwrap();
            fs::write(folder.join("type"), kind).unwrap();
        };
        let us = std::process::id().to_string();
        add(&us, "0", "77", "0");
        add(&us, "1", "77", "0");
        add(&us, "2", "77", "1");
        add("1", "0", "77", "0");
        add("1", "1", "78", "0");
        fs::create_dir_all(root.path().join("2")).unwrap();
        assert_eq!(queues_listed(root.path(), 77), Some((2, 1)));
        assert_eq!(queues_listed(root.path(), 78), Some((0, 1)));
        assert_eq!(queues_listed(&root.path().join("none"), 77), None);
    }

    #[test]
    fn a_missing_node_says_nothing() {
        assert_eq!(NodeProperties::read(u32::MAX), NodeProperties::default());
        assert_eq!(CuBitmaps::read(u32::MAX), None);
    }
}
