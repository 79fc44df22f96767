//! Several threads for the workgroups of one dispatch.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::rig::*;
use crate::caches::RaceKind;
use crate::cp::MemoryModel;

/// Instructions of a workgroup that is worth help.
const LONG: u64 = 40_000;

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

#[test]
fn threads_share_scratch_slots_and_every_workgroup_is_traced_once() {
    const GROUPS: u32 = 40;
    const SLOTS: u32 = 8;
    let rig = Rig::new();
    rig.cp.set_threads(4).unwrap();
    rig.cp.set_tracing(true).unwrap();
    let (queue, signal) = (rig.queue(16), rig.signal(1));
    queue.scratch(SLOTS, 4);
    queue.submit(with_private(dispatch(rig.kernel(Kernel::Ns(LONG)), 0, [GROUPS, 1, 1], signal), 16));
    rig.wait(signal, 0);
    assert!(rig.places.lock().unwrap().iter().all(|place| place.scratch_slot < SLOTS));
    let alive = rig.alive.lock().unwrap();
    assert!(alive.most <= SLOTS as usize, "{} workgroups with {SLOTS} slots", alive.most);
    assert!(!alive.shared, "two workgroups with one slot");
    drop(alive);
    let (groups, _) = rig.cp.traced();
    let ids: BTreeSet<_> = groups.iter().map(|group| group.group).collect();
    assert_eq!((groups.len(), ids.len()), (GROUPS as usize, GROUPS as usize));
    let packet = rig.cp.dispatch_log()[0].clone();
    for group in &groups {
        assert!(packet.start_ns <= group.start_ns && group.start_ns <= group.end_ns, "{group:?}");
        assert!(group.end_ns <= packet.end_ns, "{group:?} {packet:?}");
        assert!(packet.cus_used[group.se as usize] >> (group.sh * 16 + group.cu) & 1 == 1);
    }
}

#[test]
fn races_are_found_whoever_runs_the_workgroups() {
    for threads in [1, 4] {
        let rig = Rig::new();
        rig.cp.set_threads(threads).unwrap();
        rig.cp.set_race_detection(true).unwrap();
        let (queue, signal) = (rig.queue(16), rig.signal(2));
        let (from, to) = (rig.vram(), rig.vram());
        let object = rig.kernel(Kernel::Copy { from, to, ns: LONG });
        rig.cp.stall_queue(queue.id).unwrap();
        for _ in 0..2 {
            queue.submit(dispatch(object, 2 << 9 | 2 << 11, [8, 1, 1], signal));
        }
        rig.settle();
        rig.cp.resume_queue(queue.id).unwrap();
        rig.wait(signal, 0);
        let [race] = &rig.cp.races()[..] else { panic!("{threads} threads: {:?}", rig.cp.races()) };
        assert_eq!((race.kind, race.address, race.bytes), (RaceKind::WriteWrite, to, 8), "{threads} threads");
        assert_eq!((race.first.index, race.second.index), (0, 1));
    }
}
