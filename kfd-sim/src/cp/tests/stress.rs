//! Eight queues with dependencies across them, several host threads, a ring that wraps.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::rig::*;
use crate::cp::PacketType;

#[test]
fn eight_queues_pass_a_token_round() {
    const ROUNDS: usize = 40;
    let rig = Rig::new();
    let queues: Vec<_> = (0..8).map(|_| rig.queue(16)).collect();
    // Stage s of round r runs on queue s and waits for the stage before it.
    let signals: Vec<_> = (0..8 * ROUNDS).map(|_| rig.signal(1)).collect();
    std::thread::scope(|scope| {
        for (stage, queue) in queues.iter().enumerate() {
            let (rig, signals) = (&rig, &signals);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let at = round * 8 + stage;
                    if at > 0 {
                        queue.submit(barrier(3, 0, &[signals[at - 1]], 0));
                    }
                    let ns = 1000 + (at as u64 * 7919) % 20_000;
                    let object = rig.kernel(Kernel::Ns(ns - ns % 1000));
                    queue.submit(dispatch(object, 0, [1 + at as u32 % 5, 1, 1], signals[at]));
                }
            });
        }
    });
    rig.wait(*signals.last().unwrap(), 0);
    assert!(signals.iter().all(|&s| rig.value(s) == 0));
    let mut runs: Vec<_> =
        rig.cp.dispatch_log().into_iter().filter(|e| e.kind == PacketType::KernelDispatch).collect();
    assert_eq!(runs.len(), 8 * ROUNDS);
    runs.sort_by_key(|e| e.start_ns);
    for pair in runs.windows(2) {
        assert!(pair[1].start_ns >= pair[0].end_ns, "one stage at a time");
    }
    let stats = rig.cp.stats();
    assert!(queues.iter().all(|q| stats.queues[&q.id].failure.is_none()));
}

#[test]
fn an_idle_device_costs_little() {
    let rig = Rig::new();
    let queue = rig.queue(16);
    let signal = rig.signal(1);
    queue.dispatch(Kernel::Ns(1000), 0, signal);
    rig.wait(signal, 0);
    let cpu = || -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|t| t.path());
        let ours =
            tasks.filter(|t| std::fs::read_to_string(t.join("comm")).is_ok_and(|c| c.trim() == "kfd-sim-cp"));
        ours.filter_map(|t| {
            std::fs::read_to_string(t.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
    };
    // Other tests' devices run in this process too: only this one's growth can be bounded loosely, so measure alone.
    if std::fs::read_dir("/proc/self/task").unwrap().count() > 4 {
        return;
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    let before = cpu();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let used = cpu() - before;
    assert!(used < 30_000_000, "{used} ns in 300 ms");
}

#[test]
fn doorbells_of_many_threads_are_not_lost() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signal = rig.signal(400);
    let object = rig.kernel(Kernel::Ns(1000));
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (rig, next, queue) = (&rig, &next, &queue);
            scope.spawn(move || {
                for _ in 0..100 {
                    // As HIP does it: reserve in the write index, fill, publish, ring.
                    let index = next.fetch_add(1, SeqCst);
                    rig.until(|| index - queue.read_index().min(index) < 64, || "full".into());
                    let slot = queue.ring + index % 64 * 64;
                    queue.write_index().fetch_max(index + 1, SeqCst);
                    let packet = dispatch(object, 0, [1, 1, 1], signal);
                    rig.write(slot + 2, &packet[2..]);
                    queue.publish(slot, [2, 0]);
                    queue.ring(index);
                }
            });
        }
    });
    rig.wait(signal, 0);
    rig.until(|| queue.read_index() == 400, || "read index".into());
}
