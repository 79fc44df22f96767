//! Strict memory: what each fence and barrier is for. Every test takes exactly one away, and sees old bytes.

use std::sync::atomic::Ordering::SeqCst;

use super::rig::*;
use super::sdma::{Sdma, copy};
use crate::cp::MemoryModel;

const NEW: u64 = 7;
const OLD: u64 = 1;
const MS: u64 = 1_000_000;

/// Header bits: acquire and release scope.
fn fences(acquire: u16, release: u16) -> u16 {
    acquire << 9 | release << 11
}
const NONE: u16 = 0;
const AGENT: u16 = 1;
const SYSTEM: u16 = 2;

fn rig(model: MemoryModel) -> Rig {
    let rig = Rig::new();
    rig.cp.set_memory_model(model).unwrap();
    assert_eq!(rig.cp.memory_model(), model);
    rig
}

/// Three words on pages of their own: the source holds the new value, the others the old one.
fn words(rig: &Rig) -> [u64; 3] {
    let words = [rig.vram(), rig.vram(), rig.vram()];
    words.iter().zip([NEW, OLD, OLD]).for_each(|(&va, value)| rig.word(va).store(value, SeqCst));
    words
}

fn copies(rig: &Rig, from: u64, to: u64, ns: u64, header: u16, signal: u64) -> [u8; 64] {
    dispatch(rig.kernel(Kernel::Copy { from, to, ns }), header, [1, 1, 1], signal)
}

/// Everything that the queue did becomes visible to the host.
fn finish(queue: &TestQueue<'_>) {
    let signal = queue.rig.signal(1);
    queue.submit(barrier(3, BARRIER | fences(SYSTEM, SYSTEM), &[], signal));
    queue.rig.wait(signal, 0);
}

/// One queue: a producer copies a to b, a consumer b to c. Returns what the consumer saw.
fn one_queue(model: MemoryModel, producer: u16, consumer: u16) -> u64 {
    let rig = rig(model);
    let [a, b, c] = words(&rig);
    let queue = rig.queue(64);
    // Both are published before the first one runs.
    rig.cp.stall_queue(queue.id).unwrap();
    queue.submit(copies(&rig, a, b, MS, producer, 0));
    queue.submit(copies(&rig, b, c, MS, consumer, 0));
    rig.cp.resume_queue(queue.id).unwrap();
    finish(&queue);
    rig.word(c).load(SeqCst)
}

#[test]
fn inside_a_queue_barrier_bit_release_and_acquire_are_all_needed() {
    for model in [MemoryModel::Caches, MemoryModel::Strict] {
        let case = |barrier, release, acquire| {
            one_queue(model, fences(SYSTEM, release), barrier | fences(acquire, SYSTEM))
        };
        assert_eq!(case(BARRIER, AGENT, AGENT), NEW);
        assert_eq!(case(BARRIER, SYSTEM, SYSTEM), NEW);
        assert_eq!(case(0, AGENT, AGENT), OLD, "no barrier bit");
        assert_eq!(case(0, SYSTEM, SYSTEM), OLD, "no barrier bit");
        assert_eq!(case(BARRIER, NONE, AGENT), OLD, "no release");
        assert_eq!(case(BARRIER, NONE, SYSTEM), OLD, "no release");
        assert_eq!(case(BARRIER, AGENT, NONE), OLD, "no acquire");
        assert_eq!(case(BARRIER, SYSTEM, NONE), OLD, "no acquire");
    }
    // Without the model a missing fence does not show.
    assert_eq!(one_queue(MemoryModel::Coherent, 0, BARRIER), NEW);
}

#[test]
fn a_packet_without_the_barrier_bit_may_overwrite_what_an_earlier_one_still_reads() {
    for (with_barrier, seen) in [(BARRIER, OLD), (0, NEW)] {
        let rig = rig(MemoryModel::Strict);
        let [a, b, c] = words(&rig);
        let queue = rig.queue(64);
        rig.cp.stall_queue(queue.id).unwrap();
        queue.submit(copies(&rig, b, c, 4 * MS, fences(SYSTEM, SYSTEM), 0));
        queue.submit(copies(&rig, a, b, 1000, with_barrier | fences(SYSTEM, SYSTEM), 0));
        rig.cp.resume_queue(queue.id).unwrap();
        finish(&queue);
        assert_eq!(rig.word(c).load(SeqCst), seen);
    }
}

