//! Recordings: whole requests over several queues, replayed with new arguments.

use eclip_hsa::{Error, KernelGroup, Patch, Queue, Recording};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};

const N: u32 = 1024;

fn queues(gpu: &Gpu, count: usize) -> Vec<Queue> {
    (0..count)
        .map(|n| Queue::builder(&gpu.agent).label(format!("queue {n}")).size(256).create().unwrap())
        .collect()
}

/// Fills x on queue 0, copies it to y on queue 1, y to z on queue 0; increments z on queue 2 and queue 0 at once.
struct Request {
    recording: Recording,
    z: eclip_hsa::Buffer<u32>,
}

fn request(gpu: &Gpu) -> Request {
    let module = gpu.module("vector");
    let [fill, copy] = ["fill_u32", "copy_u32"].map(|name| module.kernel(name).unwrap());
    let [x, y, z] = [0, 1, 2].map(|_| gpu.agent.alloc::<u32>(N as usize).unwrap());
    let (grid, group) = ([N, 1, 1], [256, 1, 1]);
    let of = |dispatch| KernelGroup::of(dispatch).unwrap();
    let mut recorder = Recording::builder(&gpu.agent);
    let a = recorder.add(&of(fill.dispatch(grid, group).arg(&x).arg(1u32).arg(N)), 0, &[]).unwrap();
    let b = recorder.add(&of(copy.dispatch(grid, group).arg(&x).arg(&y).arg(N)), 1, &[a]).unwrap();
    let c = recorder.add(&of(copy.dispatch(grid, group).arg(&y).arg(&x).arg(N)), 0, &[a, b]).unwrap();
    recorder.add(&of(copy.dispatch(grid, group).arg(&x).arg(&z).arg(N)), 2, &[a, b, c]).unwrap();
    Request { recording: recorder.build().unwrap(), z }
}

#[test]
fn a_request_hops_between_queues_and_is_replayed_with_new_arguments() {
    let gpu = gpu();
    let queues = queues(&gpu, 3);
    let Request { recording, z } = request(&gpu);
    // Four kernels, three hops, an end on each queue.
    assert_eq!((recording.len(), recording.packets(), recording.segments()), (4, 4 + 3 + 3, 4));
    for round in [7u32, 8, 9] {
        let patches = [Patch::new(0, 1, round)];
        recording.on(&queues).patch(&patches).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
        assert_eq!(z.to_vec().unwrap(), [round; N as usize]);
    }
    // What was patched is as recorded again.
    recording.on(&queues).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    assert_eq!(z.to_vec().unwrap(), [1; N as usize]);
}

#[test]
fn replays_overlap_and_forgotten_tokens_cost_nothing() {
    let gpu = gpu();
    let queues = queues(&gpu, 3);
    let Request { recording, z } = request(&gpu);
    let mut last = None;
    for round in 0..200u32 {
        let patches = [Patch::new(0, 1, round)];
        // One after the other, or the rounds would write the same buffers at once.
        let replay = recording.on(&queues).patch(&patches);
        last = Some(replay.after(last.as_slice()).submit(PATIENCE).unwrap());
    }
    last.unwrap().wait_timeout(PATIENCE).unwrap();
    assert_eq!(z.to_vec().unwrap(), [199; N as usize]);
    drop(recording);
    queues.iter().for_each(|queue| queue.drain(PATIENCE).unwrap());
}

