//! Some of PolyBench's computations once more, through AMD's runtime: its loader, its queues, its handshake for scratch
//! memory. What the other programs do on the interpreter alone is in `tests/programs`.

#[path = "programs/compilers.rs"]
mod compilers;
mod isa_support;
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use compilers::Clang;
use isa_support::CodeObject;
use support::{Queue, Rocr};

/// As in `programs/polybench/programs.c`.
const WORDS: usize = 6 * 100 + 6 * 10;
const PROBLEMS: usize = 96;
/// `HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT` and `..._FINE_GRAINED`.
const KERNARG: u32 = 1;
const FINE: u32 = 2;

/// One of the compiler's flags for both sides.
const FLAGS: [&str; 4] = ["-ffp-contract=off", "-fwrapv", "-DT=float", "-DMEM=__global"];

#[test]
fn computations_through_the_runtime() {
    let Some(rocr) = Rocr::load() else { return };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/polybench/programs.c");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(rocr.hsa_init(), 0);
    let queue = rocr.queue(64).unwrap();
    for (version, level) in [(14, "-O0"), (19, "-O2")] {
        let Some(clang) = Clang::find(version) else { continue };
        let library = dir.path().join(format!("host{version}.so"));
        let mut command = clang.host(level);
        Clang::compile(command.args(["-ffp-contract=off", "-fwrapv", "-DT=float"]), &source, &library);
        // SAFETY: compiled just now from the project's source; it has no initialisers.
        let host = unsafe { libloading::Library::new(&library) }.unwrap();
        let file = dir.path().join(format!("device{version}.co"));
        let mut command = clang.device(level);
        Clang::compile(command.args(FLAGS).arg("-cl-fp32-correctly-rounded-divide-sqrt"), &source, &file);
        for name in ["gemm", "durbin", "cholesky", "doitgen", "nussinov", "seidel_2d"] {
            compare(&rocr, queue, &host, &file, name);
        }
    }
    assert_eq!(rocr.hsa_queue_destroy(queue), 0);
    assert_eq!(rocr.hsa_shut_down(), 0);
}

fn compare(rocr: &Rocr, queue: *mut Queue, host: &libloading::Library, file: &Path, name: &str) {
    let mut random = fastrand::Rng::with_seed(name.len() as u64);
    let mut expected: Vec<f32> = (0..PROBLEMS * WORDS).map(|_| random.f32() + 0.1).collect();
    let memory = rocr.allocate(rocr.pool(rocr.cpu(), FINE), expected.len() * 4).cast::<f32>();
    // SAFETY: fresh memory of that size.
    unsafe { memory.copy_from_nonoverlapping(expected.as_ptr(), expected.len()) };
    // SAFETY: `PROGRAM` in the source gives every function this type, and it stays within PROBLEMS * WORDS elements.
    unsafe {
        let run: libloading::Symbol<unsafe extern "C" fn(*mut f32, i32)> =
            host.get(format!("run_{name}\0").as_bytes()).unwrap();
        run(expected.as_mut_ptr(), PROBLEMS as i32);
    }
    let kernel = format!("run_{name}");
    let (_, group, private) = CodeObject { bytes: std::fs::read(file).unwrap() }.kernel(&kernel);
    let object = rocr.kernel(file.to_str().unwrap(), &kernel);
    let arguments = rocr.allocate(rocr.pool(rocr.cpu(), KERNARG), 64).cast::<u64>();
    // SAFETY: fresh memory of 64 bytes.
    unsafe { arguments.write(memory as u64) };
    let done = rocr.signal(1);
    dispatch(rocr, queue, [object, arguments as u64, done], [private, group]);
    assert_eq!(rocr.wait_below(done, 1), 0, "{name} does not end");
    // SAFETY: the kernel has ended; the memory has that size.
    let results = unsafe { std::slice::from_raw_parts(memory, expected.len()) };
    for (at, (got, want)) in results.iter().zip(&expected).enumerate() {
        assert_eq!(
            got.to_bits(),
            want.to_bits(),
            "{name} of {}, element {at}: {got}, {want}",
            file.display()
        );
    }
    assert_eq!(rocr.hsa_signal_destroy(done), 0);
    for memory in [memory.cast(), arguments.cast()] {
        assert_eq!(rocr.hsa_amd_memory_pool_free(memory), 0);
    }
}

/// Dispatches `PROBLEMS` work-items in workgroups of 64: kernel object, arguments and completion signal; private and group
/// segment sizes.
fn dispatch(rocr: &Rocr, queue: *mut Queue, [object, arguments, done]: [u64; 3], segments: [u32; 2]) {
    let index = rocr.hsa_queue_add_write_index_screlease(queue, 1);
    // SAFETY: the ring has 64 packets, each is waited for before the next, and this is the queue's only producer.
    unsafe {
        let slot = (*queue).base.add((index % 64) as usize * 64).cast::<u32>();
        let words = [0, 64 | 1 << 16, 1, PROBLEMS as u32, 1, 1, segments[0], segments[1]];
        slot.add(1).copy_from_nonoverlapping(words[1..].as_ptr(), 7);
        slot.add(8).cast::<u64>().copy_from_nonoverlapping([object, arguments, 0, done].as_ptr(), 4);
        // Kernel dispatch, acquire and release at system scope; one dimension.
        let header = 2 | 2 << 9 | 2 << 11 | 1 << 16;
        // Release: the packet processor's acquire load of the header sees the rest of the packet.
        (*slot.cast::<AtomicU32>()).store(header, Ordering::Release);
        rocr.hsa_signal_store_screlease((*queue).doorbell, index as i64);
    }
}
