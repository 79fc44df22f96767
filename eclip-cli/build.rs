//! Exports the simulator's libc hooks from the `eclip` program, so that ROCr, loaded into it, finds them.

fn main() {
    println!("cargo::rerun-if-changed=../kfd-sim/hooks.list");
    for hook in include_str!("../kfd-sim/hooks.list").lines() {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={hook},--undefined={hook}");
    }
}
