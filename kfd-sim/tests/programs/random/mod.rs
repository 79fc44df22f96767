//! Random programs, compiled for the GPU and for the host, compute the same.
//!
//! The usual run takes a few tens of programs, the long form hundreds with every compiler at every level. To look into a
//! failure, set `KFD_SIM_SEED` to the seed that it names: only that source is run then, with all compilers and levels; with
//! `KFD_SIM_SOURCE` it is read from a file, which may have been changed.

mod expression;
mod generate;
mod types;

use std::path::Path;

use kfd_sim::isa::ExecFault;

use crate::compilers::Clang;
use crate::isa_support::{CodeObject, Dispatch, Gpu};

/// Programs of one source file.
const PROGRAMS: usize = 16;
/// Work-items of a dispatch: the last wave is half empty.
const ITEMS: usize = 96;
/// 64-bit words of a work-item, as in `prelude.h`.
const INPUTS: usize = 16;
const OUTPUTS: usize = 48;

/// Flags that both sides get, besides those in `run`. No tail calls: LLVM 14 restores the registers that hold the address of
/// one before it jumps there.
const COMMON: [&str; 4] =
    ["-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-fno-optimize-sibling-calls"];

/// Generates the programs of a seed and compares device and host for each compiler and level.
fn run(seed: u64, combinations: &[(&Clang, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join(format!("seed{seed}.c"));
    let text = match std::env::var("KFD_SIM_SOURCE") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => generate::source(seed, PROGRAMS),
    };
    std::fs::write(&source, text).unwrap();
    let library = dir.path().join("host.so");
    let (host_clang, _) = combinations[0];
    // What is compared with: a compiler that does as little as possible.
    Clang::compile(host_clang.host("-O0").args(COMMON).arg("-lm"), &source, &library);
    // SAFETY: the library was compiled just now from what `generate` wrote; it has no initialisers.
    let host = unsafe { libloading::Library::new(&library) }.unwrap();
    let mut random = fastrand::Rng::with_seed(!seed);
    let input: Vec<u64> = (0..ITEMS * INPUTS).map(|_| random.u64(..) >> (random.u8(..4) * 16)).collect();
    let memory: Vec<u64> = (0..ITEMS * OUTPUTS).map(|_| random.u64(..)).collect();
    let expected: Vec<Vec<u64>> = (0..PROGRAMS)
        .map(|number| {
            let mut output = memory.clone();
            // SAFETY: `generate` gives every entry this type, and each work-item stays within its words.
            unsafe {
                let symbol = format!("run{number}\0");
                let entry: libloading::Symbol<unsafe extern "C" fn(*const u64, *mut u64, i32)> =
                    host.get(symbol.as_bytes()).unwrap();
                entry(input.as_ptr(), output.as_mut_ptr(), ITEMS as i32);
            }
            output
        })
        .collect();
    for (clang, level) in combinations {
        let mut command = clang.device(level);
        let code =
            Clang::code_object(command.args(COMMON).arg("-cl-fp32-correctly-rounded-divide-sqrt"), &source);
        for (number, want) in expected.iter().enumerate() {
            let what = format!("seed {seed}, program {number}, clang {} {level}", clang.version);
            let got = run_on_device(&code, number, &input, &memory)
                .unwrap_or_else(|fault| panic!("{what}: {fault:?}; {}", keep(&source)));
            if let Some(at) = (0..got.len()).find(|&at| got[at] != want[at]) {
                let kept = keep(&source);
                panic!(
                    "{what}: work-item {}, word {}: {:#x}, not {:#x}; {kept}",
                    at / OUTPUTS,
                    at % OUTPUTS,
                    got[at],
                    want[at]
                );
            }
        }
    }
}

/// Copies a failing source to where it stays, and says where.
fn keep(source: &Path) -> String {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.file_name().unwrap());
    match std::fs::copy(source, &to) {
        Ok(_) => format!("its source is {}", to.display()),
        Err(why) => format!("its source could not be kept: {}: {why}", to.display()),
    }
}

fn run_on_device(
    code: &CodeObject,
    number: usize,
    input: &[u64],
    memory: &[u64],
) -> Result<Vec<u64>, ExecFault> {
    let mut gpu = Gpu::new();
    let base = gpu.load(code);
    let (input, output) = (gpu.upload(input), gpu.upload(memory));
    let name = format!("run{number}");
    Dispatch::new(code, base, &name, ITEMS as u32, 64).arg(input).arg(output).run(&mut gpu)?;
    Ok(gpu.read(output, memory.len()))
}

#[test]
fn host_and_device_agree() {
    let compilers = [Clang::find(14), Clang::find(19)];
    let [Some(old), Some(new)] = &compilers else { return };
    let all = [(old, "-O0"), (old, "-O2"), (old, "-O3"), (new, "-O0"), (new, "-O2"), (new, "-O3")];
    if let Ok(seed) = std::env::var("KFD_SIM_SEED") {
        return run(seed.parse().expect("KFD_SIM_SEED is a number"), &all);
    }
    if crate::full() {
        (0..40).for_each(|seed| run(seed, &all));
        return;
    }
    for (seed, combination) in [(1, all[0]), (2, all[1]), (3, all[5])] {
        run(seed, &[combination]);
    }
}
