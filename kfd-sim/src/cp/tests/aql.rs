//! AQL queues: completion, order, dependencies, doorbells, scratch, placement.

use std::sync::atomic::Ordering::SeqCst;

use super::rig::*;
use crate::cp::PacketType;

const MS: u64 = 1_000_000;

#[test]
fn a_dispatch_completes_in_its_time_with_signal_event_and_slot() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let (signal, mailbox) = rig.interrupt_signal(1, 77);
    let before = rig.clock.now_ns();
    let index = queue.dispatch(Kernel::Ns(3 * MS), 0, signal);
    rig.wait(signal, 0);
    let after = rig.clock.now_ns();
    assert!(after - before >= 3 * MS + OVERHEAD_NS);
    rig.until(|| *rig.interrupts.events.lock().unwrap() == [77], || "no event".into());
    assert_eq!(rig.word(mailbox).load(SeqCst), 77);
    assert_eq!((queue.header(index), queue.read_index()), (1, 1));
    let log = rig.cp.dispatch_log();
    assert_eq!(log.len(), 1);
    let entry = &log[0];
    assert_eq!((entry.queue, entry.index, entry.kind), (queue.id, 0, PacketType::KernelDispatch));
    assert_eq!(entry.end_ns - entry.start_ns, 3 * MS + OVERHEAD_NS, "exact in GPU time");
    assert!(entry.start_ns >= before && entry.end_ns <= after);
    assert_eq!((entry.grid, entry.workgroup), ([64, 1, 1], [64, 1, 1]));
    // Profiling is off.
    assert_eq!(rig.word(signal + 32).load(SeqCst), 0);
}

#[test]
fn profiling_writes_ticks() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    rig.write(queue.structure + 0xb4, &(1u32 << 3).to_le_bytes());
    let signal = rig.signal(1);
    let before = rig.clock.counter();
    queue.dispatch(Kernel::Ns(MS), 0, signal);
    rig.wait(signal, 0);
    let after = rig.clock.counter();
    let [start, end] = [32, 40].map(|at| rig.word(signal + at).load(SeqCst));
    assert!(before <= start && end <= after, "{before} {start} {end} {after}");
    // 1.005 ms at 25 MHz.
    assert!((end - start).abs_diff(25_125) <= 1, "{}", end - start);
}

#[test]
fn without_the_barrier_bit_packets_overlap_and_overtake() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let (slow, fast) = (rig.signal(1), rig.signal(1));
    queue.dispatch(Kernel::Spin, 0, slow);
    queue.dispatch(Kernel::Ns(MS), 0, fast);
    rig.wait(fast, 0);
    assert_eq!(rig.value(slow), 1, "the later packet completed first");
    assert_eq!(queue.read_index(), 0, "the first slot is still in use");
    assert_eq!(queue.header(1), 1);
    rig.release.store(true, SeqCst);
    rig.wait(slow, 0);
    rig.until(|| queue.read_index() == 2, || "read index".into());
    let order: Vec<_> = rig.cp.dispatch_log().iter().map(|e| e.index).collect();
    assert_eq!(order, [1, 0]);
}

#[test]
fn the_barrier_bit_waits_for_every_earlier_packet() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signals: Vec<_> = (0..4).map(|_| rig.signal(1)).collect();
    queue.dispatch(Kernel::Ns(8 * MS), 0, signals[0]);
    queue.dispatch(Kernel::Ns(2 * MS), 0, signals[1]);
    queue.dispatch(Kernel::Ns(MS), BARRIER, signals[2]);
    queue.dispatch(Kernel::Ns(MS), 0, signals[3]);
    signals.iter().for_each(|&s| rig.wait(s, 0));
    let log = rig.cp.dispatch_log();
    let entry = |index| log.iter().find(|e| e.index == index).unwrap();
    assert!(entry(2).barrier_bit && entry(2).start_ns >= entry(0).end_ns);
    assert_eq!(entry(2).start_ns, entry(0).end_ns, "no jitter of the host in GPU time");
    assert!(entry(3).start_ns < entry(2).end_ns, "the packet behind the barrier packet overlaps it");
}

