//! Host threads that help the command processor's thread to run the workgroups of one dispatch.
//!
//! Used by the command processor's thread only. The helpers sleep between slices and end with the crew; they work only
//! while [`Crew::run`] runs, so whoever waits for the command processor's thread has waited for them.

use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::isa::CodeCache;

/// Most threads that a setting can ask for.
pub(crate) const MOST_THREADS: usize = 256;

/// See the module's description.
pub(crate) struct Crew {
    /// The command processor's thread counts.
    threads: usize,
    /// Started when first needed.
    pool: Option<ThreadPool>,
    /// One for each thread; the first is the command processor's own.
    caches: Vec<CodeCache>,
}

impl Crew {
    /// A crew of `threads`, of which one is the caller's.
    pub fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, MOST_THREADS);
        Self { threads, pool: None, caches: (0..threads).map(|_| CodeCache::default()).collect() }
    }

    /// Threads, with the caller's.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Forgets decoded instructions.
    pub fn forget_code(&mut self) {
        self.caches.iter_mut().for_each(CodeCache::invalidate);
    }

    /// Does `work` on `threads` threads at once, the caller's among them, and returns when all have done it. A panic of one of
    /// them goes on in the caller.
    pub fn run(&mut self, threads: usize, work: impl Fn(&mut CodeCache) + Sync) {
        let (own, others) = self.caches.split_first_mut().expect("at least one");
        let helpers = threads.min(self.threads) - 1;
        if helpers == 0 {
            return work(own);
        }
        if self.pool.is_none() {
            self.pool = start(self.threads - 1);
        }
        let Some(pool) = &self.pool else {
            self.threads = 1;
            return work(own);
        };
        let work = &work;
        pool.in_place_scope(|scope| {
            for cache in &mut others[..helpers] {
                scope.spawn(move |_| work(cache));
            }
            work(own);
        });
    }
}

/// Helpers, unless the host has no room for them: then everything runs on the caller's thread.
fn start(helpers: usize) -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(helpers)
        .thread_name(|n| format!("kfd-sim-cu-{n}"))
        .start_handler(|_| super::prepare_thread())
        .build();
    pool.inspect_err(|error| eprintln!("kfd-sim: workgroups run on one thread: {error}")).ok()
}

/// Processors that this program may use. Not asked of the standard library, which opens files: that would come back to this
/// crate's hooks while the machine is being made.
fn processors() -> usize {
    // SAFETY: a plain call that fills a set owned by this frame, which is valid when zeroed.
    let (set, failed) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let rc = libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        (set, rc != 0)
    };
    // SAFETY: a set that was just filled.
    let count = unsafe { libc::CPU_COUNT(&set) };
    // It fails on hosts with more processors than the set has room for.
    if failed { 1 } else { (count as usize).clamp(1, MOST_THREADS) }
}

/// Threads that `KFD_SIM_THREADS` asks for; unset, as many as the host has processors for this program.
pub(crate) fn threads_from_env() -> usize {
    let all = processors;
    match std::env::var("KFD_SIM_THREADS") {
        Ok(text) if !text.is_empty() => match text.parse() {
            Ok(threads @ 1..=MOST_THREADS) => threads,
            _ => {
                eprintln!(
                    "kfd-sim: KFD_SIM_THREADS={text:?}: a number from 1 to {MOST_THREADS} expected; using {}",
                    all()
                );
                all()
            }
        },
        _ => all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn all_threads_work_at_the_same_time() {
        let mut crew = Crew::new(3);
        for threads in [1, 2, 3, 3, 9] {
            let most = threads.min(3);
            // Nobody gets past it unless all are here.
            let (all_here, seen) = (Barrier::new(most), Mutex::new(HashSet::new()));
            crew.run(threads, |_| {
                seen.lock().unwrap().insert(std::thread::current().id());
                all_here.wait();
            });
            let seen = seen.into_inner().unwrap();
            assert_eq!(seen.len(), most);
            assert!(seen.contains(&std::thread::current().id()));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let mut crew = Crew::new(2);
        let own = std::thread::current().id();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            crew.run(2, |_| assert!(std::thread::current().id() == own, "on the helper"));
        }));
        assert!(result.is_err());
        crew.run(2, |_| {});
    }
}
