//! Compiles the C loop, always with the optimisation that a C program would be released with.

fn main() {
    println!("cargo::rerun-if-changed=c/dispatch_loop.c");
    cc::Build::new()
        .file("c/dispatch_loop.c")
        .std("c11")
        .opt_level(2)
        .debug(true)
        .warnings(true)
        .extra_warnings(true)
        .compile("peers_dispatch_loop");
}
