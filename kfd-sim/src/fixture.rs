//! The simulated machine's sysfs and proc files, as plain files in a temporary directory.
//!
//! Written once, when the first such path is looked up; read by the caller's own libc afterwards. The tree mirrors the
//! absolute paths. What is in it was found by removing files one at a time until ROCr, its thunk, libdrm or rocminfo
//! failed. The directory goes when the process that made it ends (not with its forked children).

use crate::device::DeviceSpec;
use crate::kernel::{GPU_ID, drm};
use crate::paths::{NAMES_OF_GPUS, RENDER_MINOR};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const TOPOLOGY: &str = "/sys/devices/virtual/kfd/kfd/topology";
/// Memory of the simulated host, bytes (assumed).
const HOST_MEMORY_BYTES: u64 = 16 << 30;
/// Where the GPU sits on the simulated PCI bus: 0000:03:00.0.
const PCI_SLOT: &str = "0000:03:00.0";
const PCI_LOCATION: u32 = 0x300;
/// A serial number, for tools that tell GPUs apart by it.
const UNIQUE_ID: u64 = 0x0ec1_1950_0001;

/// KFD capability bits: four watch points, doorbell type 2 (64-bit), SRAM ECC, debugger support in firmware (without
/// the last, runtimes of 2025 cannot be initialised a second time).
const CAPABILITY: u32 = (1 << 7) | (2 << 8) | (2 << 12) | (1 << 26) | (1 << 29);

/// A directory with the simulated machine's files.
#[derive(Debug)]
pub struct Fixture {
    root: tempfile::TempDir,
    /// Locked as long as anybody may use the directory.
    _lock: fs::File,
}

/// Names of such directories begin like this.
const PREFIX: &str = "kfd-sim-";
/// The locked file in each of them.
const LOCK: &str = "in-use";

