//! PolyBench's thirty computations, compiled for the GPU and for the host from one source (`programs.c`), give the same.
//!
//! Integers and floats alike must be equal bit for bit: with contraction switched off every operation that is used
//! (addition, subtraction, multiplication, division, square root, conversion) is correctly rounded on both sides. Only a
//! NaN's sign and payload may differ.

use std::path::Path;

use crate::compilers::Clang;
use crate::isa_support::{CodeObject, Dispatch, Gpu};

/// The computations, by the names that the source gives them.
const PROGRAMS: [&str; 30] = [
    "gemm",
    "gemver",
    "gesummv",
    "symm",
    "syr2k",
    "syrk",
    "trmm",
    "two_mm",
    "three_mm",
    "atax",
    "bicg",
    "doitgen",
    "mvt",
    "cholesky",
    "durbin",
    "gramschmidt",
    "lu",
    "ludcmp",
    "trisolv",
    "correlation",
    "covariance",
    "deriche",
    "floyd_warshall",
    "nussinov",
    "adi",
    "fdtd_2d",
    "heat_3d",
    "jacobi_1d",
    "jacobi_2d",
    "seidel_2d",
];
/// Problems of a dispatch: the last wave is half empty.
const PROBLEMS: usize = 96;
/// `WORDS` of the source.
const WORDS: usize = 6 * 100 + 6 * 10;

/// An element type that the computations are done in.
trait Element: Copy + Default + PartialEq + std::fmt::Debug {
    /// Its name in C, and a definition that the source needs.
    const C: [&'static str; 2];
    /// An input value.
    fn input(random: &mut fastrand::Rng) -> Self;
    /// Whether both are the same result.
    fn same(self, other: Self) -> bool;
}

macro_rules! integer {
    ($type:ty, $c:literal) => {
        impl Element for $type {
            const C: [&'static str; 2] = [concat!("-DT=", $c), "-DINTEGER"];
            fn input(random: &mut fastrand::Rng) -> Self {
                // Mostly small, so that comparisons go both ways; sometimes any value.
                if random.u8(..) < 16 { random.u64(..) as $type } else { random.u64(..200) as $type - 50 }
            }
            fn same(self, other: Self) -> bool {
                self == other
            }
        }
    };
}
integer!(i16, "short");
integer!(i32, "int");
integer!(i64, "long");

macro_rules! float {
    ($type:ty, $c:literal) => {
        impl Element for $type {
            const C: [&'static str; 2] = [concat!("-DT=", $c), "-DFLOAT"];
            fn input(random: &mut fastrand::Rng) -> Self {
                random.f64() as $type + 0.1
            }
            fn same(self, other: Self) -> bool {
                self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
            }
        }
    };
}
float!(f32, "float");
float!(f64, "double");

/// Flags that both sides get: no contraction, and signed integers wrap.
const COMMON: [&str; 2] = ["-ffp-contract=off", "-fwrapv"];

/// Runs every computation in one type with one compiler at one level; `space` is the address space of its pointers.
fn compare<T: Element>(clang: &Clang, level: &str, space: &str) {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/polybench/programs.c");
    let library = dir.path().join("host.so");
    Clang::compile(clang.host(level).args(COMMON).args(T::C), &source, &library);
    let mut command = clang.device(level);
    command
        .args(COMMON)
        .args(T::C)
        .arg("-cl-fp32-correctly-rounded-divide-sqrt")
        .arg(format!("-DMEM={space}"));
    let code = Clang::code_object(&mut command, &source);
    // SAFETY: the library was compiled just now from the source above; it has no initialisers.
    let host = unsafe { libloading::Library::new(&library) }.unwrap();
    for (at, name) in PROGRAMS.into_iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(at as u64);
        let input: Vec<T> = (0..PROBLEMS * WORDS).map(|_| T::input(&mut random)).collect();
        let mut expected = input.clone();
        // SAFETY: `PROGRAM` in the source gives every function this type, and it stays within PROBLEMS * WORDS elements.
        unsafe {
            let symbol = format!("run_{name}\0");
            let run: libloading::Symbol<unsafe extern "C" fn(*mut T, i32)> =
                host.get(symbol.as_bytes()).unwrap();
            run(expected.as_mut_ptr(), PROBLEMS as i32);
        }
        assert!(!(0..input.len()).all(|n| expected[n].same(input[n])), "{name} does nothing");
        let results = run_on_device(&code, name, &input);
        for (n, (got, want)) in results.iter().zip(&expected).enumerate() {
            assert!(
                got.same(*want),
                "{name} of {} with clang {} {level}, {space} pointers: problem {}, element {}: {got:?}, not {want:?}",
                T::C[0],
                clang.version,
                n / WORDS,
                n % WORDS
            );
        }
    }
}

fn run_on_device<T: Element>(code: &CodeObject, name: &str, input: &[T]) -> Vec<T> {
    let mut gpu = Gpu::new();
    let base = gpu.load(code);
    let data = gpu.upload(input);
    let dispatch = Dispatch::new(code, base, &format!("run_{name}"), PROBLEMS as u32, 64).arg(data);
    dispatch.run(&mut gpu).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
    gpu.read(data, input.len())
}

/// `compare` for one type.
type Compare = fn(&Clang, &str, &str);

/// One compiler at one level: the types named, or all of them and pointers of both kinds in the long form.
fn combination(version: u32, level: &str, types: &[&str]) {
    let Some(clang) = Clang::find(version) else { return };
    for space in if crate::full() { &["__global", "__generic"][..] } else { &["__global"] } {
        let compare: [(&str, Compare); 5] = [
            ("i16", compare::<i16>),
            ("i32", compare::<i32>),
            ("i64", compare::<i64>),
            ("f32", compare::<f32>),
            ("f64", compare::<f64>),
        ];
        for (name, compare) in compare {
            if crate::full() || types.contains(&name) {
                compare(&clang, level, space);
            }
        }
    }
}

#[test]
fn clang_14_unoptimized() {
    combination(14, "-O0", &["i16", "i64", "f32"]);
}

#[test]
fn clang_14_o2() {
    combination(14, "-O2", &["i32", "f32"]);
}

#[test]
fn clang_14_o3() {
    combination(14, "-O3", &["i64", "f64"]);
}

#[test]
fn clang_19_unoptimized() {
    combination(19, "-O0", &["i32", "f64"]);
}

#[test]
fn clang_19_o2() {
    combination(19, "-O2", &["i16", "f64"]);
}

#[test]
fn clang_19_o3() {
    combination(19, "-O3", &["i32", "f32"]);
}
