//! Lane-operations a second of the instruction interpreter: `cargo run --release -p kfd-sim --example lane_ops`.
//!
//! Each kernel runs for a while on one thread, then on two with a code cache and workgroups of their own. Rates are for
//! each thread, by its processor time, so a busy machine disturbs little. A lane-operation is one vector ALU instruction's
//! work for one active lane (a fused multiply-add counts once). An argument selects kernels by name; `--device` also runs
//! each through the command processor with one and two threads, with and without caches.

#[path = "../tests/isa_support/mod.rs"]
mod isa_support;

use isa_support::device::Device;
use isa_support::{Dispatch, Gpu, compile, run_launch};
use kfd_sim::cp::MemoryModel;
use kfd_sim::isa::{CodeCache, ExecStats};

/// Name and source of each kernel.
fn kernels() -> Vec<(&'static str, String)> {
    let asm = |line: &str| {
        let lines: String =
            (0..16).flat_map(|_| (0..4).map(|n| line.replace("%d", &format!("%{n}")) + "\\n")).collect();
        format!(
            "__asm volatile(\"{lines}\" : \"+v\"(f), \"+v\"(g), \"+v\"(h), \"+v\"(k) : \"v\"(1.0001f), \"v\"(y) : \"vcc\");"
        )
    };
    let loops = |body: &str| {
        format!(
            "kernel void t(global const uint *a, global uint *o, uint m) {{
            local uint l[1024]; uint x = GID, y = x + 1, z = 0, q = 3; float f = x, g = 1, h = 2, k = 1;
            l[LX] = x; l[LX + 256] = x; BARRIER;
            for (uint n = 0; n < m; n++) {{ {body} }} o[GID] = x + y + z + q + l[LX] + (uint)(f + g + h + k); }}"
        )
    };
    let wide = "kernel void t(global const uint *a, global uint *o, uint m) {
        typedef uint uint4_t __attribute__((ext_vector_type(4)));
        global const uint4_t *from = (global const uint4_t *)a; global uint4_t *to = (global uint4_t *)o;
        for (uint n = 0; n < m; n++) to[(GID + n * 1024) & 0x3fff] = from[(GID + n * 1024) & 0x3fff]; }";
    let copy = "kernel void t(global const uint *a, global uint *o, uint m) {
        for (uint n = 0; n < m; n++) o[(GID + n * 1024) & 0xffff] = a[(GID + n * 1024) & 0xffff]; }";
    let matmul = "kernel void t(global const float *a, global float *c, uint m) {
        local float ta[16][16]; local float tb[16][16];
        uint x = LX & 15, y = LX >> 4; float sum = 0;
        for (uint t = 0; t < m / 16; t++) {
            ta[y][x] = a[(t * 256 + LX) & 0xffff]; tb[y][x] = a[(t * 256 + LX + 4096) & 0xffff];
            BARRIER;
            for (uint k = 0; k < 16; k++) sum = __builtin_fmaf(ta[y][k], tb[k][x], sum);
            BARRIER;
        }
        c[GID] = sum; }";
    vec![
        ("v_add_f32 chain", loops(&asm("v_add_f32 %d, %4, %d"))),
        ("v_fma_f32 chain", loops(&asm("v_fma_f32 %d, %d, %4, %4"))),
        ("v_mac_f32 chain", loops(&asm("v_mac_f32 %d, %4, %d"))),
        ("v_min_f32 chain", loops(&asm("v_min_f32 %d, %4, %d"))),
        ("v_add_u32 chain", loops(&asm("v_add_u32 %d, %5, %d"))),
        ("v_add_co_u32 chain", loops(&asm("v_add_co_u32 %d, vcc, %5, %d"))),
        ("v_cmp_lt_f32", loops(&asm("v_cmp_lt_f32 vcc, %4, %d"))),
        ("half of the lanes", loops(&format!("if (x & 1) {{ {} }}", asm("v_add_f32 %d, %4, %d")))),
        ("compiled float", loops("f = f * 1.0001f + 0.5f; g = g + f; h = h * g; k = k - h;")),
        ("compiled integer", loops("x = x * 3 + (x ^ (x >> 3)) + n; y = (y << 1) ^ x; z += y; q = q - z;")),
        ("matrix product", matmul.into()),
        ("LDS", loops("l[LX] = x; x += l[(LX + n) & 255]; l[LX + 256] = x; y += l[LX ^ 1];")),
        ("global load and store", loops("x += a[(GID + n * 64) & 0xffff]; o[GID] = x;")),
        ("copy by dwords", copy.into()),
        ("copy by 4 dwords", wide.into()),
    ]
}

