//! The lock-free parts under loom: every interleaving of small programs, with C11's memory model.
//!
//! Built and run only with `--cfg loom`, as a step of `cargo xtask test`.

mod flights;
mod ring;

/// What two threads touch so that loom tries both orders, without ordering anything else. Loom remembers one access to an atomic: a
/// thread that loads a word before it stores it hides its store from a thread that has loaded it earlier.
#[derive(Clone)]
struct Nudge(loom::sync::Arc<loom::sync::atomic::AtomicU32>);

impl Nudge {
    fn new() -> Self {
        Self(loom::sync::Arc::new(loom::sync::atomic::AtomicU32::new(0)))
    }

    fn touch(&self) {
        // Relaxed on purpose.
        self.0.fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
    }
}

/// Runs `f` under every interleaving, or those with so many preemptions at most.
fn model(preemptions: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(f);
}
