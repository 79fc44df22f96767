//! Each fence and barrier that the library writes, by what kernels and the host then see. The simulated GPU's memory is strict:
//! without any one of them a test here reads old words.

use eclip_hsa::{Buffer, Dispatch, Kernel, KernelGroup, Queue, Token, Visibility};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};

const N: usize = 1000;

/// A queue, and the simulator's number of it.
struct Held {
    queue: Queue,
    id: Option<u32>,
}

/// Work for queues that stand still while it is submitted, so that nothing is complete in time by luck.
struct Bench {
    gpu: Gpu,
    copy: Kernel,
}

impl Bench {
    fn new() -> Self {
        let gpu = gpu();
        let copy = gpu.module("vector").kernel("copy_u32").unwrap();
        Bench { gpu, copy }
    }

    fn queue(&self) -> Held {
        let queue = self.gpu.queue();
        let id = self.gpu.sim().map(|sim| newest_queue(&sim));
        Held { queue, id }
    }

    fn words(&self, value: u32) -> Buffer<u32> {
        self.gpu.agent.upload(&vec![value; N]).unwrap()
    }

    fn dispatch(&self, from: &Buffer<u32>, to: &Buffer<u32>) -> Dispatch {
        let grid = [(N as u32).next_multiple_of(64), 1, 1];
        self.copy.dispatch(grid, [64, 1, 1]).arg(from).arg(to).arg(N as u32)
    }

    fn copies(&self, from: &Buffer<u32>, to: &Buffer<u32>) -> KernelGroup {
        KernelGroup::of(self.dispatch(from, to)).unwrap()
    }

    fn hold(&self, held: &Held, still: bool) {
        let (Some(sim), Some(id)) = (self.gpu.sim(), held.id) else { return };
        let processor = sim.processor();
        if still { processor.stall_queue(id) } else { processor.resume_queue(id) }.unwrap();
    }
}

fn is(buffer: &Buffer<u32>, value: u32) {
    assert_eq!(buffer.to_vec().unwrap(), vec![value; N]);
}

#[test]
fn kernels_of_a_group_see_each_others_work() {
    let bench = Bench::new();
    let held = bench.queue();
    let [a, b, c, d] = [7, 1, 2, 3].map(|value| bench.words(value));
    let mut group = KernelGroup::builder(&bench.gpu.agent);
    for (from, to) in [(&a, &b), (&b, &c), (&c, &d)] {
        group.dispatch(bench.dispatch(from, to)).unwrap();
    }
    let group = group.build().unwrap();
    group.on(&held.queue).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    is(&d, 7);
}

/// A chain of copies over queues, each step after the one before with the visibility given; the last one is for the host.
fn chain(queues: usize, visibility: Visibility) {
    let bench = Bench::new();
    let queues: Vec<Held> = (0..queues).map(|_| bench.queue()).collect();
    let words: Vec<_> = [7, 1, 2, 3, 4].into_iter().map(|value| bench.words(value)).collect();
    let steps: Vec<_> = words.windows(2).map(|pair| bench.copies(&pair[0], &pair[1])).collect();
    queues.iter().for_each(|held| bench.hold(held, true));
    let mut last: Option<Token> = None;
    for (step, group) in steps.iter().enumerate() {
        let queue = &queues[step % queues.len()].queue;
        let visibility = if step + 1 == steps.len() { Visibility::System } else { visibility };
        let submission = group.on(queue).after(last.as_slice()).visibility(visibility);
        last = Some(submission.submit(PATIENCE).unwrap());
    }
    // The last queue first: whoever does not wait has the best chance to be early.
    queues.iter().rev().for_each(|held| bench.hold(held, false));
    last.unwrap().wait_timeout(PATIENCE).unwrap();
    is(&words[4], 7);
}

#[test]
fn work_on_one_queue_sees_the_work_that_it_was_submitted_after() {
    for visibility in [Visibility::Queue, Visibility::Agent, Visibility::System] {
        chain(1, visibility);
    }
}

#[test]
fn work_on_another_queue_sees_the_work_that_it_was_submitted_after() {
    for visibility in [Visibility::Agent, Visibility::System] {
        chain(2, visibility);
        chain(3, visibility);
    }
}

#[test]
fn the_host_sees_what_system_visible_work_wrote_in_both_kinds_of_memory() {
    let bench = Bench::new();
    let held = bench.queue();
    let (from, device) = (bench.words(7), bench.words(1));
    let host = bench.gpu.agent.alloc_host::<u32>(N).unwrap();
    for to in [&device, &host] {
        bench.copies(&from, to).on(&held.queue).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
        is(to, 7);
    }
}

#[test]
fn kernels_see_what_the_host_wrote_over_what_they_have_read() {
    let bench = Bench::new();
    let held = bench.queue();
    let (device, to) = (bench.words(0), bench.words(0));
    let host = bench.gpu.agent.alloc_host::<u32>(N).unwrap();
    for from in [&device, &host] {
        let group = bench.copies(from, &to);
        for value in 1..4 {
            from.write(&[value; N]).unwrap();
            // The second submission keeps what it reads in the caches: its acquire reaches less far.
            for _ in 0..2 {
                group.on(&held.queue).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
            }
            is(&to, value);
        }
    }
}
