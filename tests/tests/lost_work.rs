//! Work that is lost, and what waits for it: told as soon as it is known, and to nobody else.

use std::time::Duration;

use eclip_hsa::{Error, Queue, Token};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};

/// A queue that does nothing, and gives up at once when dropped.
fn stuck(gpu: &Gpu, label: &str) -> Option<Queue> {
    let sim = gpu.sim()?;
    let queue =
        Queue::builder(&gpu.agent).label(label).size(64).drain_timeout(Duration::ZERO).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    Some(queue)
}

fn barrier(queue: &Queue, after: &[Token]) -> Token {
    queue.barrier_and(after, PATIENCE).unwrap()
}

#[test]
fn a_dependency_lost_before_submitting_is_an_error() {
    let gpu = gpu();
    let Some(lost) = stuck(&gpu, "lost") else { return };
    let queue = gpu.queue();
    let token = barrier(&lost, &[]);
    drop(lost);
    assert!(matches!(queue.try_barrier_and(&[token]), Err(Error::Failed(_))));
    barrier(&queue, &[]).wait_timeout(PATIENCE).unwrap();
}

#[test]
fn work_in_front_of_a_dead_barrier_completes() {
    let gpu = gpu();
    let Some(lost) = stuck(&gpu, "lost") else { return };
    let never = barrier(&lost, &[]);
    let [queue, other] = [gpu.queue(), gpu.queue()];
    let spin = gpu.module("misc").kernel("spin").unwrap();
    let flag = gpu.agent.alloc_host::<u32>(1).unwrap();
    let work = spin.dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(20_000u32);
    let first = queue.dispatch(work, PATIENCE).unwrap();
    let dead = barrier(&queue, &[never]);
    let waits = barrier(&other, std::slice::from_ref(&first));
    drop(lost);
    assert!(dead.wait_timeout(PATIENCE).is_err());
    waits.wait_timeout(PATIENCE).unwrap();
    first.wait_timeout(PATIENCE).unwrap();
    barrier(&other, &[]).wait_timeout(PATIENCE).unwrap();
    assert!(
        matches!(queue.barrier_and(&[], PATIENCE), Err(Error::Failed(_))),
        "nothing gets past the dead barrier"
    );
}

#[test]
fn dropping_a_queue_lets_the_work_in_front_of_a_dead_barrier_finish() {
    let gpu = gpu();
    let Some(lost) = stuck(&gpu, "lost") else { return };
    let never = barrier(&lost, &[]);
    let queue = gpu.queue();
    let spin = gpu.module("misc").kernel("spin").unwrap();
    let flag = gpu.agent.alloc_host::<u32>(1).unwrap();
    let work = spin.dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(50_000u32);
    let first = queue.dispatch(work, PATIENCE).unwrap();
    let dead = barrier(&queue, &[never]);
    drop(lost);
    drop(queue);
    first.wait().unwrap();
    let error = dead.wait().unwrap_err().to_string();
    assert!(error.contains("lost was destroyed"), "{error}");
}

#[test]
fn queues_that_wait_for_each_others_lost_work_both_say_so() {
    let gpu = gpu();
    let Some(lost) = stuck(&gpu, "lost") else { return };
    let never = barrier(&lost, &[]);
    let [a, b] = [gpu.queue(), gpu.queue()];
    let on_a = barrier(&a, &[never]);
    let on_b = barrier(&b, std::slice::from_ref(&on_a));
    let on_a_again = barrier(&a, std::slice::from_ref(&on_b));
    drop(lost);
    for token in [on_a, on_b, on_a_again] {
        assert!(token.wait().is_err());
    }
}

#[test]
fn signals_named_by_complete_barriers_come_back() {
    let gpu = gpu();
    let Some(a) = stuck(&gpu, "a") else { return };
    let sim = gpu.sim().unwrap();
    let stalled = newest_queue(&sim);
    let b = gpu.queue();
    let all: Vec<Token> = (0..64).map(|_| barrier(&a, &[])).collect();
    let waits = barrier(&b, &all);
    sim.processor().resume_queue(stalled).unwrap();
    waits.wait_timeout(PATIENCE).unwrap();
    drop((all, waits));
    for _ in 0..100 {
        barrier(&a, &[]);
    }
    a.drain(PATIENCE).unwrap();
}

#[test]
fn a_token_given_many_times_is_waited_for_once() {
    let gpu = gpu();
    let [a, b] = [gpu.queue(), gpu.queue()];
    let token = barrier(&a, &[]);
    barrier(&b, &vec![token; 50]).wait_timeout(PATIENCE).unwrap();
    assert_eq!(b.packet_counts().barriers, 1);
}

#[test]
fn a_buffer_is_the_hosts_as_soon_as_its_token_is_done() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(256).create().unwrap();
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Other threads complete work, too, and may be interrupted while they do.
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    queue.unfinished();
                }
            });
        }
        let buffer = gpu.agent.alloc_host::<u32>(64).unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..2000u32 {
                let work = fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&buffer).arg(round).arg(64u32);
                queue.dispatch(work, PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
                assert_eq!(buffer.map().unwrap()[63], round);
            }
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result.unwrap();
    });
}

#[test]
fn a_loss_is_told_whatever_failed_before_it() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let gpu = gpu();
    // A dead queue on which anybody may report errors; while they come, work that waits for other queues is submitted.
    let [dead, queue, other] = [0; 3].map(|_| gpu.queue());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                dead.report_error(1);
            }
        });
        for _ in 0..3000 {
            barrier(&queue, &[barrier(&other, &[])]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    queue.drain(PATIENCE).unwrap();
    let Some(lost) = stuck(&gpu, "lost") else { return };
    let token = barrier(&queue, &[barrier(&lost, &[])]);
    assert!(queue.failure().is_none());
    drop(lost);
    for more in 0..20_000 {
        assert!(matches!(token.result(), Some(Err(_))), "the loss is forgotten after {more} more failures");
        dead.report_error(1);
    }
}

#[test]
fn lost_work_has_no_times_but_an_error_that_says_why() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = Queue::builder(&gpu.agent).profiling().drain_timeout(Duration::ZERO).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let token = barrier(&queue, &[]);
    drop(queue);
    let time = token.gpu_time();
    assert!(matches!(time, Err(Error::Failed(_))), "{time:?}");
}
