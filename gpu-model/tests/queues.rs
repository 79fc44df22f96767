//! Queues, pipes, masks and slices: what starts when.

use std::sync::Arc;

use gpu_model::engine::{Event, EventKind, Gpu, Order, PacketId, QueueId};
use gpu_model::{Device, Kernel, Mask, ModelError};

/// A device whose command processor costs round numbers.
fn device() -> Device {
    let mut device = Device::mi50();
    for (name, value) in [
        ("cp.packet_ns", 100.0),
        ("cp.launch_ns", 10.0),
        ("cp.completion_ns", 20.0),
        ("cp.dependent_ns", 30.0),
        ("cp.barrier_ns", 50.0),
        ("cp.mask_min_ns", 5000.0),
        ("cp.mask_max_ns", 5000.0),
        ("cp.switch_ns", 700.0),
        ("cp.quantum_ns", 100_000.0),
    ] {
        device.set(name, value).unwrap();
    }
    device
}

/// One workgroup on one CU, for `ns`.
fn short(ns: f64) -> Arc<Kernel> {
    Arc::new(Kernel { latency_ns: ns, ..Kernel::compute("short", 1, 1, 0.0) })
}

/// Fills the GPU for `ns`.
fn wide(ns: f64) -> Arc<Kernel> {
    Arc::new(Kernel { latency_ns: ns, lds_bytes: 65536, ..Kernel::compute("wide", 60, 4, 0.0) })
}

fn all_events(gpu: &mut Gpu) -> Vec<Event> {
    std::iter::from_fn(|| gpu.advance(f64::INFINITY)).collect()
}

fn time(events: &[Event], packet: PacketId, kind: EventKind) -> f64 {
    events.iter().find(|event| event.packet == packet && event.kind == kind).unwrap().time
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.01
}

fn setup(queues: usize) -> (Gpu, Vec<QueueId>) {
    let device = device();
    let mut gpu = Gpu::new(device.clone(), 7).unwrap();
    let queues = (0..queues).map(|_| gpu.add_queue(Mask::full(&device))).collect();
    (gpu, queues)
}

#[test]
fn a_kernel_starts_after_its_packet_and_a_dependent_one_after_the_gap() {
    let (mut gpu, queues) = setup(1);
    let first = gpu.submit(queues[0], &short(1000.0), &Order::default()).unwrap();
    let second = gpu.submit(queues[0], &short(1000.0), &Order::default()).unwrap();
    let beside = gpu.submit(queues[0], &short(1000.0), &Order { overlap: true, ..Order::default() }).unwrap();
    let events = all_events(&mut gpu);
    assert!(near(time(&events, first, EventKind::Started), 100.0));
    assert!(near(time(&events, first, EventKind::Ended), 100.0 + 10.0 + 1000.0 + 20.0));
    assert!(near(time(&events, second, EventKind::Started), 1130.0 + 30.0 + 100.0));
    // Without the barrier bit: as soon as the pipe has launched the one before.
    assert!(near(time(&events, beside, EventKind::Started), 1260.0 + 10.0 + 100.0));
}

#[test]
fn a_barrier_waits_for_all_and_a_held_packet_for_its_release() {
    let (mut gpu, queues) = setup(3);
    let a = gpu.submit(queues[0], &short(1000.0), &Order::default()).unwrap();
    let b = gpu.submit(queues[1], &short(5000.0), &Order::default()).unwrap();
    let barrier = gpu.submit_barrier(queues[2], &Order { after: vec![a, b], ..Order::default() }).unwrap();
    let last = gpu.submit(queues[2], &short(1000.0), &Order::default()).unwrap();
    let held = gpu.submit(queues[0], &short(10.0), &Order { held: true, ..Order::default() }).unwrap();
    let events = all_events(&mut gpu);
    let end = time(&events, b, EventKind::Ended);
    assert!(near(time(&events, barrier, EventKind::Ended), end + 50.0 + 100.0));
    assert!(time(&events, last, EventKind::Started) > time(&events, barrier, EventKind::Ended));
    assert!(events.iter().all(|event| event.packet != held));
    assert_eq!(gpu.next_moment(), None);
    gpu.release(held).unwrap();
    assert!(time(&all_events(&mut gpu), held, EventKind::Ended) > end);
    assert_eq!(gpu.release(held), Err(ModelError::NoPacket(held.0)));
}

#[test]
fn a_pipe_offers_one_kernel_at_a_time() {
    let (mut gpu, queues) = setup(5);
    // Queue 4 shares queue 0's pipe; its kernel is read only when all workgroups of the one before are placed.
    let big = Arc::new(Kernel { workgroups: 120, ..(*wide(10_000.0)).clone() });
    gpu.submit(queues[0], &big, &Order::default()).unwrap();
    let behind = gpu.submit(queues[4], &short(10.0), &Order::default()).unwrap();
    let other = gpu.submit(queues[1], &short(10.0), &Order::default()).unwrap();
    let events = all_events(&mut gpu);
    assert!(near(time(&events, other, EventKind::Started), 100.0));
    assert!(near(time(&events, behind, EventKind::Started), 110.0 + 10_000.0 + 100.0));
}