#[test]
fn barrier_and_waits_for_all_of_its_signals_on_other_queues() {
    let rig = Rig::new();
    let (a, b, c) = (rig.queue(64), rig.queue(64), rig.queue(64));
    let (on_a, on_b, host, gate, last) =
        (rig.signal(1), rig.signal(1), rig.signal(1), rig.signal(1), rig.signal(1));
    c.submit(barrier(3, 0, &[on_a, 0, on_b, host], gate));
    c.dispatch(Kernel::Ns(1000), 0, last);
    a.dispatch(Kernel::Ns(2 * MS), 0, on_a);
    b.dispatch(Kernel::Ns(4 * MS), 0, on_b);
    rig.wait(on_a, 0);
    rig.wait(on_b, 0);
    rig.settle();
    assert_eq!((rig.value(gate), rig.value(last)), (1, 1), "one dependency is missing");
    rig.set(host, 0);
    rig.wait(last, 0);
    assert_eq!(rig.value(gate), 0);
    let log = rig.cp.dispatch_log();
    let entry = |queue: u32, index| log.iter().find(|e| e.queue == queue && e.index == index).unwrap();
    assert_eq!(entry(c.id, 0).dependencies, [on_a, on_b, host]);
    assert!(entry(c.id, 1).start_ns >= entry(b.id, 0).end_ns);
}

#[test]
fn a_barrier_chain_across_queues_is_exact_in_gpu_time() {
    let rig = Rig::new();
    let (a, b) = (rig.queue(64), rig.queue(64));
    let (done_a, last) = (rig.signal(1), rig.signal(1));
    b.submit(barrier(3, BARRIER, &[done_a], 0));
    b.dispatch(Kernel::Ns(1000), BARRIER, last);
    a.dispatch(Kernel::Ns(2 * MS), 0, done_a);
    rig.wait(last, 0);
    let log = rig.cp.dispatch_log();
    let entry = |queue: u32, index| log.iter().find(|e| e.queue == queue && e.index == index).unwrap();
    let met = entry(b.id, 0).start_ns;
    assert_eq!(met, entry(a.id, 0).end_ns);
    assert_eq!(entry(b.id, 0).end_ns, met + PACKET_NS);
    assert_eq!(entry(b.id, 1).start_ns, met + PACKET_NS);
}

#[test]
fn barrier_or_takes_the_first_and_ignores_empty_ones() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let (one, two, gate, none) = (rig.signal(1), rig.signal(1), rig.signal(1), rig.signal(1));
    queue.submit(barrier(5, 0, &[0, one, two], gate));
    rig.settle();
    assert_eq!(rig.value(gate), 1);
    rig.set(two, 0);
    rig.wait(gate, 0);
    queue.submit(barrier(5, 0, &[], none));
    rig.wait(none, 0);
}

#[test]
fn a_dependency_counts_once_it_was_zero() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let (one, two, gate) = (rig.signal(0), rig.signal(1), rig.signal(1));
    queue.submit(barrier(3, 0, &[one, two], gate));
    rig.settle();
    rig.set(one, 1);
    rig.set(two, 0);
    rig.wait(gate, 0);
}

#[test]
fn an_unmet_barrier_does_not_stop_other_queues() {
    let rig = Rig::new();
    let (blocked, free) = (rig.queue(64), rig.queue(64));
    let (never, behind) = (rig.signal(1), rig.signal(1));
    blocked.submit(barrier(3, 0, &[never], 0));
    blocked.dispatch(Kernel::Ns(1000), 0, behind);
    for _ in 0..10 {
        let signal = rig.signal(1);
        free.dispatch(Kernel::Ns(1000), BARRIER, signal);
        rig.wait(signal, 0);
    }
    assert_eq!(rig.value(behind), 1, "nothing overtakes a barrier packet");
}

#[test]
fn the_ring_wraps_many_times() {
    let rig = Rig::new();
    let queue = rig.queue(8);
    let signal = rig.signal(200);
    for i in 0..200 {
        queue.dispatch(Kernel::Ns(1000), if i % 3 == 0 { BARRIER } else { 0 }, signal);
    }
    rig.wait(signal, 0);
    rig.until(|| queue.read_index() == 200, || "read index".into());
    assert_eq!(rig.cp.stats().queues[&queue.id].packets[&PacketType::KernelDispatch], 200);
}