#[test]
fn a_request_that_does_not_fit_leaves_nothing_behind() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let first = Queue::builder(&gpu.agent).size(64).create().unwrap();
    let second = Queue::builder(&gpu.agent).size(64).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let queues = [first, second];
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let mut recorder = Recording::builder(&gpu.agent);
    let a = recorder.add(&group, 0, &[]).unwrap();
    let mut last = a;
    for _ in 0..20 {
        last = recorder.add(&group, 1, &[last]).unwrap();
    }
    let recording = recorder.build().unwrap();
    let mut tokens = Vec::new();
    let refused = loop {
        match recording.on(&queues).try_submit() {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock { .. }), "{refused}");
    assert_eq!(tokens.len(), 2, "each takes 22 of the 64 slots of the queue that stands still");
    // The room that was set aside came back.
    for _ in 0..64 - 2 * 22 {
        group.on(&queues[1]).try_submit().unwrap();
    }
    assert!(group.on(&queues[1]).try_submit().is_err());
    sim.processor().resume_queue(newest_queue(&sim)).unwrap();
    tokens.iter().for_each(|token| token.wait_timeout(PATIENCE).unwrap());
    // Kernels are what was not counted as a barrier: neither what was refused nor what was set aside is among them.
    let kernels = || queues.each_ref().map(|queue| queue.packet_counts().kernels);
    assert_eq!(kernels(), [2, 2 * 20 + 20]);
    queues.iter().for_each(|queue| queue.drain(PATIENCE).unwrap());
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let before = group.on(&queues[1]).try_submit().unwrap();
    let after = recording.on(&queues).after(&[before]).try_submit().unwrap();
    sim.processor().resume_queue(newest_queue(&sim)).unwrap();
    after.wait_timeout(PATIENCE).unwrap();
    assert_eq!(
        kernels(),
        [3, 60 + 1 + 20],
        "what it waits for takes a barrier more, and the rest of that room came back"
    );
}

#[test]
fn nonsense_is_refused() {
    let gpu = gpu();
    let queues = queues(&gpu, 2);
    let Request { recording, .. } = request(&gpu);
    let error = recording.on(&queues).try_submit().unwrap_err().to_string();
    assert!(error.contains("uses queue 2, but 2 were given"), "{error}");
    assert!(Recording::builder(&gpu.agent).build().is_err());
    for patch in
        [Patch::new(4, 0, 1u32), Patch::new(0, 3, 1u32), Patch::new(0, 1, 1u8), Patch::new(0, 0, 1u64)]
    {
        let more = self::queues(&gpu, 3);
        assert!(recording.on(&more).patch(&[patch]).try_submit().is_err());
        assert!(more.iter().all(|queue| queue.packet_counts() == Default::default()));
    }
}

#[test]
fn losing_one_queue_ends_the_request() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let mut queues = queues(&gpu, 2);
    let stuck = Queue::builder(&gpu.agent).label("stuck").drain_timeout(Default::default()).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    queues.insert(1, stuck);
    let Request { recording, .. } = request(&gpu);
    let token = recording.on(&queues).submit(PATIENCE).unwrap();
    assert!(!token.is_done().unwrap());
    drop(queues.remove(1));
    let error = token.wait().unwrap_err().to_string();
    assert!(error.contains("stuck was destroyed"), "{error}");
}

