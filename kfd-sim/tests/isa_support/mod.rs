//! A bare GPU for interpreter tests: an address space over host vectors, a loader for code objects, a dispatcher that runs
//! workgroups one after the other. Compiles OpenCL C with the host's clang.

#![allow(dead_code)] // each test binary uses its part

pub mod device;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kfd_sim::isa::{
    CodeCache, ExecFault, ExecStats, Launch, LaunchDesc, Placement, Progress, ScratchDesc, Workgroup,
};
use kfd_sim::memory::{AddressSpace, MemoryKind, Span};
use object::{Object, ObjectSegment, ObjectSymbol};

/// LDS aperture as the kernel driver sets it.
pub const LDS_APERTURE: u64 = 1 << 48;
/// Scratch aperture.
pub const SCRATCH_APERTURE: u64 = 2 << 48;

/// Memory that the simulated GPU can reach.
pub struct Gpu {
    /// Page tables.
    pub space: Arc<AddressSpace>,
    next: u64,
    memory: Vec<(u64, Box<[u64]>)>,
}

impl Gpu {
    /// Nothing mapped.
    pub fn new() -> Self {
        Gpu { space: Arc::new(AddressSpace::new()), next: 0x10_0000_0000, memory: Vec::new() }
    }

    /// Maps zeroed memory; returns its GPU address.
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        let mut memory = vec![0u64; bytes.div_ceil(8)].into_boxed_slice();
        let va = self.next;
        self.next += (bytes as u64).next_multiple_of(4096) + 4096;
        let span = Span {
            va,
            len: memory.len() as u64 * 8,
            host: memory.as_mut_ptr().cast(),
            memory: MemoryKind::Host,
            writable: true,
            executable: true,
        };
        // SAFETY: the box lives as long as the address space, and is only accessed through it or through `read`/`write`
        // below, between runs.
        unsafe { self.space.map(span) };
        self.memory.push((va, memory));
        va
    }

    /// Maps a copy of the bytes.
    pub fn upload<T: Copy>(&mut self, data: &[T]) -> u64 {
        let va = self.alloc(size_of_val(data));
        // SAFETY: plain numbers viewed as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), size_of_val(data)) };
        self.write(va, bytes);
        va
    }

    /// Copies bytes in.
    pub fn write(&mut self, va: u64, bytes: &[u8]) {
        let span = self.space.translate(va, bytes.len() as u64, kfd_sim::memory::Access::Write).unwrap();
        // SAFETY: translated just now, and no kernel runs.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), span.at(va), bytes.len()) };
    }

    /// Copies values out.
    pub fn read<T: Copy + Default>(&self, va: u64, count: usize) -> Vec<T> {
        let mut out = vec![T::default(); count];
        let span =
            self.space.translate(va, size_of_val(&out[..]) as u64, kfd_sim::memory::Access::Read).unwrap();
        // SAFETY: translated just now, and no kernel runs; T is a plain number.
        unsafe { std::ptr::copy_nonoverlapping(span.at(va), out.as_mut_ptr().cast(), size_of_val(&out[..])) };
        out
    }

    /// Loads a code object; returns the load address.
    pub fn load(&mut self, code: &CodeObject) -> u64 {
        let file = object::File::parse(&*code.bytes).unwrap();
        let end = file.segments().map(|s| s.address() + s.size()).max().unwrap();
        let base = self.alloc(end as usize);
        for segment in file.segments() {
            self.write(base + segment.address(), segment.data().unwrap());
        }
        base
    }
}

/// A linked code object.
pub struct CodeObject {
    /// The ELF file.
    pub bytes: Vec<u8>,
}

impl CodeObject {
    /// Offset of a kernel's descriptor from the load address, and its fixed group and private segment sizes.
    pub fn kernel(&self, name: &str) -> (u64, u32, u32) {
        let file = object::File::parse(&*self.bytes).unwrap();
        let symbol = file.dynamic_symbols().find(|s| s.name() == Ok(&format!("{name}.kd"))).expect(name);
        let at = symbol.address();
        let segment =
            file.segments().find(|s| at >= s.address() && at < s.address() + s.size()).expect("descriptor");
        let kd = &segment.data().unwrap()[(at - segment.address()) as usize..];
        let word = |at: usize| u32::from_le_bytes(kd[at..at + 4].try_into().unwrap());
        (at, word(0), word(4))
    }
}

/// Compiles OpenCL C; none, with the reason printed, when there is no clang that can.
pub fn compile(source: &str) -> Option<CodeObject> {
    compile_with(source, &[])
}

/// As [`compile`], with more compiler flags.
pub fn compile_with(source: &str, flags: &[&str]) -> Option<CodeObject> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output): (PathBuf, PathBuf) = (dir.path().join("k.cl"), dir.path().join("k.co"));
    std::fs::write(&input, format!("{PRELUDE}\n{source}")).unwrap();
    let mut command = Command::new("clang");
    command.args(["-x", "cl", "-cl-std=CL2.0", "-target", "amdgcn-amd-amdhsa", "-mcpu=gfx906", "-O2"]);
    command.args(["-nogpulib", "-Wno-unused"]).args(flags).arg(&input).arg("-o").arg(&output);
    let Ok(result) = command.output() else {
        println!("skipped: no clang");
        return None;
    };
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr).into_owned();
        if text.contains("unable to create target") || text.contains("ld.lld") {
            println!("skipped: clang cannot build for amdgcn: {text}");
            return None;
        }
        panic!("clang: {text}");
    }
    Some(CodeObject { bytes: std::fs::read(output).unwrap() })
}

/// Reads a built code object.
pub fn open(path: &Path) -> CodeObject {
    CodeObject { bytes: std::fs::read(path).unwrap() }
}

