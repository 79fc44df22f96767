//! Who may wait for what, and what becomes of work that nobody can wait for.

use eclip_hsa::{Error, KernelGroup, Patch, Queue, Token, Visibility};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};

const N: u32 = 256;

fn fill(gpu: &Gpu, out: &eclip_hsa::Buffer<u32>, value: u32) -> KernelGroup {
    let kernel = gpu.module("vector").kernel("fill_u32").unwrap();
    KernelGroup::of(kernel.dispatch([N, 1, 1], [64, 1, 1]).arg(out).arg(value).arg(N)).unwrap()
}

#[test]
fn tokens_are_waited_for_only_where_they_are_visible() {
    let gpu = gpu();
    let [one, two] = [gpu.queue(), gpu.queue()];
    let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let group = fill(&gpu, &out, 1);
    let submit = |visibility| group.on(&one).visibility(visibility).submit(PATIENCE).unwrap();
    let [queue, agent] = [Visibility::Queue, Visibility::Agent].map(submit);
    for token in [&queue, &agent] {
        assert!(matches!(token.wait(), Err(Error::NotVisible { .. })));
        assert!(matches!(token.is_done(), Err(Error::NotVisible { .. })));
    }
    let error = two.barrier_and(std::slice::from_ref(&queue), PATIENCE).unwrap_err().to_string();
    assert!(error.contains("Visibility::Queue") && error.contains("test cannot wait"), "{error}");
    two.barrier_and(std::slice::from_ref(&agent), PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    one.barrier_and(&[queue, agent], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

#[test]
fn queue_visible_work_is_complete_after_later_work_and_comes_back_by_itself() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).size(64).create().unwrap();
    let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let group = fill(&gpu, &out, 1);
    let mut last: Option<Token> = None;
    for value in 0..1000u32 {
        let patches = [Patch::new(0, 1, value)];
        let submission = group.on(&queue).patch(&patches).visibility(Visibility::Queue);
        last = Some(submission.after(last.as_slice()).submit(PATIENCE).unwrap());
    }
    let end = queue.barrier_and(last.as_slice(), PATIENCE).unwrap();
    end.wait_timeout(PATIENCE).unwrap();
    assert!(matches!(last.unwrap().result(), Some(Ok(()))));
    assert_eq!(out.to_vec().unwrap(), [999; N as usize]);
}

#[test]
fn the_host_gets_a_buffer_of_silent_work_without_anybody_waiting() {
    let gpu = gpu();
    let queue = gpu.queue();
    for visibility in [Visibility::Queue, Visibility::Agent] {
        let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
        fill(&gpu, &out, 7).on(&queue).visibility(visibility).submit(PATIENCE).unwrap();
        let begin = std::time::Instant::now();
        let values = loop {
            match out.to_vec() {
                Err(Error::BufferBusy { .. }) if begin.elapsed() < PATIENCE => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        assert_eq!(values, [7; N as usize], "{visibility:?}");
    }
    queue.drain(PATIENCE).unwrap();
}

#[test]
fn a_group_in_flight_keeps_its_buffers_from_the_host_and_a_mapping_keeps_them_from_groups() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = gpu.queue();
    let id = newest_queue(&sim);
    let out = gpu.agent.alloc_host::<u32>(N as usize).unwrap();
    let group = fill(&gpu, &out, 3);
    {
        let _mapped = out.map().unwrap();
        assert!(matches!(group.on(&queue).try_submit(), Err(Error::BufferBusy { .. })));
    }
    sim.processor().stall_queue(id).unwrap();
    let token = group.on(&queue).submit(PATIENCE).unwrap();
    assert!(matches!(out.map(), Err(Error::BufferBusy { .. })));
    assert!(matches!(out.write(&[0]), Err(Error::BufferBusy { .. })));
    drop(group);
    assert!(matches!(out.map_mut(), Err(Error::BufferBusy { .. })), "the work owns its group");
    sim.processor().resume_queue(id).unwrap();
    token.wait_timeout(PATIENCE).unwrap();
    assert_eq!(*out.map().unwrap(), [3; N as usize]);
}

#[test]
fn patched_buffers_belong_to_the_submission() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = gpu.queue();
    let id = newest_queue(&sim);
    let [first, second] = [0, 1].map(|_| gpu.agent.alloc::<u32>(N as usize).unwrap());
    let group = fill(&gpu, &first, 3);
    sim.processor().stall_queue(id).unwrap();
    let patches = [Patch::new(0, 0, &second), Patch::new(0, 1, 9u32)];
    let token = group.on(&queue).patch(&patches).submit(PATIENCE).unwrap();
    assert!(matches!(second.write(&[0]), Err(Error::BufferBusy { .. })));
    let wrong =
        [Patch::new(1, 0, 1u32), Patch::new(0, 0, 1u32), Patch::new(0, 2, &second), Patch::new(0, 5, 1u32)];
    for patch in wrong {
        assert!(group.on(&queue).patch(&[patch]).try_submit().is_err());
    }
    sim.processor().resume_queue(id).unwrap();
    token.wait_timeout(PATIENCE).unwrap();
    assert_eq!(second.to_vec().unwrap(), [9; N as usize]);
    assert_eq!(first.to_vec().unwrap(), [0; N as usize]);
}

#[test]
fn the_end_of_silent_work_is_told_although_nobody_holds_what_proves_it() {
    let gpu = gpu();
    let queue = gpu.queue();
    let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let silent = fill(&gpu, &out, 1).on(&queue).visibility(Visibility::Queue).submit(PATIENCE).unwrap();
    drop(queue.barrier_and(std::slice::from_ref(&silent), PATIENCE).unwrap());
    let begin = std::time::Instant::now();
    while silent.result().is_none() {
        assert!(begin.elapsed() < PATIENCE, "later work of the queue with a signal is complete");
        std::thread::yield_now();
    }
    silent.result().unwrap().unwrap();
}

#[test]
fn the_host_reads_what_work_wrote_while_its_queue_goes_away() {
    let gpu = gpu();
    for value in 0..200u32 {
        let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
        let queue = gpu.queue();
        let token =
            fill(&gpu, &out, value).on(&queue).visibility(Visibility::Agent).submit(PATIENCE).unwrap();
        while token.result().is_none() {
            std::thread::yield_now();
        }
        // Just going away, or gone.
        let gone = std::thread::spawn(move || drop(queue));
        let gone = if value % 2 == 0 { gone.join().map(|()| None).unwrap() } else { Some(gone) };
        assert_eq!(out.to_vec().unwrap(), [value; N as usize]);
        // The process must not end meanwhile.
        if let Some(gone) = gone {
            gone.join().unwrap();
        }
    }
}

#[test]
fn the_host_reads_what_work_wrote_although_every_queue_is_dead_or_held_up() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    for held_up in [false, true] {
        let out = gpu.agent.alloc::<u32>(N as usize).unwrap();
        let queue = Queue::builder(&gpu.agent).drain_timeout(std::time::Duration::ZERO).create().unwrap();
        let token = fill(&gpu, &out, 7).on(&queue).visibility(Visibility::Agent).submit(PATIENCE).unwrap();
        while token.result().is_none() {
            std::thread::yield_now();
        }
        if held_up {
            sim.processor().stall_queue(newest_queue(&sim)).unwrap();
        } else {
            queue.report_error(1);
        }
        assert_eq!(out.to_vec().unwrap(), [7; N as usize], "held up: {held_up}");
    }
}
