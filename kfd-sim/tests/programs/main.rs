//! Whole programs on the interpreter: kernels that others wrote, PolyBench's computations, and random programs.
//!
//! Each is compiled while the test runs, by every compiler that `cargo xtask test` installs; nothing compiled is kept. The
//! usual run takes a part of the combinations; `KFD_SIM_FULL=1` (set by `cargo xtask test --full`) takes them all.

#[path = "../isa_support/mod.rs"]
mod isa_support;

mod compilers;
mod hashcat;
mod polybench;
mod random;

/// Whether the long form was asked for.
fn full() -> bool {
    std::env::var_os("KFD_SIM_FULL").is_some_and(|value| value == "1")
}
