//! What goes wrong on one queue stays there, is reported, and can always be destroyed.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::rig::*;
use crate::cp::{CpError, PacketType, QueueDesc, QueueKind};
use crate::memory::FaultCause;

const MS: u64 = 1_000_000;

fn works(queue: &TestQueue<'_>) {
    let signal = queue.rig.signal(1);
    queue.dispatch(Kernel::Ns(1000), BARRIER, signal);
    queue.rig.wait(signal, 0);
}

#[test]
fn a_spinning_kernel_is_interleaved_and_killed_by_destroying_its_queue() {
    let rig = Rig::new();
    let (spinning, other) = (rig.queue(64), rig.queue(64));
    let signal = rig.signal(1);
    spinning.dispatch(Kernel::Spin, 0, signal);
    for _ in 0..5 {
        works(&other);
    }
    let begun = Instant::now();
    drop(spinning);
    assert!(begun.elapsed() < Duration::from_secs(2));
    rig.settle();
    assert_eq!(rig.value(signal), 1, "a destroyed queue's kernel never completes");
    works(&other);
}

#[test]
fn a_spinning_kernel_ends_when_the_host_says_so() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signal = rig.signal(1);
    queue.dispatch(Kernel::Spin, 0, signal);
    std::thread::sleep(Duration::from_millis(50));
    let released = rig.clock.now_ns();
    rig.release.store(true, SeqCst);
    rig.wait(signal, 0);
    let late = rig.cp.dispatch_log()[0].end_ns.saturating_sub(released);
    assert!(late < 20 * MS, "execution ran {late} ns ahead of the clock");
}

#[test]
fn a_stalled_queue_stops_alone_and_goes_on() {
    let rig = Rig::new();
    let (stalled, other) = (rig.queue(64), rig.queue(64));
    let (running, waiting) = (rig.signal(1), rig.signal(1));
    stalled.dispatch(Kernel::Spin, 0, running);
    rig.until(|| rig.cp.stats().instructions > 0, || "not started".into());
    rig.cp.stall_queue(stalled.id).unwrap();
    rig.release.store(true, SeqCst);
    stalled.dispatch(Kernel::Ns(1000), 0, waiting);
    works(&other);
    rig.settle();
    assert_eq!((rig.value(running), rig.value(waiting)), (1, 1));
    rig.cp.resume_queue(stalled.id).unwrap();
    rig.wait(waiting, 0);
    rig.wait(running, 0);
    // Percentage 0 does the same.
    let signal = rig.signal(1);
    rig.cp.update_queue(other.id, other.ring, 64 * 64, 0, 7).unwrap();
    other.dispatch(Kernel::Ns(1000), 0, signal);
    rig.settle();
    assert_eq!(rig.value(signal), 1);
    rig.cp.update_queue(other.id, other.ring, 64 * 64, 100, 7).unwrap();
    rig.wait(signal, 0);
}

/// Submits to a queue with another queue beside it; returns what the inactive signal said.
fn outcome(submit: impl Fn(&Rig, &TestQueue<'_>, u64)) -> (i64, String) {
    let rig = Rig::new();
    let (queue, other) = (rig.queue(64), rig.queue(64));
    let signal = rig.signal(1);
    submit(&rig, &queue, signal);
    let failure = || rig.cp.stats().queues[&queue.id].failure.clone();
    rig.until(|| failure().is_some(), || "no failure".into());
    rig.settle();
    works(&other);
    assert_eq!(rig.value(signal), 1, "a failed packet does not complete");
    // Nothing behind it does either.
    queue.dispatch(Kernel::Ns(1000), 0, signal);
    rig.settle();
    assert_eq!(rig.value(signal), 1);
    (rig.value(queue.inactive), failure().unwrap())
}

#[test]
fn every_bad_packet_has_its_code() {
    let header = |header: u32| {
        move |_: &Rig, queue: &TestQueue<'_>, signal: u64| {
            let mut packet = barrier(0, 0, &[], signal);
            packet[..4].copy_from_slice(&header.to_le_bytes());
            queue.submit(packet);
        }
    };
    let (code, why) = outcome(header(4));
    assert!(code == 32 && why.contains("agent dispatch"), "{code} {why}");
    let (code, why) = outcome(header(99));
    assert!(code == 32 && why.contains("unknown packet type 99"), "{code} {why}");
    let (code, why) = outcome(header(2 << 16));
    assert!(code == 256 && why.contains("vendor"), "{code} {why}");
    let (code, why) = outcome(header(1 << 16));
    assert!(code == 256 && why.contains("not a jump"), "{code} {why}");
    let patched = |at: usize, bytes: &'static [u8]| {
        move |rig: &Rig, queue: &TestQueue<'_>, signal: u64| {
            let mut packet = dispatch(rig.kernel(Kernel::Ns(1)), 0, [1, 1, 1], signal);
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            queue.submit(packet);
        }
    };
    assert_eq!(outcome(patched(12, &[0; 4])).0, 2, "grid of 0");
    assert_eq!(outcome(patched(28, &[0, 0, 2, 0])).0, 4, "128 KiB of LDS");
    assert_eq!(outcome(patched(32, &[0; 8])).0, 8, "no kernel object");
    assert_eq!(outcome(patched(4, &[1, 8])).0, 64, "2049 work-items");
}