/// Producer on one queue, consumer on another. Returns what the consumer saw.
fn two_queues(wait: bool, release: u16, gate: u16, acquire: u16) -> u64 {
    let rig = rig(MemoryModel::Strict);
    let [a, b, c] = words(&rig);
    let (producer, consumer) = (rig.queue(64), rig.queue(64));
    let done = rig.signal(1);
    [&producer, &consumer].iter().for_each(|queue| rig.cp.stall_queue(queue.id).unwrap());
    producer.submit(copies(&rig, a, b, MS, fences(SYSTEM, release), done));
    if wait {
        consumer.submit(barrier(3, fences(gate, NONE), &[done], 0));
    }
    // Reads long after the producer has ended, and yet must not see it.
    consumer.submit(copies(&rig, b, c, 4 * MS, fences(acquire, SYSTEM), 0));
    [&producer, &consumer].iter().for_each(|queue| rig.cp.resume_queue(queue.id).unwrap());
    finish(&consumer);
    assert_eq!(rig.value(done), 0);
    rig.word(c).load(SeqCst)
}

#[test]
fn across_queues_barrier_and_release_and_acquire_are_all_needed() {
    assert_eq!(two_queues(true, AGENT, NONE, AGENT), NEW);
    assert_eq!(two_queues(true, AGENT, AGENT, NONE), NEW, "the barrier packet's acquire will do");
    assert_eq!(two_queues(false, AGENT, AGENT, AGENT), OLD, "no barrier-AND");
    assert_eq!(two_queues(false, SYSTEM, SYSTEM, SYSTEM), OLD, "no barrier-AND");
    assert_eq!(two_queues(true, NONE, AGENT, AGENT), OLD, "no release");
    assert_eq!(two_queues(true, AGENT, NONE, NONE), OLD, "no acquire");
}

#[test]
fn the_host_needs_a_system_release() {
    let rig = rig(MemoryModel::Strict);
    let (from, local, host) = (rig.vram(), rig.vram(), rig.alloc(4096, 4096));
    rig.word(from).store(NEW, SeqCst);
    let queue = rig.queue(64);
    for scope in [NONE, AGENT, SYSTEM] {
        for to in [local, host] {
            rig.word(to).store(OLD, SeqCst);
            let signal = rig.signal(1);
            queue.submit(copies(&rig, from, to, 1000, fences(SYSTEM, scope), signal));
            rig.wait(signal, 0);
            assert_eq!(rig.word(to).load(SeqCst), if scope == SYSTEM { NEW } else { OLD }, "scope {scope}");
        }
    }
}

#[test]
fn a_later_packet_releases_what_had_completed_before_it() {
    for (with_barrier, seen) in [(BARRIER, NEW), (0, OLD)] {
        let rig = rig(MemoryModel::Strict);
        let [a, b, _] = words(&rig);
        let queue = rig.queue(64);
        rig.cp.stall_queue(queue.id).unwrap();
        let (stored, released) = (rig.signal(1), rig.signal(1));
        queue.submit(copies(&rig, a, b, 1000, fences(SYSTEM, NONE), stored));
        // Ends after the first one in any case.
        let object = rig.kernel(Kernel::Ns(4 * MS));
        queue.submit(dispatch(object, with_barrier | fences(NONE, SYSTEM), [1, 1, 1], released));
        rig.cp.resume_queue(queue.id).unwrap();
        rig.wait(stored, 0);
        assert_eq!(rig.word(b).load(SeqCst), OLD);
        rig.wait(released, 0);
        assert_eq!(rig.word(b).load(SeqCst), seen);
        finish(&queue);
        assert_eq!(rig.word(b).load(SeqCst), NEW);
    }
}