impl Fixture {
    /// Writes the tree for a device.
    pub fn create(spec: &DeviceSpec) -> io::Result<Self> {
        sweep(&std::env::temp_dir());
        let root = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // Locked before it gets its name: a sweeper never sees it unlocked while we live.
        let lock = fs::File::create(root.path().join("new"))?;
        flock(&lock, libc::LOCK_EX)?;
        fs::rename(root.path().join("new"), root.path().join(LOCK))?;
        for (path, text) in files(spec) {
            let path = below(root.path(), Path::new(&path));
            fs::create_dir_all(path.parent().expect("every fixture path has a parent"))?;
            fs::write(path, text)?;
        }
        // As the kernel does it. Relative, so that it stays inside the tree.
        let class = below(root.path(), Path::new("/sys/class/kfd"));
        fs::create_dir_all(&class)?;
        std::os::unix::fs::symlink("../../devices/virtual/kfd/kfd", class.join("kfd"))?;
        // libdrm learns from this link that the device is on the PCI bus.
        for minor in [0, RENDER_MINOR] {
            let device = below(root.path(), Path::new(&format!("/sys/dev/char/226:{minor}/device")));
            std::os::unix::fs::symlink("../../../../bus/pci", device.join("subsystem"))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// Removes the directory now.
    pub fn remove(&self) {
        // What cannot be removed is left to the next process's sweep.
        let _ = fs::remove_dir_all(self.root.path());
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

/// Locks a file as `flock(2)` does; the lock ends with the last descriptor of this opening.
fn flock(file: &fs::File, how: i32) -> io::Result<()> {
    // SAFETY: a system call on an open descriptor.
    if unsafe { libc::flock(file.as_raw_fd(), how) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Removes what processes that were killed have left behind: directories whose lock nobody holds.
fn sweep(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(PREFIX))) {
        let unused = fs::File::open(entry.path().join(LOCK))
            .is_ok_and(|lock| flock(&lock, libc::LOCK_EX | libc::LOCK_NB).is_ok());
        if unused {
            // Another process may be sweeping, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// An absolute path, moved below `root`.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// `name value` lines, as KFD's `properties` files have them.
fn properties(pairs: &[(&str, u64)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

/// Every file of the tree: absolute path and content.
fn files(spec: &DeviceSpec) -> Vec<(String, String)> {
    let mut files = Vec::new();
    topology(spec, &mut |path, text| files.push((format!("{TOPOLOGY}/{path}"), text)));
    drm_files(spec, &mut |path: String, text| files.push((path, text)));
    host(&mut |path: &str, text| files.push((path.into(), text)));
    files
}

fn topology(spec: &DeviceSpec, add: &mut dyn FnMut(&str, String)) {
    let shape = &spec.shape;
    add("generation_id", "1\n".into());
    add("system_properties", properties(&[("platform_oem", 0), ("platform_id", 0), ("platform_rev", 0)]));

    add("nodes/0/gpu_id", "0\n".into());
    add("nodes/0/name", "\n".into());
    add(
        "nodes/0/properties",
        properties(&[
            ("cpu_cores_count", 1),
            ("simd_count", 0),
            ("mem_banks_count", 1),
            ("caches_count", 0),
            ("io_links_count", 1),
            ("cpu_core_id_base", 0),
            ("simd_id_base", 0),
            ("max_waves_per_simd", 0),
            ("lds_size_in_kb", 0),
            ("gds_size_in_kb", 0),
            ("wave_front_size", 0),
            ("array_count", 0),
            ("simd_arrays_per_engine", 0),
            ("cu_per_simd_array", 0),
            ("simd_per_cu", 0),
            ("max_slots_scratch_cu", 0),
            ("vendor_id", 0),
            ("device_id", 0),
            ("location_id", 0),
            ("drm_render_minor", 0),
            ("max_engine_clk_ccompute", 3000),
        ]),
    );
    add("nodes/0/mem_banks/0/properties", memory_bank(0, HOST_MEMORY_BYTES, 64, 3200));
    add("nodes/0/io_links/0/properties", pcie_link(0, 1));

    let gpu = "nodes/1";
    let vram_heap = if spec.memory.large_bar { 1 } else { 2 };
    add(&format!("{gpu}/gpu_id"), format!("{GPU_ID}\n"));
    add(&format!("{gpu}/name"), "vega20\n".into());
    add(
        &format!("{gpu}/properties"),
        properties(&[
            ("cpu_cores_count", 0),
            ("simd_count", u64::from(spec.cu_count() * shape.simds_per_cu)),
            ("mem_banks_count", 1),
            ("caches_count", 2),
            ("io_links_count", 1),
            ("cpu_core_id_base", 0),
            ("simd_id_base", 1 << 31),
            ("max_waves_per_simd", shape.waves_per_simd.into()),
            ("lds_size_in_kb", u64::from(shape.lds_bytes_per_cu / 1024)),
            ("gds_size_in_kb", 0),
            ("num_gws", 0),
            ("wave_front_size", spec.wave_size.into()),
            ("array_count", u64::from(shape.shader_engines * shape.sh_per_se)),
            ("simd_arrays_per_engine", shape.sh_per_se.into()),
            ("cu_per_simd_array", shape.cu_slots_per_sh.into()),
            ("simd_per_cu", shape.simds_per_cu.into()),
            ("max_slots_scratch_cu", shape.scratch_slots_per_cu.into()),
            ("gfx_target_version", spec.gfx_target_version.into()),
            ("vendor_id", spec.vendor_id.into()),
            ("device_id", spec.device_id.into()),
            ("location_id", PCI_LOCATION.into()),
            ("domain", 0),
            ("drm_render_minor", RENDER_MINOR.into()),
            ("hive_id", 0),
            ("num_sdma_engines", spec.queues.sdma_engines.into()),
            ("num_sdma_xgmi_engines", 0),
            ("num_sdma_queues_per_engine", 8),
            ("num_cp_queues", spec.queues.compute.into()),
            ("max_engine_clk_fcompute", spec.clocks.engine_mhz.into()),
            ("max_engine_clk_ccompute", 3000),
            // 0: the memory banks say it, as on every dGPU
            ("local_mem_size", 0),
            ("fw_version", 472),
            ("capability", CAPABILITY.into()),
            ("sdma_fw_version", 145),
            ("unique_id", UNIQUE_ID),
        ]),
    );
    add(
        &format!("{gpu}/mem_banks/0/properties"),
        memory_bank(vram_heap, spec.memory.vram_bytes, 4096, spec.clocks.memory_mhz),
    );
    // Types: data (1) of the SIMDs (8). Sizes of Vega 20: 16 KiB for each CU, 4 MiB for all.
    add(&format!("{gpu}/caches/0/properties"), cache(1, 16, 1 | 8));
    add(&format!("{gpu}/caches/1/properties"), cache(2, 4096, 1 | 8));
    add(&format!("{gpu}/io_links/0/properties"), pcie_link(1, 0));
}

fn memory_bank(heap: u64, bytes: u64, width: u64, clock_mhz: u32) -> String {
    properties(&[
        ("heap_type", heap),
        ("size_in_bytes", bytes),
        ("flags", 0),
        ("width", width),
        ("mem_clk_max", clock_mhz.into()),
    ])
}

fn cache(level: u64, kib: u64, kind: u64) -> String {
    properties(&[
        ("processor_id_low", 1 << 31),
        ("level", level),
        ("size", kib),
        ("cache_line_size", 64),
        ("cache_lines_per_tag", 1),
        ("association", 16),
        ("latency", 0),
        ("type", kind),
    ])
}

fn pcie_link(from: u64, to: u64) -> String {
    properties(&[
        ("type", 2),
        ("version_major", 0),
        ("version_minor", 0),
        ("node_from", from),
        ("node_to", to),
        ("weight", 20),
        ("min_latency", 0),
        ("max_latency", 0),
        // PCIe 3.0 x16, MB/s
        ("min_bandwidth", 312),
        ("max_bandwidth", 15754),
        ("recommended_transfer_size", 0),
        ("flags", 1),
    ])
}

fn drm_files(spec: &DeviceSpec, add: &mut dyn FnMut(String, String)) {
    let (vendor, device) = (spec.vendor_id, spec.device_id);
    for (minor, name) in [(0, "card0".to_owned()), (RENDER_MINOR, format!("renderD{RENDER_MINOR}"))] {
        let base = format!("/sys/dev/char/226:{minor}");
        add(format!("{base}/dev"), format!("226:{minor}\n"));
        add(
            format!("{base}/device/uevent"),
            format!("DRIVER=amdgpu\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SLOT_NAME={PCI_SLOT}\n"),
        );
        for (file, value) in [
            ("vendor", vendor),
            ("device", device),
            ("subsystem_vendor", vendor),
            ("subsystem_device", 0x0834),
            ("revision", drm::PCI_REVISION),
        ] {
            add(format!("{base}/device/{file}"), format!("{value:#06x}\n"));
        }
        for (sibling, number) in [("card0".to_owned(), 0), (format!("renderD{RENDER_MINOR}"), RENDER_MINOR)] {
            add(format!("{base}/device/drm/{sibling}/dev"), format!("226:{number}\n"));
        }
        add(format!("/sys/class/drm/{name}/dev"), format!("226:{minor}\n"));
        add(format!("/dev/dri/{name}"), String::new());
    }
    add("/dev/kfd".into(), String::new());
    add("/sys/devices/virtual/kfd/kfd/dev".into(), "236:0\n".into());
    let revision = drm::PCI_REVISION;
    for names in NAMES_OF_GPUS {
        add((*names).into(), format!("1.0.0\n{device:04X},\t{revision:02X},\t{}\n", spec.marketing_name));
    }
}

/// One processor, so that what the runtimes show does not depend on the host.
fn host(add: &mut dyn FnMut(&str, String)) {
    add(
        "/proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 23\nmodel\t\t: 49\n\
         model name\t: kfd-sim host CPU\nstepping\t: 0\ncpu MHz\t\t: 3000.000\ncache size\t: 512 KB\n\
         physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\ninitial apicid\t: 0\n\
         flags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 lm\n\n"
            .into(),
    );
    add("/proc/modules", "amdgpu 1 0 - Live 0x0000000000000000\n".into());
    add("/sys/module/amdgpu/initstate", "live\n".into());
    // libkmod lists the directories beside it.
    add("/sys/module/amdgpu/refcnt", "1\n".into());
    add("/sys/module/amdgpu/coresize", "0\n".into());
    add("/sys/module/amdgpu/holders/.empty", String::new());

    let node = "/sys/devices/system/node";
    for file in ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"] {
        add(&format!("{node}/{file}"), "0\n".into());
    }
    add(&format!("{node}/node0/cpulist"), "0\n".into());
    add(&format!("{node}/node0/cpumap"), "1\n".into());
    add(&format!("{node}/node0/distance"), "10\n".into());
    let kib = HOST_MEMORY_BYTES / 1024;
    add(
        &format!("{node}/node0/meminfo"),
        format!(
            "Node 0 MemTotal:       {kib} kB\nNode 0 MemFree:        {kib} kB\nNode 0 MemUsed:        0 kB\n"
        ),
    );
    for cpu in [format!("{node}/node0/cpu0"), "/sys/devices/system/cpu/cpu0".into()] {
        for (index, (level, kind, size)) in
            [(1, "Data", "32K"), (1, "Instruction", "32K"), (2, "Unified", "512K"), (3, "Unified", "16384K")]
                .into_iter()
                .enumerate()
        {
            for (file, value) in [
                ("level", level.to_string()),
                ("type", kind.into()),
                ("size", size.into()),
                ("coherency_line_size", "64".into()),
                ("ways_of_associativity", "8".into()),
                ("physical_line_partition", "1".into()),
                ("number_of_sets", "64".into()),
                ("shared_cpu_list", "0".into()),
                ("shared_cpu_map", "1".into()),
            ] {
                add(&format!("{cpu}/cache/index{index}/{file}"), format!("{value}\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::{Place, place};

    #[test]
    fn every_file_is_reachable_through_the_hooks() {
        for (path, _) in files(&DeviceSpec::mi50()) {
            let device_file = path == "/dev/kfd" || path == "/dev/dri/renderD128";
            assert!(device_file || place(path.as_bytes()) == Place::Fixture, "{path}");
        }
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_in_use_is_not() {
        let temporary = tempfile::tempdir().unwrap();
        let [dead, alive, strange] =
            ["kfd-sim-a", "kfd-sim-b", "kfd-sim-c"].map(|n| temporary.path().join(n));
        for directory in [&dead, &alive, &strange] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(dead.join(LOCK), "").unwrap();
        let lock = fs::File::create(alive.join(LOCK)).unwrap();
        flock(&lock, libc::LOCK_EX).unwrap();
        sweep(temporary.path());
        assert_eq!((dead.exists(), alive.exists(), strange.exists()), (false, true, true));
    }

    #[test]
    fn the_device_class_leads_to_the_topology() {
        let tree = Fixture::create(&DeviceSpec::mi50()).unwrap();
        let class = below(tree.root.path(), Path::new("/sys/class/kfd/kfd"));
        assert_eq!(fs::read_to_string(class.join("dev")).unwrap(), "236:0\n");
        assert_ne!(fs::read_to_string(class.join("topology/nodes/1/gpu_id")).unwrap().trim(), "0");
    }

    #[test]
    fn the_tree_announces_what_it_has_and_goes_when_dropped() {
        let fixture = Fixture::create(&DeviceSpec::mi50()).unwrap();
        let root = fixture.root().to_owned();
        let nodes = below(&root, Path::new(TOPOLOGY)).join("nodes");
        for node in ["0", "1"] {
            let text = fs::read_to_string(nodes.join(node).join("properties")).unwrap();
            for (count, directory) in
                [("mem_banks_count", "mem_banks"), ("caches_count", "caches"), ("io_links_count", "io_links")]
            {
                let announced: usize = (text.lines())
                    .find_map(|line| line.strip_prefix(count)?.trim().parse().ok())
                    .unwrap_or_else(|| panic!("node {node} lacks {count}"));
                let present = fs::read_dir(nodes.join(node).join(directory)).map_or(0, Iterator::count);
                assert_eq!(announced, present, "node {node}, {count}");
            }
        }
        let gpu = fs::read_to_string(nodes.join("1/properties")).unwrap();
        for line in ["simd_count 240", "array_count 4", "cu_per_simd_array 16", "gfx_target_version 90006"] {
            assert!(gpu.lines().any(|l| l == line), "{line}");
        }
        drop(fixture);
        assert!(!root.exists());
    }
}