#[test]
fn the_host_sees_what_a_share_wrote_that_is_over_before_the_request() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let copy = gpu.module("vector").kernel("copy_u32").unwrap();
    let words = |value| gpu.agent.upload(&vec![value; N as usize]).unwrap();
    let [from, recorded, patched, other] = [7u32, 1, 1, 1].map(words);
    let copies =
        |from, to| KernelGroup::of(copy.dispatch([N, 1, 1], [256, 1, 1]).arg(from).arg(to).arg(N)).unwrap();
    let mut recorder = Recording::builder(&gpu.agent);
    let early = recorder.add(&copies(&from, &recorded), 0, &[]).unwrap();
    recorder.add(&copies(&from, &other), 1, &[early]).unwrap();
    let recording = recorder.build().unwrap();
    let queues = queues(&gpu, 2);
    let late = newest_queue(&sim);
    let patches = [Patch::new(0, 1, &patched)];
    for (patches, to) in [(&patches[..0], &recorded), (&patches[..], &patched)] {
        sim.processor().stall_queue(late).unwrap();
        let token = recording.on(&queues).patch(patches).submit(PATIENCE).unwrap();
        let begin = std::time::Instant::now();
        let words = loop {
            match to.to_vec() {
                Err(Error::BufferBusy { .. }) if begin.elapsed() < PATIENCE => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        assert!(!token.is_done().unwrap());
        sim.processor().resume_queue(late).unwrap();
        assert!(words.iter().all(|&word| word == 7), "the host read {} where 7 was written", words[0]);
        token.wait_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_step_of_another_recorder_is_refused() {
    let gpu = gpu();
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let [mut one, mut two] = [0, 1].map(|_| Recording::builder(&gpu.agent));
    let of_one = one.add(&group, 0, &[]).unwrap();
    two.add(&group, 0, &[]).unwrap();
    let error = two.add(&group, 1, &[of_one]).unwrap_err().to_string();
    assert!(error.contains("belongs to another one"), "{error}");
    one.clone().add(&group, 1, &[of_one]).unwrap();
}

#[test]
fn a_request_that_waits_and_does_not_fit_leaves_no_barrier_behind() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queues = [0, 1].map(|_| Queue::builder(&gpu.agent).size(64).create().unwrap());
    let slow = gpu.queue();
    let id = newest_queue(&sim);
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    // With its end a share fills the ring, or leaves one slot for the barrier in front of it.
    for (kernels, fits) in [(63, false), (62, true)] {
        let mut recorder = Recording::builder(&gpu.agent);
        recorder.add(&group, 0, &[]).unwrap();
        for _ in 0..kernels {
            recorder.add(&group, 1, &[]).unwrap();
        }
        let recording = recorder.build().unwrap();
        sim.processor().stall_queue(id).unwrap();
        let after = [slow.barrier_and(&[], PATIENCE).unwrap()];
        let before = queues[0].packet_counts();
        let submitted = recording.on(&queues).after(&after).submit(std::time::Duration::from_millis(50));
        if fits {
            submitted.unwrap();
        } else {
            assert!(matches!(submitted, Err(Error::WouldBlock { .. })), "{submitted:?}");
            assert_eq!(queues[0].packet_counts(), before, "nothing was submitted");
        }
        sim.processor().resume_queue(id).unwrap();
        recording.on(&queues).after(&after).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_request_waits_only_for_what_its_queues_can_see() {
    let gpu = gpu();
    let queues = queues(&gpu, 3);
    let Request { recording, .. } = request(&gpu);
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let silent = |queue| group.on(queue).visibility(eclip_hsa::Visibility::Queue).submit(PATIENCE).unwrap();
    let other = [silent(&queues[1])];
    queues[1].barrier_and(&other, PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    // Complete or not, the answer is the same.
    assert!(matches!(recording.on(&queues).after(&other).try_submit(), Err(Error::NotVisible { .. })));
    let own = [silent(&queues[0])];
    recording.on(&queues).after(&own).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

#[test]
fn the_buffers_of_a_request_are_the_hosts_as_soon_as_its_token_is_done() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let gpu = gpu();
    let queues = queues(&gpu, 3);
    let vector = gpu.module("vector");
    let fill = vector.kernel("fill_u32").unwrap();
    let buffers: Vec<_> = (0..3).map(|_| gpu.agent.alloc_host::<u32>(N as usize).unwrap()).collect();
    let mut recorder = Recording::builder(&gpu.agent);
    let mut last = None;
    for (queue, out) in buffers.iter().enumerate() {
        let group = KernelGroup::of(fill.dispatch([N, 1, 1], [256, 1, 1]).arg(out).arg(3u32).arg(N)).unwrap();
        last = Some(recorder.add(&group, queue, last.as_slice()).unwrap());
    }
    let recording = recorder.build().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Other threads complete shares of the request, too, and may be interrupted while they do.
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    queues.iter().for_each(|queue| _ = queue.unfinished());
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..800 {
                recording.on(&queues).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
                buffers.iter().for_each(|buffer| assert_eq!(buffer.map().unwrap()[0], 3));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}