/// Processor time of this thread, in seconds.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec for the duration of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// Runs a kernel on a device of its own; the statistics and the processor time.
fn measure(code: &isa_support::CodeObject, rounds: u32) -> (ExecStats, f64) {
    let mut gpu = Gpu::new();
    let base = gpu.load(code);
    let (a, out) = (gpu.alloc(1 << 20), gpu.alloc(1 << 20));
    let dispatch = Dispatch::new(code, base, "t", 1024, 256).arg(a).arg(out).arg(rounds);
    let launch = dispatch.launch(&mut gpu).expect("the kernel can be launched");
    let mut cache = CodeCache::default();
    let start = cpu_seconds();
    let stats = run_launch(&launch, &gpu.space, &mut cache, dispatch.place).expect("the kernel runs");
    (stats, cpu_seconds() - start)
}

/// Processor time, in seconds, of each thread that runs workgroups: the command processor's, then its helpers.
fn busy() -> Vec<f64> {
    let mut threads: Vec<(String, f64)> = std::fs::read_dir("/proc/self/task")
        .expect("procfs")
        .filter_map(|task| {
            let task = task.ok()?.path();
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            let time = std::fs::read_to_string(task.join("schedstat")).ok()?;
            let ns: f64 = time.split(' ').next()?.parse().ok()?;
            name.starts_with("kfd-sim-c").then_some((name, ns / 1e9))
        })
        .collect();
    threads.sort_by(|a, b| a.0.cmp(&b.0));
    threads.into_iter().map(|(_, seconds)| seconds).collect()
}

/// Whole dispatches of 64 workgroups through the command processor.
fn measure_device(code: &isa_support::CodeObject, rounds: u32) {
    for model in [MemoryModel::Coherent, MemoryModel::Strict] {
        for threads in [1, 2] {
            let mut device = Device::new(threads, model);
            let base = device.gpu.load(code);
            let (a, out) = (device.gpu.alloc(1 << 20), device.gpu.alloc(1 << 20));
            let dispatch = Dispatch::new(code, base, "t", 1 << 14, 256).arg(a).arg(out).arg(rounds / 8);
            let wall = device.run(&dispatch).as_secs_f64();
            let instructions = device.cp.stats().instructions as f64;
            let busy = busy();
            let total: f64 = busy.iter().sum();
            println!(
                "    {model:?}, {threads} thread(s): {:.1} ns of processor time an instruction, {:.1} M instructions/s of \
                 wall time, threads busy {}",
                total / instructions * 1e9,
                instructions / wall / 1e6,
                busy.iter().map(|s| format!("{s:.2} s")).collect::<Vec<_>>().join(" ")
            );
        }
    }
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    println!("simulated gfx906, one interpreter thread; in brackets each of two threads at once");
    for (name, source) in kernels().into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let Some(code) = compile(&source) else {
            eprintln!("no clang for amdgcn here: nothing measured");
            return;
        };
        // As many rounds as take about a quarter of a second.
        let (_, seconds) = measure(&code, 320);
        let rounds = (320.0 * (0.25 / seconds).clamp(1.0, 1000.0)) as u32 / 16 * 16;
        let rate = |(stats, seconds): (ExecStats, f64)| {
            let instructions = stats.valu + stats.salu + stats.vmem + stats.smem + stats.lds;
            let bytes = stats.vmem_read_bytes + stats.vmem_write_bytes;
            (
                stats.valu_lanes as f64 / seconds / 1e9,
                seconds * 1e9 / instructions as f64,
                bytes as f64 / seconds / 1e9,
            )
        };
        let (lanes, ns, bytes) = rate(measure(&code, rounds));
        let both: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| rate(measure(&code, rounds)).0)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        println!(
            "{name:<22} {lanes:6.2} G lane-operations/s ({:.2} {:.2}), {ns:6.1} ns an instruction, {bytes:6.2} GB/s",
            both[0], both[1]
        );
        if std::env::args().any(|arg| arg == "--device") {
            measure_device(&code, rounds);
        }
    }
}