#[test]
fn a_short_kernel_waits_for_a_place_beside_a_wide_one() {
    let (mut gpu, queues) = setup(2);
    let mut crowd = (*wide(50_000.0)).clone();
    crowd.waves = 16;
    crowd.registers = 24;
    gpu.submit(queues[0], &Arc::new(crowd), &Order::default()).unwrap();
    while gpu.advance(5_000.0).is_some() {}
    let mut needy = (*short(10.0)).clone();
    needy.lds_bytes = 1024;
    let needy = gpu.submit(queues[1], &Arc::new(needy), &Order::default()).unwrap();
    let events = all_events(&mut gpu);
    assert!(time(&events, needy, EventKind::Ended) > 50_000.0);
}

#[test]
fn setting_a_mask_stops_everyone_and_moves_the_waves() {
    let device = device();
    let (mut gpu, queues) = setup(2);
    let mine = gpu.submit(queues[0], &wide(20_000.0), &Order::default()).unwrap();
    let other = gpu.submit(queues[1], &short(20_000.0), &Order::default()).unwrap();
    while gpu.advance(10_110.0).is_some() {}
    let wait = gpu.set_mask(queues[0], Mask::parse(&device, "se0").unwrap()).unwrap();
    assert!(near(wait, 5000.0));
    assert_eq!((0..60).map(|cu| gpu.resident_workgroups(cu)).sum::<u32>(), 0);
    // The driver sets one mask after the other.
    assert!(near(gpu.set_mask(queues[0], Mask::parse(&device, "se0").unwrap()).unwrap(), 10_000.0));
    while gpu.advance(20_200.0).is_some() {}
    let elsewhere = (15..60).map(|cu| gpu.resident_workgroups(cu)).sum::<u32>();
    assert!(elsewhere <= 1, "but for the other queue's, workgroups are under the new mask: {elsewhere}");
    let events = all_events(&mut gpu);
    let others = time(&events, other, EventKind::Ended);
    assert!(others > 30_100.0 && others < 30_400.0 + 20_000.0, "stopped for as long as it took: {others}");
    // 60 half-done workgroups, one to a CU, on 15 CUs: four rounds of what is left.
    let end = time(&events, mine, EventKind::Ended);
    assert!((end - (20_110.0 + 4.0 * 10_000.0)).abs() < 300.0, "{end}");
}

#[test]
fn more_queues_than_the_hardware_holds_take_turns() {
    let run = |count: usize| {
        let (mut gpu, queues) = setup(count);
        let packets: Vec<_> = queues
            .iter()
            .map(|&queue| gpu.submit(queue, &short(300_000.0), &Order::default()).unwrap())
            .collect();
        let events = all_events(&mut gpu);
        packets.iter().map(|&packet| time(&events, packet, EventKind::Ended)).fold(0.0, f64::max)
    };
    assert!(run(8) < 302_000.0);
    // Nine on eight places, each for 100 us at a time: nine ninths cost an eighth more, and the exchanges.
    let nine = run(9);
    assert!(nine > 1.1 * 300_000.0 && nine < 2.0 * 300_000.0, "{nine}");
}

#[test]
fn a_removed_queue_tells_what_it_loses_and_others_go_on() {
    let (mut gpu, queues) = setup(2);
    let lost = [
        gpu.submit(queues[0], &wide(1e6), &Order::default()).unwrap(),
        gpu.submit(queues[0], &wide(1e6), &Order::default()).unwrap(),
    ];
    let other = gpu.submit(queues[1], &wide(1000.0), &Order::default()).unwrap();
    while gpu.advance(50_000.0).is_some() {}
    assert_eq!(gpu.remove_queue(queues[0]).unwrap(), lost);
    assert_eq!(gpu.remove_queue(queues[0]), Err(ModelError::NoQueue(0)));
    let events = all_events(&mut gpu);
    assert!(time(&events, other, EventKind::Ended) < 60_000.0);
    assert!(gpu.submit(queues[0], &wide(1.0), &Order::default()).is_err());
}

#[test]
fn impossible_kernels_are_refused_and_say_why() {
    let (mut gpu, queues) = setup(1);
    let base = Kernel::compute("k", 1, 4, 1.0);
    for (kernel, text) in [
        (Kernel { workgroups: 0, ..base.clone() }, "no workgroup"),
        (Kernel { waves: 41, ..base.clone() }, "fits on no CU"),
        (Kernel { waves: 16, registers: 128, ..base.clone() }, "128 vector"),
        (Kernel { lds_bytes: 65537, ..base.clone() }, "65536"),
        (Kernel { issue_ns: f64::NAN, ..base.clone() }, "issue_ns"),
        (Kernel { saturating_waves: Some(0.5), ..base.clone() }, "saturating_waves"),
    ] {
        let error = gpu.submit(queues[0], &Arc::new(kernel), &Order::default()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn energy_is_idle_power_and_what_was_done() {
    let (mut gpu, queues) = setup(1);
    let kernel = Kernel { bytes: 4096.0, ..Kernel::compute("k", 600, 4, 5000.0) };
    gpu.submit(queues[0], &Arc::new(kernel), &Order::default()).unwrap();
    all_events(&mut gpu);
    let end = gpu.now();
    while gpu.advance(1e6).is_some() {}
    let (power, energy) = (device().power, gpu.energy());
    assert!(near(energy.idle * 1e6, power.idle_w.value * 1e-3 * 1e6));
    let issue = power.issue_w.value * 600.0 * 4.0 * 5000.0 * 1e-9;
    assert!((energy.issue - issue).abs() < 1e-9 * issue, "{} {issue}", energy.issue);
    let bytes = power.byte_pj.value * 1e-12 * 600.0 * 4096.0;
    assert!(energy.memory > bytes && energy.memory < bytes + power.memory_awake_w.value * end * 1e-9);
}
