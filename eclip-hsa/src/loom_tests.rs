//! The lock-free parts under loom: every interleaving of small programs, with C11's memory model.
//!
//! Built and run only with `--cfg loom`, as a step of `cargo xtask test`.

mod flights;
mod ring;

/// Runs `f` under every interleaving, or those with so many preemptions at most.
fn model(preemptions: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(f);
}