#[test]
fn a_missing_doorbell_is_made_up_for_by_a_remap() {
    let rig = Rig::new();
    let (queue, other) = (rig.queue(64), rig.queue(64));
    let put = |signal| queue.put(dispatch(rig.kernel(Kernel::Ns(1000)), 0, [1, 1, 1], signal));
    let signals: Vec<_> = (0..2).map(|_| rig.signal(1)).collect();
    put(signals[0]);
    rig.settle();
    assert_eq!(rig.value(signals[0]), 1, "nobody rang");
    // Without MES, setting the mask of one queue remaps them all.
    rig.cp.set_cu_mask(other.id, &[u32::MAX, u32::MAX]).unwrap();
    rig.wait(signals[0], 0);
    put(signals[1]);
    rig.settle();
    assert_eq!(rig.value(signals[1]), 1);
    rig.cp.update_queue(queue.id, queue.ring, queue.packets * 64, 100, 7).unwrap();
    rig.wait(signals[1], 0);
    assert_eq!(rig.cp.stats().queues[&queue.id].doorbells, 0);
}

#[test]
fn the_doorbells_value_means_nothing() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    for _ in 0..5 {
        let signal = rig.signal(1);
        queue.put(dispatch(rig.kernel(Kernel::Ns(1000)), 0, [1, 1, 1], signal));
        // An overtaken producer's old value, the same every time.
        queue.ring(0);
        rig.wait(signal, 0);
    }
    assert_eq!(rig.cp.stats().queues[&queue.id].doorbells, 5);
}

#[test]
fn an_unpublished_slot_is_waited_for_and_counted() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signal = rig.signal(2);
    let mut packet = dispatch(rig.kernel(Kernel::Ns(1000)), 0, [1, 1, 1], signal);
    packet[0] = 1;
    let index = queue.put(packet);
    queue.dispatch(Kernel::Ns(1000), 0, signal);
    rig.settle();
    assert_eq!(rig.value(signal), 2);
    queue.publish(queue.ring + index * 64, [2, 0]);
    rig.wait(signal, 0);
    assert_eq!(rig.cp.stats().queues[&queue.id].unpublished_slots, 1);
}

#[test]
fn scratch_is_asked_for_when_earlier_packets_are_done() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let (first, second) = (rig.signal(1), rig.signal(1));
    queue.dispatch(Kernel::Ns(5 * MS), 0, first);
    let object = rig.kernel(Kernel::Ns(1000));
    queue.submit(with_private(dispatch(object, 0, [3, 1, 1], second), 100));
    rig.until(|| rig.value(queue.inactive) == 1, || "no request".into());
    assert_eq!(rig.value(first), 0);
    // The runtime looks at the packet at the read index.
    assert_eq!((queue.read_index(), queue.header(1) & 0xff), (1, 2));
    rig.settle();
    assert_eq!(rig.value(second), 1);
    queue.scratch(4, 7);
    rig.set(queue.inactive, 0);
    rig.wait(second, 0);
    assert_eq!(rig.cp.stats().queues[&queue.id].scratch_requests, 1);
    // Slots of waves that run at once are distinct.
    let slots: Vec<_> = rig.places.lock().unwrap().iter().skip(1).map(|p| p.scratch_slot).collect();
    assert_eq!(slots, [0, 1, 2]);
    // The same size fits now; scratch for one use is given back afterwards.
    rig.write(queue.structure + 0xb4, &(1u32 << 4).to_le_bytes());
    let third = rig.signal(1);
    queue.submit(with_private(dispatch(object, 0, [1, 1, 1], third), 100));
    rig.wait(third, 0);
    rig.until(|| rig.value(queue.inactive) == 512, || "no reclaim".into());
    rig.write(queue.structure + 0xb4, &0u32.to_le_bytes());
    queue.scratch(0, 0);
    rig.set(queue.inactive, 0);
    let fourth = rig.signal(1);
    queue.dispatch(Kernel::Ns(1000), 0, fourth);
    rig.wait(fourth, 0);
}

