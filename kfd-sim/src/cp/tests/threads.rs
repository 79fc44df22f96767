//! Several threads for the workgroups of one dispatch.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::rig::*;
use crate::cp::MemoryModel;

#[test]
fn workgroups_of_a_long_dispatch_run_at_the_same_time() {
    for model in [MemoryModel::Coherent, MemoryModel::Strict] {
        for threads in [2, 4] {
            let rig = Rig::new();
            rig.cp.set_memory_model(model).unwrap();
            rig.cp.set_threads(threads).unwrap();
            assert_eq!(rig.cp.threads(), threads);
            let queue = rig.queue(16);
            let signal = rig.signal(1);
            let start = Instant::now();
            let object = rig.kernel(Kernel::Meet(threads as u32));
            queue.submit(dispatch(object, 0, [threads as u32, 1, 1], signal));
            rig.wait(signal, 0);
            assert!(
                start.elapsed() < Duration::from_secs(9),
                "{threads} workgroups did not meet ({model:?})"
            );
        }
    }
}

#[test]
fn one_thread_runs_one_workgroup_at_a_time() {
    let rig = Rig::new();
    rig.cp.set_threads(1).unwrap();
    let queue = rig.queue(16);
    let signal = rig.signal(1);
    // The first that comes waits in vain, if nobody runs beside it.
    rig.present.store(1, SeqCst);
    queue.submit(dispatch(rig.kernel(Kernel::Meet(3)), 0, [2, 1, 1], signal));
    rig.settle();
    rig.settle();
    assert_eq!(rig.present.load(SeqCst), 2);
    // The second one is there: both go on.
    rig.present.store(3, SeqCst);
    rig.wait(signal, 0);
}

#[test]
fn a_faulting_workgroup_stops_the_queue_whoever_runs_it() {
    let rig = Rig::new();
    rig.cp.set_threads(3).unwrap();
    let queue = rig.queue(16);
    let signal = rig.signal(1);
    queue.submit(dispatch(rig.kernel(Kernel::Panic), 0, [3, 1, 1], signal));
    rig.until(
        || rig.cp.stats().queues[&queue.id].failure.is_some(),
        || "a panicking workgroup should stop its queue".into(),
    );
    // The device goes on.
    let (other, done) = (rig.queue(16), rig.signal(1));
    rig.cp.set_threads(2).unwrap();
    other.submit(dispatch(rig.kernel(Kernel::Ns(100_000)), 0, [3, 1, 1], done));
    rig.wait(done, 0);
}
