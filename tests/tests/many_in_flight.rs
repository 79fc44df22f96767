//! Many submissions at once: more than the driver has events for, and counted as the device sees them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eclip_hsa::{Error, KernelGroup, Patch, Queue, Token, Visibility};
use eclip_tests::{PATIENCE, gpu, newest_queue};
use kfd_sim::cp::PacketType;

#[test]
fn submissions_without_a_driver_event_are_waited_for_too() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let first = gpu.queue();
    let id = newest_queue(&sim);
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let queues: Vec<Queue> = (0..4)
        .map(|n| Queue::builder(&gpu.agent).label(format!("queue {n}")).size(1024).create().unwrap())
        .collect();
    sim.processor().stall_queue(id).unwrap();
    let gate = first.barrier_and(&[], PATIENCE).unwrap();
    // 4,004 signals: past 3,072 they are polled.
    let mut tokens: Vec<Token> = Vec::new();
    for queue in &queues {
        tokens.push(queue.barrier_and(std::slice::from_ref(&gate), PATIENCE).unwrap());
        for _ in 0..1000 {
            tokens.push(queue.dispatch(empty.dispatch([64, 1, 1], [64, 1, 1]), PATIENCE).unwrap());
        }
    }
    let begin = Instant::now();
    let error = tokens.last().unwrap().wait_timeout(Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(30));
    sim.processor().resume_queue(id).unwrap();
    for token in tokens.iter().rev() {
        token.wait_timeout(PATIENCE).unwrap();
    }
    assert!(queues.iter().all(|queue| queue.unfinished() == 0));
}

#[test]
fn packets_are_counted_as_the_device_sees_them() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let dispatch = || empty.dispatch([64, 1, 1], [64, 1, 1]);
    let (one, id_one) = (gpu.queue(), newest_queue(&sim));
    let (two, id_two) = (gpu.queue(), newest_queue(&sim));
    // Held up, so that dependencies on it really need a barrier packet.
    sim.processor().stall_queue(id_one).unwrap();
    let tokens: Vec<Token> = (0..7).map(|_| one.dispatch(dispatch(), PATIENCE).unwrap()).collect();
    let mut pair = KernelGroup::builder(&gpu.agent);
    pair.dispatch(dispatch()).unwrap().dispatch(dispatch()).unwrap();
    pair.build().unwrap().on(&two).after(&tokens).submit(PATIENCE).unwrap();
    let last = two.dispatch(dispatch().barrier(), PATIENCE).unwrap();
    // Seven dependencies are two packets; a refused submission counts nothing.
    let counts = two.packet_counts();
    assert_eq!((counts.kernels, counts.barriers, counts.barrier_bits), (3, 2, 2));
    let patches = [Patch::new(0, 0, 1u32)];
    assert!(KernelGroup::of(dispatch()).unwrap().on(&two).patch(&patches).try_submit().is_err());
    assert_eq!(two.packet_counts(), counts);
    sim.processor().resume_queue(id_one).unwrap();
    last.wait_timeout(PATIENCE).unwrap();
    one.drain(PATIENCE).unwrap();

    let stats = sim.processor().stats();
    for (queue, id) in [(&one, id_one), (&two, id_two)] {
        let (ours, seen) = (queue.packet_counts(), &stats.queues[&id]);
        let expected: BTreeMap<PacketType, u64> =
            [(PacketType::KernelDispatch, ours.kernels), (PacketType::BarrierAnd, ours.barriers)]
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect();
        assert_eq!(seen.packets, expected, "{}", queue.label());
        assert_eq!(seen.barrier_bits, ours.barrier_bits, "{}", queue.label());
    }
    // What is complete needs no packet.
    let before = two.packet_counts();
    let one_kernel = KernelGroup::of(dispatch()).unwrap();
    one_kernel.on(&two).after(&tokens).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    let more = two.packet_counts() - before;
    assert_eq!((more.kernels, more.barriers, more.elided_complete), (1, 0, 7));
}