#[test]
fn workgroups_are_placed_under_the_mask() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signal = rig.signal(1);
    // CUs 0 to 3 of SE 1 and CU 0 of SE 2.
    rig.cp.set_cu_mask(queue.id, &[0b0010_0010_0010_0110, 0]).unwrap();
    queue.submit(dispatch(rig.kernel(Kernel::Ns(100)), 0, [50, 2, 1], signal));
    rig.wait(signal, 0);
    assert_eq!(rig.cp.dispatch_log()[0].cus_used, [0, 0b1111, 0b1, 0]);
    assert_eq!(rig.cp.dispatch_log()[0].cus_per_se(), [0, 4, 1, 0]);
    let places = rig.places.lock().unwrap().clone();
    assert_eq!(places.len(), 100);
    let hardware = rig.cp.hardware_queue(queue.id).unwrap();
    for (i, place) in places.iter().enumerate() {
        assert_eq!(place.se, 1 + i as u32 % 2, "strict turns");
        assert_eq!((place.me, place.pipe, place.queue), (hardware.me, hardware.pipe, hardware.queue));
    }
}

#[test]
fn a_full_mask_uses_all_60_cus() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let signal = rig.signal(1);
    queue.submit(dispatch(rig.kernel(Kernel::Ns(100)), 0, [240, 1, 1], signal));
    rig.wait(signal, 0);
    assert_eq!(rig.cp.dispatch_log()[0].cus_used, [0x7fff; 4]);
}

#[test]
fn an_empty_mask_hangs_only_its_queue() {
    let rig = Rig::new();
    let (empty, fine) = (rig.queue(64), rig.queue(64));
    rig.cp.set_cu_mask(empty.id, &[0, 0]).unwrap();
    let (never, done) = (rig.signal(1), rig.signal(1));
    empty.dispatch(Kernel::Ns(100), 0, never);
    fine.dispatch(Kernel::Ns(100), 0, done);
    rig.wait(done, 0);
    rig.settle();
    assert_eq!(rig.value(never), 1);
    rig.cp.set_cu_mask(empty.id, &[1]).unwrap();
    rig.wait(never, 0);
}

#[test]
fn hardware_queues_are_handed_out_and_reused() {
    let rig = Rig::new();
    let mut queues: Vec<_> = (0..24).map(|_| rig.queue(8)).collect();
    let places: std::collections::HashSet<_> =
        queues.iter().map(|q| rig.cp.hardware_queue(q.id).unwrap()).collect();
    assert_eq!(places.len(), 24);
    assert!(places.iter().all(|p| p.me == 1 && p.pipe < 4 && (2..8).contains(&p.queue)));
    let gone = queues.remove(5);
    let (id, place) = (gone.id, rig.cp.hardware_queue(gone.id));
    drop(gone);
    assert_eq!(rig.cp.hardware_queue(id), None);
    queues.push(rig.queue(8));
    assert_eq!(rig.cp.hardware_queue(queues[23].id), place);
    // One too many shares, and still works.
    queues.push(rig.queue(8));
    let signal = rig.signal(1);
    queues[24].dispatch(Kernel::Ns(100), 0, signal);
    rig.wait(signal, 0);
}

#[test]
fn a_dispatch_without_room_waits_and_holds_up_nobody_else() {
    let rig = Rig::new();
    let (holder, waiter, other) = (rig.queue(64), rig.queue(64), rig.queue(64));
    // One and the same CU for two kernels that each need all of its LDS.
    rig.cp.set_cu_mask(holder.id, &[1]).unwrap();
    rig.cp.set_cu_mask(waiter.id, &[1]).unwrap();
    let with_lds = |kernel, signal| {
        let mut packet = dispatch(rig.kernel(kernel), 0, [2, 1, 1], signal);
        packet[28..32].copy_from_slice(&65536u32.to_le_bytes());
        packet
    };
    let (held, waited) = (rig.signal(1), rig.signal(1));
    holder.submit(with_lds(Kernel::Spin, held));
    rig.until(|| rig.cp.stats().instructions > 0, || "not started".into());
    waiter.submit(with_lds(Kernel::Ns(1000), waited));
    for _ in 0..5 {
        let signal = rig.signal(1);
        other.dispatch(Kernel::Ns(100_000), BARRIER, signal);
        rig.wait(signal, 0);
    }
    assert_eq!(rig.value(waited), 1);
    rig.release.store(true, SeqCst);
    rig.wait(waited, 0);
    rig.wait(held, 0);
    let log = rig.cp.dispatch_log();
    let entry = log.iter().find(|e| e.queue == waiter.id).unwrap();
    assert_eq!(entry.cus_used, [1, 0, 0, 0]);
    assert!(entry.end_ns - entry.start_ns > 500_000, "the wait for room is part of its time");
}