#[test]
fn faults_of_kernels_have_their_codes() {
    let kernel = |kernel| {
        move |_: &Rig, queue: &TestQueue<'_>, signal| {
            queue.dispatch(kernel, 0, signal);
        }
    };
    let (code, why) = outcome(kernel(Kernel::Illegal));
    assert!(code == 0x4000_0000 && why.contains("0xc0de") && why.contains("0xffffffff"), "{code:#x} {why}");
    assert_eq!(outcome(kernel(Kernel::Trap)).0, 0x8000_0000);
    let (code, why) = outcome(kernel(Kernel::Panic));
    assert!(code == 0x8000_0000 && why.contains("panicked"), "{code:#x} {why}");
}

#[test]
fn memory_faults_go_to_the_kernel_interface_and_evict_every_queue() {
    let rig = Rig::new();
    let (queue, other) = (rig.queue(64), rig.queue(64));
    queue.dispatch(Kernel::MemoryFault, 0, rig.signal(1));
    let faults = || rig.interrupts.faults.lock().unwrap().clone();
    rig.until(|| !faults().is_empty(), || "no fault".into());
    let (id, fault) = faults()[0];
    assert_eq!((id, fault.va, fault.cause), (queue.id, 0xbad000, FaultCause::NotMapped));
    assert_eq!(rig.value(queue.inactive), 0);
    let new = rig.queue(64);
    for evicted in [&other, &new] {
        let signal = rig.signal(1);
        evicted.dispatch(Kernel::Ns(1000), 0, signal);
        rig.settle();
        assert_eq!(rig.value(signal), 1, "nothing runs any more");
    }
    drop((queue, other, new));
    works(&rig.queue(64));
}

#[test]
fn a_completion_signal_that_is_not_mapped_is_a_fault() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    queue.dispatch(Kernel::Ns(1000), 0, 0x10_0000);
    let faults = || rig.interrupts.faults.lock().unwrap().clone();
    rig.until(|| !faults().is_empty(), || "no fault".into());
    assert_eq!(faults()[0].0, queue.id);
}

#[test]
fn a_fault_can_be_injected_into_a_running_kernel() {
    let rig = Rig::new();
    let running = rig.queue(64);
    running.dispatch(Kernel::Spin, 0, 0);
    rig.until(|| rig.cp.stats().instructions > 0, || "not started".into());
    rig.cp.inject_page_fault(running.id).unwrap();
    assert_eq!(rig.interrupts.faults.lock().unwrap().iter().map(|f| f.0).collect::<Vec<_>>(), [running.id]);
}

#[test]
fn a_fault_can_be_injected_at_the_next_dispatch() {
    let rig = Rig::new();
    let idle = rig.queue(64);
    rig.cp.inject_page_fault(idle.id).unwrap();
    rig.settle();
    let faults = || rig.interrupts.faults.lock().unwrap().clone();
    assert_eq!(faults().len(), 0);
    idle.dispatch(Kernel::Ns(1), 0, 0);
    rig.until(|| faults().len() == 1, || "no fault".into());
    assert_eq!(faults()[0].0, idle.id);
}

/// What a packet leaves in the error word that a newer runtime names.
fn error_word(packet: impl Fn(&Rig) -> [u8; 64]) -> u64 {
    let rig = Rig::new();
    let (word, header) = (rig.alloc(8, 8), rig.alloc(64, 64));
    rig.word(header + 24).store(word, SeqCst);
    rig.word(header + 32).store(99, SeqCst);
    let doorbell = Box::new(std::sync::atomic::AtomicU64::new(0));
    let structure = rig.alloc(0x100, 64);
    let desc = QueueDesc {
        kind: QueueKind::Aql,
        ring_va: rig.alloc(64, 64),
        ring_bytes: 64,
        read_ptr_va: structure + 0x80,
        write_ptr_va: structure + 0x38,
        doorbell: crate::cp::DoorbellPtr(&*doorbell),
        percentage: 100,
        priority: 7,
        ctx_save_va: header,
        ctx_save_bytes: 4096,
        eop_va: 0,
    };
    rig.write(desc.ring_va, &packet(&rig));
    rig.word(desc.write_ptr_va).store(1, SeqCst);
    let id = rig.cp.create_queue(desc).unwrap();
    rig.until(|| *rig.interrupts.events.lock().unwrap() == [99], || "no event".into());
    let found = rig.word(word).load(SeqCst);
    let faults = || rig.interrupts.faults.lock().unwrap().len();
    if found == 1 << 4 {
        rig.until(|| faults() == 1, || "no memory fault event".into());
    }
    rig.cp.destroy_queue(id).unwrap();
    works(&rig.queue(64));
    found
}

