//! Barriers that must not be left out, each in the smallest graph that shows it: work that has not ended yet beside work that has.

use eclip_hsa::{KernelGroup, Queue, Token};
use eclip_tests::{Gpu, PATIENCE, gpu};

/// A kernel that runs for a while, and one that does not.
fn long_and_short(gpu: &Gpu) -> [KernelGroup; 2] {
    let misc = gpu.module("misc");
    // Nobody sets the flag.
    let flag = gpu.agent.alloc::<u32>(1).unwrap();
    let spin = misc.kernel("spin").unwrap().dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(150_000u32);
    let empty = misc.kernel("empty").unwrap().dispatch([64, 1, 1], [64, 1, 1]);
    [spin, empty].map(|dispatch| KernelGroup::of(dispatch).unwrap())
}

fn submit(group: &KernelGroup, queue: &Queue, after: &[&Token]) -> Token {
    let after: Vec<Token> = after.iter().copied().cloned().collect();
    group.on(queue).after(&after).submit(PATIENCE).unwrap()
}

/// Waits for `token`, by whose end each of `earlier` must have ended. False if they all had ended before: that shows nothing.
fn ends_after(token: &Token, earlier: &[&Token]) -> bool {
    let shows = !earlier.iter().all(|earlier| earlier.is_done().unwrap());
    token.wait_timeout(PATIENCE).unwrap();
    for (number, earlier) in earlier.iter().enumerate() {
        assert!(earlier.is_done().unwrap(), "did not wait for number {number}");
    }
    shows
}

/// Repeats a scenario until it shows something: this thread may have been held up.
fn shown(mut scenario: impl FnMut() -> bool) {
    assert!((0..10).any(|_| scenario()), "the long kernels always end too soon to show anything");
}

#[test]
fn the_end_of_later_work_says_nothing_of_earlier_work_beside_it() {
    let gpu = gpu();
    let [one, other] = [gpu.queue(), gpu.queue()];
    let [long, short] = long_and_short(&gpu);
    shown(|| {
        let running = submit(&long, &one, &[]);
        let beside = submit(&short, &one, &[]);
        // Waited for on the GPU, so that the queue remembers it.
        let knows = submit(&short, &other, &[&beside]);
        let waits = submit(&short, &other, &[&running]);
        knows.wait_timeout(PATIENCE).unwrap();
        ends_after(&waits, &[&running])
    });
}

#[test]
fn a_barrier_bit_says_nothing_of_work_behind_it() {
    let gpu = gpu();
    let [one, other] = [gpu.queue(), gpu.queue()];
    let [long, short] = long_and_short(&gpu);
    shown(|| {
        let first = submit(&long, &one, &[]);
        // A barrier bit in front of two that run side by side.
        let running = submit(&long, &one, &[&first]);
        let beside = submit(&short, &one, &[]);
        let knows = submit(&short, &other, &[&beside]);
        let waits = submit(&short, &other, &[&running]);
        knows.wait_timeout(PATIENCE).unwrap();
        ends_after(&waits, &[&running, &first])
    });
}

#[test]
fn a_barrier_bit_says_nothing_of_its_own_packet() {
    let gpu = gpu();
    let one = gpu.queue();
    let [long, short] = long_and_short(&gpu);
    shown(|| {
        let first = submit(&short, &one, &[]);
        let running = submit(&long, &one, &[&first]);
        let behind = submit(&short, &one, &[&running]);
        ends_after(&behind, &[&running])
    });
}

#[test]
fn a_barrier_bit_is_there_for_work_of_the_own_queue() {
    let gpu = gpu();
    let one = gpu.queue();
    let [long, short] = long_and_short(&gpu);
    shown(|| {
        let running = submit(&long, &one, &[]);
        let beside = submit(&short, &one, &[]);
        let behind = submit(&short, &one, &[&running]);
        ends_after(&behind, &[&running, &beside])
    });
}

#[test]
fn every_one_of_many_is_waited_for() {
    let gpu = gpu();
    let queues: Vec<Queue> = (0..9).map(|_| gpu.queue()).collect();
    let [long, short] = long_and_short(&gpu);
    for slow in 0..8 {
        shown(|| {
            let group = |queue: usize| if queue == slow { &long } else { &short };
            // Held up together, so that none is complete when the last is submitted.
            let gate = submit(&long, &queues[8], &[]);
            let all: Vec<Token> =
                (0..8).map(|queue| submit(group(queue), &queues[queue], &[&gate])).collect();
            let all: Vec<&Token> = all.iter().collect();
            let waits = submit(&short, &queues[8], &all);
            ends_after(&waits, &all)
        });
    }
}

#[test]
fn what_follows_from_other_work_is_waited_for_once() {
    let gpu = gpu();
    let [one, other, third] = [gpu.queue(), gpu.queue(), gpu.queue()];
    let [long, short] = long_and_short(&gpu);
    shown(|| {
        let running = submit(&long, &one, &[]);
        let between = submit(&short, &other, &[&running]);
        let before = third.packet_counts();
        let last = submit(&short, &third, &[&between]);
        let again = submit(&short, &third, &[&running, &between]);
        let counts = third.packet_counts() - before;
        let shows = ends_after(&again, &[&running, &between]);
        last.wait_timeout(PATIENCE).unwrap();
        assert!(!shows || (counts.barriers, counts.elided()) == (1, 2), "{counts:?}");
        shows
    });
}