/// Work-item functions without a device library.
const PRELUDE: &str = "
#define LX __builtin_amdgcn_workitem_id_x()
#define LY __builtin_amdgcn_workitem_id_y()
#define GX __builtin_amdgcn_workgroup_id_x()
#define GY __builtin_amdgcn_workgroup_id_y()
#define SX (((const __constant ushort *)__builtin_amdgcn_dispatch_ptr())[2])
#define GID ((uint)(GX * SX + LX))
#define BARRIER do { __builtin_amdgcn_fence(__ATOMIC_RELEASE, \"workgroup\"); __builtin_amdgcn_s_barrier(); \\
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, \"workgroup\"); } while (0)
";

/// A dispatch.
pub struct Dispatch {
    /// GPU address of the kernel descriptor.
    pub kernel_object: u64,
    /// Work-items in each dimension.
    pub grid: [u32; 3],
    /// Work-items of a workgroup.
    pub workgroup: [u16; 3],
    /// LDS bytes.
    pub lds: u32,
    /// Private bytes of a work-item.
    pub private: u32,
    /// Kernel arguments.
    pub kernarg: Vec<u8>,
    /// Where workgroups are placed.
    pub place: Placement,
}

impl Dispatch {
    /// One-dimensional dispatch of a kernel of a loaded code object.
    pub fn new(code: &CodeObject, base: u64, name: &str, grid: u32, workgroup: u16) -> Self {
        let (kd, lds, private) = code.kernel(name);
        Dispatch {
            kernel_object: base + kd,
            grid: [grid, 1, 1],
            workgroup: [workgroup, 1, 1],
            lds,
            private,
            kernarg: Vec::new(),
            place: Placement::default(),
        }
    }

    /// Adds an argument, aligned to its size.
    pub fn arg<T: Copy>(mut self, value: T) -> Self {
        let size = size_of::<T>();
        self.kernarg.resize(self.kernarg.len().next_multiple_of(size), 0);
        // SAFETY: a plain number viewed as bytes.
        self.kernarg
            .extend_from_slice(unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size) });
        self
    }

    /// Prepares the launch.
    pub fn launch(&self, gpu: &mut Gpu) -> Result<Launch, kfd_sim::isa::LaunchError> {
        let packet = self.packet(gpu);
        let packet_va = gpu.upload(&packet);
        let queue_va = gpu.alloc(256);
        let scratch = (self.private > 0).then(|| {
            let wave_bytes = u64::from(self.private.next_multiple_of(16)) * 64;
            let bytes = wave_bytes * 16;
            let base_va = gpu.alloc(bytes as usize);
            let resource = [
                base_va as u32,
                (base_va >> 32) as u32 & 0xffff | 1 << 31,
                bytes as u32,
                4 | 5 << 3 | 6 << 6 | 7 << 9 | 4 << 12 | 3 << 21 | 1 << 23,
            ];
            ScratchDesc { resource, base_va, bytes, wave_bytes }
        });
        let desc = LaunchDesc {
            packet,
            packet_va,
            queue_va,
            dispatch_id: 0,
            scratch,
            lds_aperture: LDS_APERTURE,
            scratch_aperture: SCRATCH_APERTURE,
        };
        Launch::parse(&desc, &gpu.space)
    }

    /// The packet, without completion signal; its arguments are in memory from now on.
    pub fn packet(&self, gpu: &mut Gpu) -> [u8; 64] {
        let mut kernarg = self.kernarg.clone();
        kernarg.resize(kernarg.len() + 256, 0);
        let kernarg = gpu.upload(&kernarg);
        let mut packet = [0u8; 64];
        packet[0] = 2;
        packet[2] = 3;
        for dim in 0..3 {
            packet[4 + 2 * dim..6 + 2 * dim].copy_from_slice(&self.workgroup[dim].to_le_bytes());
            packet[12 + 4 * dim..16 + 4 * dim].copy_from_slice(&self.grid[dim].to_le_bytes());
        }
        packet[24..28].copy_from_slice(&self.private.to_le_bytes());
        packet[28..32].copy_from_slice(&self.lds.to_le_bytes());
        packet[32..40].copy_from_slice(&self.kernel_object.to_le_bytes());
        packet[40..48].copy_from_slice(&kernarg.to_le_bytes());
        packet
    }

    /// Runs every workgroup to its end.
    pub fn run(&self, gpu: &mut Gpu) -> Result<ExecStats, ExecFault> {
        let launch = self.launch(gpu).unwrap();
        let mut cache = CodeCache::default();
        run_launch(&launch, &gpu.space, &mut cache, self.place)
    }
}

/// Runs every workgroup of a launch to its end, one after the other, in slices.
pub fn run_launch(
    launch: &Launch,
    space: &AddressSpace,
    cache: &mut CodeCache,
    place: Placement,
) -> Result<ExecStats, ExecFault> {
    let count = launch.workgroups();
    let mut total = ExecStats::default();
    for z in 0..count[2] {
        for y in 0..count[1] {
            for x in 0..count[0] {
                let mut group = Workgroup::new(launch, [x, y, z], place);
                let mut slices = 0;
                loop {
                    match group.run(launch, space, cache, &|| 42, 100_000) {
                        Progress::Done => break,
                        Progress::Yielded => slices += 1,
                        Progress::Fault(fault) => return Err(fault),
                    }
                    assert!(slices < 10_000, "kernel does not end");
                }
                let stats = group.stats();
                total.valu += stats.valu;
                total.salu += stats.salu;
                total.lds += stats.lds;
                total.vmem += stats.vmem;
                total.smem += stats.smem;
                total.valu_lanes += stats.valu_lanes;
                total.vmem_read_bytes += stats.vmem_read_bytes;
                total.vmem_write_bytes += stats.vmem_write_bytes;
            }
        }
    }
    Ok(total)
}