#[test]
fn errors_go_to_the_error_word_when_the_runtime_names_one() {
    let mut unknown = [0; 64];
    unknown[0] = 99;
    assert_eq!(error_word(|_| unknown), 1 << 19);
    let kernel = |kernel| move |rig: &Rig| dispatch(rig.kernel(kernel), 0, [1, 1, 1], 0);
    assert_eq!(error_word(kernel(Kernel::Trap)), 1 << 1);
    assert_eq!(error_word(kernel(Kernel::Illegal)), 1 << 3);
    assert_eq!(error_word(kernel(Kernel::MemoryFault)), 1 << 4, "and the memory fault event");
}

#[test]
fn a_pm4_cache_flush_is_consumed() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let ib = rig.alloc(28, 8);
    for (i, word) in [0xc005_5800u32, 1 << 29, !0, 0xff, 0, 0, 0].into_iter().enumerate() {
        rig.write(ib + 4 * i as u64, &word.to_le_bytes());
    }
    let signal = rig.signal(1);
    let mut packet = barrier(0, 0, &[], signal);
    packet[2] = 1;
    for (i, word) in [0xc002_3f00, ib as u32, (ib >> 32) as u32, 7 | 1 << 23].into_iter().enumerate() {
        packet[4 + 4 * i..8 + 4 * i].copy_from_slice(&word.to_le_bytes());
    }
    queue.submit(packet);
    rig.wait(signal, 0);
    assert_eq!(queue.read_index(), 1);
    assert_eq!(rig.cp.stats().queues[&queue.id].packets[&PacketType::Pm4Ib], 1);
}

#[test]
fn bad_requests_say_why() {
    let rig = Rig::new();
    assert_eq!(rig.cp.destroy_queue(5), Err(CpError::UnknownQueue(5)));
    assert_eq!(rig.cp.set_cu_mask(5, &[1]), Err(CpError::UnknownQueue(5)));
    let queue = rig.queue(8);
    let bad = CpError::BadRing { va: queue.ring, bytes: 4, least: 64 };
    assert_eq!(rig.cp.update_queue(queue.id, queue.ring, 4, 100, 7), Err(bad));
    drop(queue);
    assert_eq!(rig.cp.set_cu_mask(5, &[0; 33]), Err(CpError::BadMask { words: 33, most: 32 }));
    let doorbell = Box::new(std::sync::atomic::AtomicU64::new(0));
    let structure = rig.alloc(0x100, 64);
    let good = QueueDesc {
        kind: QueueKind::Aql,
        ring_va: rig.alloc(4096, 4096),
        ring_bytes: 4096,
        read_ptr_va: structure + 0x80,
        write_ptr_va: structure + 0x38,
        doorbell: crate::cp::DoorbellPtr(&*doorbell),
        percentage: 100,
        priority: 7,
        ctx_save_va: 0,
        ctx_save_bytes: 0,
        eop_va: 0,
    };
    let create = |desc| rig.cp.create_queue(desc).unwrap_err();
    assert!(matches!(create(QueueDesc { ring_bytes: 4032, ..good.clone() }), CpError::BadRing { .. }));
    assert!(matches!(
        create(QueueDesc { ring_va: 64, ..good.clone() }),
        CpError::NotMapped { what: "ring", .. }
    ));
    assert!(matches!(create(QueueDesc { read_ptr_va: 8, ..good.clone() }), CpError::NotMapped { .. }));
    assert_eq!(
        create(QueueDesc { kind: QueueKind::Pm4, ..good.clone() }),
        CpError::Unsupported(QueueKind::Pm4)
    );
    rig.cp.shut_down();
    assert_eq!(rig.cp.create_queue(good), Err(CpError::Stopped));
}

#[test]
fn hostile_values_do_not_upset_the_device() {
    let rig = Rig::new();
    let patches: [(usize, &[u8]); 4] = [
        (56, &[0xff; 8]),
        (32, &[0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (12, &[0xff; 12]),
        (24, &[0xff; 4]),
    ];
    for (at, bytes) in patches {
        let queue = rig.queue(64);
        let mut packet = dispatch(rig.kernel(Kernel::Ns(1)), 0, [1, 1, 1], 0);
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        queue.submit(packet);
        rig.settle();
        // The largest grid would run for hours.
        drop(queue);
        // A memory fault evicts whatever queues there are; the device itself goes on.
        works(&rig.queue(64));
    }
    let queue = rig.queue(64);
    queue.submit(barrier(3, 0, &[u64::MAX - 7], 0));
    rig.until(|| rig.cp.stats().queues[&queue.id].failure.is_some(), || "no failure".into());
    drop(queue);
    works(&rig.queue(64));
}
