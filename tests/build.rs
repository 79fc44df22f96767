//! Exports the simulated GPU's libc hooks from the tests, so that ROCr, loaded later, finds them.

fn main() {
    for hook in include_str!("../kfd-sim/hooks.list").lines() {
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol={hook},--undefined={hook}");
    }
    println!("cargo::rerun-if-changed=../kfd-sim/hooks.list");
}