/// A kernel on a fresh queue copies `from`; what it read.
fn read_by_kernel(queue: &TestQueue<'_>, from: u64, acquire: u16) -> u64 {
    let (to, signal) = (queue.rig.vram(), queue.rig.signal(1));
    queue.submit(copies(queue.rig, from, to, 1000, BARRIER | fences(acquire, SYSTEM), signal));
    queue.rig.wait(signal, 0);
    queue.rig.word(to).load(SeqCst)
}

#[test]
fn vram_that_dma_or_the_host_writes_needs_a_system_acquire() {
    let rig = rig(MemoryModel::Caches);
    let (queue, dma) = (rig.queue(64), Sdma::new(&rig, 1024));
    let (source, by_dma, by_host) = (rig.alloc(8, 8), rig.vram(), rig.vram());
    rig.word(source).store(NEW, SeqCst);
    for va in [by_dma, by_host] {
        rig.word(va).store(OLD, SeqCst);
        assert_eq!(read_by_kernel(&queue, va, SYSTEM), OLD);
    }
    // The second read's acquire forgot the first one's line: read it again.
    assert_eq!(read_by_kernel(&queue, by_dma, AGENT), OLD);
    dma.done(dma.submit(&copy(by_dma, source, 8)));
    rig.word(by_host).store(NEW, SeqCst);
    for va in [by_dma, by_host] {
        assert_eq!(rig.word(va).load(SeqCst), NEW);
        assert_eq!(read_by_kernel(&queue, va, AGENT), OLD);
    }
    // Any queue's acquire cleans the L2 that they share, but not the L1.
    let other = rig.queue(64);
    assert_eq!(read_by_kernel(&other, by_host, SYSTEM), NEW);
    assert_eq!(read_by_kernel(&queue, by_host, NONE), OLD);
    assert_eq!(read_by_kernel(&queue, by_host, AGENT), NEW);
    assert_eq!(read_by_kernel(&queue, by_dma, AGENT), NEW);
}

#[test]
fn under_the_strict_model_dma_to_vram_that_nobody_read_is_old_too() {
    for (model, seen) in [(MemoryModel::Caches, NEW), (MemoryModel::Strict, OLD)] {
        let rig = rig(model);
        let (queue, dma) = (rig.queue(64), Sdma::new(&rig, 1024));
        let (source, target) = (rig.alloc(8, 8), rig.vram());
        rig.word(source).store(NEW, SeqCst);
        rig.word(target).store(OLD, SeqCst);
        dma.done(dma.submit(&copy(target, source, 8)));
        assert_eq!(read_by_kernel(&queue, target, AGENT), seen);
        assert_eq!(read_by_kernel(&queue, target, SYSTEM), NEW);
    }
}

#[test]
fn host_memory_needs_an_acquire_of_any_scope() {
    let rig = rig(MemoryModel::Strict);
    let (queue, host) = (rig.queue(64), rig.alloc(4096, 4096));
    rig.word(host).store(OLD, SeqCst);
    assert_eq!(read_by_kernel(&queue, host, SYSTEM), OLD);
    rig.word(host).store(NEW, SeqCst);
    assert_eq!(read_by_kernel(&queue, host, NONE), OLD);
    assert_eq!(read_by_kernel(&queue, host, AGENT), NEW);
}

#[test]
fn dma_reads_memory_and_so_needs_a_system_release() {
    let rig = rig(MemoryModel::Strict);
    let [a, b, c] = words(&rig);
    let (queue, dma) = (rig.queue(64), Sdma::new(&rig, 1024));
    for (scope, seen) in [(AGENT, OLD), (SYSTEM, NEW)] {
        let signal = rig.signal(1);
        queue.submit(copies(&rig, a, b, 1000, fences(SYSTEM, scope), signal));
        rig.wait(signal, 0);
        dma.done(dma.submit(&copy(c, b, 8)));
        assert_eq!(rig.word(c).load(SeqCst), seen);
    }
}

