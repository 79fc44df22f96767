//! Queues and tokens on a device: barriers, batches, waiting, dropping.

use std::time::Duration;

use eclip_hsa::{Error, KernelGroup, Queue};
use eclip_tests::{PATIENCE, gpu, newest_queue};

#[test]
fn a_barrier_without_dependencies_completes() {
    let gpu = gpu();
    let queue = gpu.queue();
    let token = queue.barrier_and(&[], PATIENCE).unwrap();
    token.wait_timeout(PATIENCE).unwrap();
    assert!(token.is_done().unwrap());
}

#[test]
fn barriers_across_queues_complete_in_chains_of_any_length() {
    let gpu = gpu();
    let queues: Vec<Queue> = (0..4).map(|_| gpu.queue()).collect();
    let mut tokens = Vec::new();
    for round in 0..30 {
        let token = queues[round % 4].barrier_and(&tokens, PATIENCE).unwrap();
        tokens.push(token);
    }
    for token in &tokens {
        token.wait_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_thousand_submissions_go_through_a_ring_of_64() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    let mut last = None;
    for _ in 0..1000 {
        last = Some(queue.barrier_and(&[], PATIENCE).unwrap());
    }
    last.unwrap().wait_timeout(PATIENCE).unwrap();
    queue.drain(PATIENCE).unwrap();
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn an_empty_group_is_refused() {
    let gpu = gpu();
    assert!(matches!(KernelGroup::builder(&gpu.agent).build(), Err(Error::Invalid(_))));
}

#[test]
fn a_wait_ends_with_a_timeout() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = gpu.queue();
    let id = newest_queue(&sim);
    sim.processor().stall_queue(id).unwrap();
    let token = queue.barrier_and(&[], PATIENCE).unwrap();
    let error = token.wait_timeout(Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
    sim.processor().resume_queue(id).unwrap();
    token.wait_timeout(PATIENCE).unwrap();
}

#[test]
fn a_full_ring_refuses_without_losing_a_slot() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    let id = newest_queue(&sim);
    sim.processor().stall_queue(id).unwrap();
    let mut tokens = Vec::new();
    let refused = loop {
        match queue.try_barrier_and(&[]) {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock { .. }), "{refused}");
    assert!(refused.to_string().contains("full"), "{refused}");
    assert_eq!(tokens.len(), 64);
    // Waiting for room ends, too.
    let begin = std::time::Instant::now();
    let late = queue.barrier_and(&[], Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(late, Error::WouldBlock { .. }) && begin.elapsed() >= Duration::from_millis(50),
        "{late}"
    );
    sim.processor().resume_queue(id).unwrap();
    for token in tokens {
        token.wait_timeout(PATIENCE).unwrap();
    }
    for _ in 0..64 {
        queue.barrier_and(&[], PATIENCE).unwrap();
    }
    queue.drain(PATIENCE).unwrap();
}

#[test]
fn a_group_larger_than_the_ring_is_refused_at_once() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let mut group = KernelGroup::builder(&gpu.agent);
    for _ in 0..65 {
        group.dispatch(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    }
    let group = group.build().unwrap();
    let refused = group.on(&queue).submit(PATIENCE);
    assert!(matches!(refused, Err(Error::TooLarge { asked: 65, limit: 64, .. })));
    queue.drain(PATIENCE).unwrap();
}

#[test]
fn a_queue_dropped_with_stuck_work_fails_its_tokens_in_bounded_time() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue =
        Queue::builder(&gpu.agent).label("stuck").drain_timeout(Duration::from_millis(50)).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let token = queue.barrier_and(&[], PATIENCE).unwrap();
    drop(queue);
    let error = token.wait().unwrap_err();
    assert!(error.to_string().contains("stuck was destroyed"), "{error}");
    assert!(token.is_done().is_err());
}

#[test]
fn what_waits_for_lost_work_fails_too_and_other_queues_go_on() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let lost = Queue::builder(&gpu.agent).label("lost").drain_timeout(Duration::ZERO).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let [waits, other] = [gpu.queue(), gpu.queue()];
    let cause = lost.barrier_and(&[], PATIENCE).unwrap();
    let token = waits.barrier_and(std::slice::from_ref(&cause), PATIENCE).unwrap();
    assert!(token.wait_timeout(Duration::from_millis(20)).is_err());
    drop(lost);
    let error = token.wait().unwrap_err().to_string();
    assert!(
        error.contains("waits for work that was lost") && error.contains("lost was destroyed"),
        "{error}"
    );
    assert!(waits.try_dispatch_is_refused(), "a queue that can never go on takes nothing more");
    assert!(other.barrier_and(&[cause], PATIENCE).is_err(), "nobody can wait for lost work");
    other.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

/// Whether a queue refuses new work because it is dead.
trait Refuses {
    fn try_dispatch_is_refused(&self) -> bool;
}

impl Refuses for Queue {
    fn try_dispatch_is_refused(&self) -> bool {
        matches!(self.barrier_and(&[], Duration::ZERO), Err(Error::Failed(_)))
    }
}

#[test]
fn forgotten_tokens_cost_nothing() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    for _ in 0..500 {
        std::mem::forget(queue.barrier_and(&[], PATIENCE).unwrap());
    }
    queue.drain(PATIENCE).unwrap();
}

#[test]
fn tokens_outlive_queue_and_runtime() {
    let gpu = gpu();
    let queue = gpu.queue();
    let token = queue.barrier_and(&[], PATIENCE).unwrap();
    drop(queue);
    drop(gpu);
    assert!(token.is_done().unwrap(), "the queue drained before it was destroyed");
}

#[test]
fn four_threads_share_a_queue() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let tokens: Vec<_> = (0..250).map(|_| queue.barrier_and(&[], PATIENCE).unwrap()).collect();
                tokens.iter().for_each(|token| token.wait_timeout(PATIENCE).unwrap());
            });
        }
    });
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn packet_counts_are_subtracted_while_others_submit() {
    let gpu = gpu();
    let queue = gpu.queue();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                queue.barrier_and(&[], PATIENCE).unwrap();
            }
        });
        let most = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let differences = (0..300_000).map(|_| {
                let before = queue.packet_counts();
                (queue.packet_counts() - before).kernels
            });
            differences.max()
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(most.unwrap() <= Some(1), "no kernel was submitted, one barrier at a time was");
    });
}
