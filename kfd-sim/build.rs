//! Exports the libc hooks from this crate's own tests, so that runtimes they load find them.

fn main() {
    println!("cargo::rerun-if-changed=hooks.list");
    for hook in include_str!("hooks.list").lines() {
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol={hook},--undefined={hook}");
    }
}