#[test]
fn neighbouring_bytes_of_host_dma_and_two_dispatches_all_survive() {
    let rig = rig(MemoryModel::Strict);
    let (a, page) = (rig.vram(), rig.vram());
    rig.word(a).store(NEW, SeqCst);
    let (one, two) = (rig.queue(64), rig.queue(64));
    [&one, &two].iter().for_each(|queue| rig.cp.stall_queue(queue.id).unwrap());
    let both = rig.signal(2);
    one.submit(copies(&rig, a, page, MS, fences(SYSTEM, SYSTEM), both));
    two.submit(copies(&rig, a, page + 8, MS, fences(SYSTEM, SYSTEM), both));
    [&one, &two].iter().for_each(|queue| rig.cp.resume_queue(queue.id).unwrap());
    rig.until(|| rig.cp.stats().instructions > 0, || "not started".into());
    rig.word(page + 16).store(NEW, SeqCst);
    rig.wait(both, 0);
    let found: Vec<_> = (0..4).map(|i| rig.word(page + 8 * i).load(SeqCst)).collect();
    assert_eq!(found, [NEW, NEW, NEW, 0]);
}

#[test]
fn atomics_need_no_fence_between_dispatches() {
    let rig = rig(MemoryModel::Strict);
    let (local, host) = (rig.vram(), rig.alloc(4096, 4096));
    let queues = [rig.queue(64), rig.queue(64)];
    for target in [local, host] {
        let done = rig.signal(20);
        for _ in 0..10 {
            for queue in &queues {
                queue.dispatch(Kernel::Increment(target), fences(NONE, AGENT), done);
            }
        }
        rig.wait(done, 0);
    }
    assert_eq!(rig.word(host).load(SeqCst), 20, "host memory is updated in place");
    assert_eq!(rig.word(local).load(SeqCst), 0, "VRAM is updated in the L2");
    finish(&queues[0]);
    assert_eq!(rig.word(local).load(SeqCst), 20);
}

#[test]
fn a_store_is_seen_some_day_even_if_the_kernel_never_ends() {
    let rig = rig(MemoryModel::Strict);
    let (queue, host) = (rig.queue(64), rig.alloc(4096, 4096));
    let signal = rig.signal(1);
    queue.dispatch(Kernel::StoreAndSpin(host), fences(SYSTEM, NONE), signal);
    rig.until(|| rig.word(host).load(SeqCst) == 1, || "the store is hidden".into());
    assert_eq!(rig.value(signal), 1);
    rig.release.store(true, SeqCst);
    rig.wait(signal, 0);
}

#[test]
fn switching_the_model_off_shows_everything() {
    let rig = rig(MemoryModel::Strict);
    let [a, b, c] = words(&rig);
    let (queue, signal) = (rig.queue(64), rig.signal(2));
    queue.submit(copies(&rig, a, b, 1000, fences(SYSTEM, NONE), signal));
    queue.submit(copies(&rig, a, c, 1000, fences(SYSTEM, AGENT), signal));
    rig.wait(signal, 0);
    assert_eq!([b, c].map(|va| rig.word(va).load(SeqCst)), [OLD, OLD]);
    rig.cp.set_memory_model(MemoryModel::Coherent).unwrap();
    assert_eq!([b, c].map(|va| rig.word(va).load(SeqCst)), [NEW, NEW]);
    rig.word(a).store(9, SeqCst);
    assert_eq!(read_by_kernel(&queue, a, NONE), 9);
}

#[test]
fn what_is_unmapped_is_forgotten_and_never_written_to_its_next_owner() {
    let rig = rig(MemoryModel::Strict);
    let [a, b, _] = words(&rig);
    let (queue, signal) = (rig.queue(64), rig.signal(1));
    queue.submit(copies(&rig, a, b, 1000, fences(SYSTEM, AGENT), signal));
    rig.wait(signal, 0);
    let span = rig.space.translate(b, 4096, crate::memory::Access::Write).unwrap();
    rig.space.unmap(b, 4096);
    rig.cp.fence();
    // SAFETY: the arena's memory, as it was mapped before.
    unsafe { rig.space.map(crate::memory::Span { va: b, len: 4096, host: span.at(b), ..span }) };
    rig.word(b).store(3, SeqCst);
    finish(&queue);
    assert_eq!(rig.word(b).load(SeqCst), 3);
    assert_eq!(read_by_kernel(&queue, b, NONE), 3);
}