#[test]
fn fences_reach_as_far_as_whoever_reads_the_data() {
    const NONE: u8 = 0;
    const AGENT: u8 = 1;
    const SYSTEM: u8 = 2;
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let dispatch = || empty.dispatch([64, 1, 1], [64, 1, 1]);
    let (one, id_one) = (gpu.queue(), newest_queue(&sim));
    let (two, id_two) = (gpu.queue(), newest_queue(&sim));
    sim.processor().stall_queue(id_one).unwrap();
    let first = one.dispatch(dispatch(), PATIENCE).unwrap();
    let mut ordered = KernelGroup::builder(&gpu.agent);
    ordered.dispatch(dispatch()).unwrap().dispatch(dispatch()).unwrap().dispatch(dispatch()).unwrap();
    let mut concurrent = ordered.clone();
    let ordered = ordered.build().unwrap().on(&two).after(&[first]).submit(PATIENCE).unwrap();
    let concurrent = concurrent.concurrent().build().unwrap().on(&two).submit(PATIENCE).unwrap();
    sim.processor().resume_queue(id_one).unwrap();
    ordered.wait_timeout(PATIENCE).unwrap();
    concurrent.wait_timeout(PATIENCE).unwrap();
    let fences = |id| {
        let mut log = sim.processor().dispatch_log();
        log.retain(|record| record.queue == id);
        log.sort_by_key(|record| record.index);
        log.iter().map(|record| record.fences).collect::<Vec<_>>()
    };
    assert_eq!(fences(id_one), [(SYSTEM, SYSTEM)], "one kernel: from the host, to the host");
    let expected = [
        // A barrier has nothing to read or to release: the kernel behind it acquires.
        (NONE, NONE),
        // From the host, then among kernels, then to the host.
        (SYSTEM, AGENT),
        (AGENT, AGENT),
        (AGENT, SYSTEM),
        // The host has written nothing since. Any of a concurrent group may be the last.
        (AGENT, SYSTEM),
        (AGENT, SYSTEM),
        (AGENT, SYSTEM),
    ];
    assert_eq!(fences(id_two), expected);
}

#[test]
fn a_long_chain_between_queues_is_submitted_and_its_loss_noticed_without_delay() {
    const STEPS: usize = 1000;
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let stuck = Queue::builder(&gpu.agent).label("stuck").drain_timeout(Duration::ZERO).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let queues =
        ["one", "two"].map(|label| Queue::builder(&gpu.agent).label(label).size(1024).create().unwrap());
    let begin = Instant::now();
    let first = stuck.barrier_and(&[], PATIENCE).unwrap();
    let mut tokens = vec![first];
    for step in 0..STEPS {
        let last = std::slice::from_ref(&tokens[step]);
        tokens.push(queues[step % 2].barrier_and(last, PATIENCE).unwrap());
    }
    // Looking at all that is pending for each submission took minutes.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(!tokens[STEPS].is_done().unwrap());
    drop(stuck);
    let begin = Instant::now();
    for token in tokens.iter().step_by(100) {
        let error = token.wait_timeout(PATIENCE).unwrap_err().to_string();
        assert!(error.contains("stuck was destroyed"), "{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn arguments_and_code_stay_until_the_kernel_has_run() {
    const EMPTY: u32 = u32::MAX;
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = Queue::builder(&gpu.agent).label("small").kernarg_bytes(4096).create().unwrap();
    let id = newest_queue(&sim);
    let vector = gpu.module("vector");
    let fill = vector.kernel("fill_u32").unwrap();
    let out = gpu.agent.upload(&[EMPTY; 1024]).unwrap();
    sim.processor().stall_queue(id).unwrap();
    let mut tokens = Vec::new();
    let refused = loop {
        let value = tokens.len() as u32;
        let place = out.at(tokens.len()).unwrap();
        match queue.try_dispatch(fill.dispatch([64, 1, 1], [64, 1, 1]).arg(place).arg(value).arg(1u32)) {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock { what: "kernarg space", .. }), "{refused}");
    drop((fill, vector));
    sim.processor().resume_queue(id).unwrap();
    for token in &tokens {
        token.wait_timeout(PATIENCE).unwrap();
    }
    let values = out.to_vec().unwrap();
    let (written, rest) = values.split_at(tokens.len());
    assert!(written.iter().zip(0..).all(|(&value, expected)| value == expected), "{written:?}");
    assert!(rest.iter().all(|&value| value == EMPTY));
}

#[test]
fn a_queue_with_no_slot_left_refuses_and_does_not_hang() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let (queue, id) = (gpu.queue(), newest_queue(&sim));
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    sim.processor().stall_queue(id).unwrap();
    // Nothing tells when it is complete, so somebody who looks would like to add a packet that does.
    let silent = group.on(&queue).visibility(Visibility::Queue).try_submit().unwrap();
    let mut tokens = Vec::new();
    let refused = loop {
        match group.on(&queue).try_submit() {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock { .. }), "{refused}");
    assert_eq!((tokens.len() as u32 + 1, queue.unfinished()), (queue.size(), queue.size()));
    sim.processor().resume_queue(id).unwrap();
    tokens.iter().for_each(|token| token.wait_timeout(PATIENCE).unwrap());
    queue.drain(PATIENCE).unwrap();
    assert!(matches!(silent.result(), Some(Ok(()))));
    let counts = queue.packet_counts();
    assert_eq!(counts.kernels, u64::from(queue.size()));
    assert!(counts.barriers <= 2, "one marker is enough: {counts:?}");
}
