//! More queues than the hardware has, and queues of different priorities.

use std::time::{Duration, Instant};

use super::rig::*;
use crate::cp::turns::QUANTUM_NS;

/// Hardware queues of the device.
const HARDWARE: usize = 24;

#[test]
fn two_hundred_queues_all_make_progress_beside_kernels_that_never_end() {
    let rig = Rig::new();
    // One spinning kernel on each hardware queue.
    let spinning: Vec<_> = (0..HARDWARE).map(|_| rig.queue(64)).collect();
    for queue in &spinning {
        queue.submit(dispatch(rig.kernel(Kernel::Spin), 0, [16, 1, 1], rig.signal(1)));
    }
    let others: Vec<_> = (0..200 - HARDWARE).map(|_| rig.queue(64)).collect();
    let signals: Vec<_> = others
        .iter()
        .map(|queue| {
            let signal = rig.signal(2);
            queue.dispatch(Kernel::Ns(1000), 0, signal);
            queue.dispatch(Kernel::Ns(1000), BARRIER, signal);
            signal
        })
        .collect();
    for signal in signals {
        rig.wait(signal, 0);
    }
    let stats = rig.cp.stats();
    assert!(spinning.iter().all(|q| stats.queues[&q.id].failure.is_none()));
    assert!(others.iter().all(|q| stats.queues[&q.id].turns > 0));
    let begun = Instant::now();
    drop((spinning, others));
    assert!(begun.elapsed() < Duration::from_secs(5), "all of them can be destroyed");
}

#[test]
fn a_kernel_that_lost_its_turn_goes_on_where_it_was() {
    let rig = Rig::new();
    let queues: Vec<_> = (0..=HARDWARE).map(|_| rig.queue(64)).collect();
    let (first, last) = (&queues[0], &queues[HARDWARE]);
    assert_eq!(rig.cp.hardware_queue(first.id), rig.cp.hardware_queue(last.id));
    let long = 5 * QUANTUM_NS / 2;
    let signals = [rig.signal(1), rig.signal(1)];
    first.dispatch(Kernel::Ns(long), 0, signals[0]);
    last.dispatch(Kernel::Ns(long), 0, signals[1]);
    signals.iter().for_each(|&signal| rig.wait(signal, 0));
    let log = rig.cp.dispatch_log();
    assert!(log.iter().all(|d| d.instructions == long), "nothing is executed twice, nothing is left out");
    let end = log.iter().map(|d| d.end_ns).max().unwrap();
    let begin = log.iter().map(|d| d.start_ns).min().unwrap();
    assert!(end - begin >= 2 * long, "they took turns: {} ns", end - begin);
    let stats = rig.cp.stats();
    assert!(stats.queues[&first.id].turns >= 1 && stats.queues[&last.id].turns >= 2);
}

#[test]
fn a_barrier_may_wait_for_a_queue_that_waits_for_its_turn() {
    let rig = Rig::new();
    let queues: Vec<_> = (0..=HARDWARE).map(|_| rig.queue(64)).collect();
    let (gate, done) = (rig.signal(1), rig.signal(1));
    queues[0].submit(barrier(3, 0, &[gate], done));
    queues[HARDWARE].dispatch(Kernel::Ns(1000), 0, gate);
    rig.wait(done, 0);
}

#[test]
fn room_goes_to_the_higher_priority() {
    for threads in [1, 4] {
        priority(threads);
    }
}

fn priority(threads: usize) {
    let rig = Rig::new();
    rig.cp.set_threads(threads).unwrap();
    let (low, high, filler) = (rig.queue_with(64, 0), rig.queue_with(64, 15), rig.queue(64));
    // 60 CUs of 40 waves: all taken until released.
    filler.submit(dispatch(rig.kernel(Kernel::Spin), 0, [2400, 1, 1], rig.signal(1)));
    rig.until(|| rig.places.lock().unwrap().len() == 2400, || "not full".into());
    let signals = [rig.signal(1), rig.signal(1)];
    low.submit(dispatch(rig.kernel(Kernel::Ns(50_000)), 0, [2400, 1, 1], signals[0]));
    rig.settle();
    high.submit(dispatch(rig.kernel(Kernel::Ns(50_000)), 0, [2400, 1, 1], signals[1]));
    rig.settle();
    rig.release.store(true, std::sync::atomic::Ordering::SeqCst);
    signals.iter().for_each(|&signal| rig.wait(signal, 0));
    let log = rig.cp.dispatch_log();
    let end = |id| log.iter().find(|d| d.queue == id).unwrap().end_ns;
    assert!(end(high.id) < end(low.id), "{threads} threads: {} {}", end(high.id), end(low.id));
}

/// Room that workgroups leave while threads run them is not given to others of their dispatch when a higher priority waits.
#[test]
fn nothing_of_a_lower_priority_is_placed_while_a_higher_one_waits() {
    for threads in [1, 4] {
        let rig = Rig::new();
        rig.cp.set_threads(threads).unwrap();
        let (low, high) = (rig.queue_with(64, 0), rig.queue_with(64, 15));
        let (signals, taken) = ([rig.signal(1), rig.signal(1)], rig.signal(1));
        low.submit(dispatch(rig.kernel(Kernel::Spin), 0, [4800, 1, 1], signals[0]));
        rig.until(|| rig.places.lock().unwrap().len() == 2400, || "not full".into());
        high.submit(dispatch(rig.kernel(Kernel::Ns(1000)), 0, [2400, 1, 1], signals[1]));
        // Behind it, and not ordered: it completes when the dispatch waits for room.
        high.submit(barrier(3, 0, &[], taken));
        rig.wait(taken, 0);
        rig.release.store(true, std::sync::atomic::Ordering::SeqCst);
        signals.iter().for_each(|&signal| rig.wait(signal, 0));
        let theirs = rig.cp.hardware_queue(high.id).unwrap();
        let next = rig.places.lock().unwrap()[2400];
        assert_eq!(
            (next.me, next.pipe, next.queue),
            (theirs.me, theirs.pipe, theirs.queue),
            "{threads} threads"
        );
    }
}

#[test]
fn overlapping_dispatches_of_a_queue_have_scratch_memory_of_their_own() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    queue.scratch(16, 4);
    let kernel = rig.kernel(Kernel::Spin);
    for _ in 0..2 {
        queue.submit(with_private(dispatch(kernel, 0, [4, 1, 1], rig.signal(1)), 16));
    }
    rig.until(|| rig.places.lock().unwrap().len() == 8, || "not placed".into());
    let mut slots: Vec<_> = rig.places.lock().unwrap().iter().map(|place| place.scratch_slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..8).collect::<Vec<_>>());
    rig.release.store(true, std::sync::atomic::Ordering::SeqCst);
}
