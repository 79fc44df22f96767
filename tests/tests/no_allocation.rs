//! After warm-up, submitting, waiting and completing allocate nothing on the calling thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use eclip_hsa::{Buffer, KernelGroup, Patch, Pool, Queue, Recording, Token, Visibility};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};
use kfd_sim::control::Device;

/// Counts what a thread asks for while it is told to.
struct Counting;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn note(bytes: usize) {
    // A thread that is ending has no locals any more, and is not watched.
    if !WATCHED.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    WATCHED.set(false);
    COUNT.set(COUNT.get() + 1);
    FIRST.with_borrow_mut(|first| {
        first.get_or_insert_with(|| format!("{bytes} bytes\n{}", Backtrace::force_capture()));
    });
    WATCHED.set(true);
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(old, layout, bytes) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocated on this thread.
fn watched(work: &mut dyn FnMut()) -> u64 {
    COUNT.set(0);
    WATCHED.set(true);
    work();
    WATCHED.set(false);
    COUNT.get()
}

const N: u32 = 64;

struct Setup {
    gpu: Gpu,
    sim: Arc<Device>,
    /// What is submitted to, and others that it waits for.
    target: Queue,
    others: Vec<(Queue, u32)>,
    group: KernelGroup,
    single: KernelGroup,
    /// Made before: a patch holds a buffer, and bigger values are on the heap.
    patches: [Patch; 2],
    _buffers: [Buffer<f32>; 4],
}

fn setup() -> Option<Setup> {
    let gpu = gpu();
    let sim = gpu.sim()?;
    let add = gpu.module("vector").kernel("vector_add").unwrap();
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let [a, b, c, d] = [0; 4].map(|_| gpu.agent.upload(&[1f32; N as usize]).unwrap());
    let dispatch = || add.dispatch([N, 1, 1], [64, 1, 1]).arg(&a).arg(&b).arg(&c).arg(N);
    let mut builder = KernelGroup::builder(&gpu.agent);
    builder.dispatch(dispatch()).unwrap().dispatch(dispatch()).unwrap();
    let target = gpu.queue();
    let others = (0..5).map(|_| (gpu.queue(), newest_queue(&sim))).collect();
    Some(Setup {
        target,
        others,
        group: builder.build().unwrap(),
        single: KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap(),
        patches: [Patch::new(1, 2, &d), Patch::new(0, 3, N / 2)],
        _buffers: [a, b, c, d],
        sim,
        gpu,
    })
}

/// Everything once: each number of dependencies, each visibility, with and without patches.
fn round(setup: &Setup, tokens: &mut Vec<Token>, sources: &mut Vec<Token>) -> u64 {
    let mut count = 0;
    let mut step = |work: &mut dyn FnMut()| count += watched(work);
    for visibility in [Visibility::Queue, Visibility::Agent, Visibility::System] {
        for dependencies in [0, 1, 5, 6, 25] {
            for patches in [&[][..], &setup.patches[..1], &setup.patches] {
                // Held up, so that nothing of it is complete. Without barrier bits between them none proves another.
                setup.others.iter().for_each(|(_, id)| setup.sim.processor().stall_queue(*id).unwrap());
                step(&mut || {
                    for number in 0..25 {
                        let queue = &setup.others[number % 5].0;
                        let source = setup.single.on(queue).visibility(Visibility::Agent);
                        sources.push(source.try_submit().unwrap());
                    }
                    let first = setup.group.on(&setup.target).visibility(visibility).patch(patches);
                    tokens.push(first.after(&sources[..dependencies]).try_submit().unwrap());
                    // On its own queue, after that: a barrier bit.
                    let second = setup.single.on(&setup.target).after(&tokens[tokens.len() - 1..]);
                    tokens.push(second.try_submit().unwrap());
                });
                setup.others.iter().for_each(|(_, id)| setup.sim.processor().resume_queue(*id).unwrap());
                // Waiting in the driver is the simulator's code on this thread; looking is not.
                while sources.iter().chain(tokens.last()).any(|token| token.result().is_none()) {
                    std::thread::yield_now();
                }
                step(&mut || {
                    let last = &tokens[tokens.len() - 1];
                    last.wait_timeout(PATIENCE).unwrap();
                    last.wait().unwrap();
                    let copy = last.clone();
                    assert!(copy.is_done().unwrap() && matches!(copy.result(), Some(Ok(()))));
                    drop(copy);
                    assert!(sources.iter().all(|source| matches!(source.result(), Some(Ok(())))));
                    sources.clear();
                    tokens.clear();
                    // Completes everything that nobody has asked for.
                    assert_eq!(setup.target.unfinished(), 0);
                    assert!(setup.others.iter().all(|(queue, _)| queue.unfinished() == 0));
                });
            }
        }
    }
    count
}

#[test]
fn submissions_allocate_nothing_after_warm_up() {
    let Some(setup) = setup() else { return };
    let (mut tokens, mut sources) = (Vec::with_capacity(64), Vec::with_capacity(64));
    assert!(watched(&mut || drop(std::hint::black_box(Box::new(1u64)))) > 0, "the counter counts");
    // Which slot a submission gets depends on what is complete by then.
    setup.target.warm_up(setup.target.size()).unwrap();
    for _ in 0..2 {
        round(&setup, &mut tokens, &mut sources);
    }
    FIRST.with_borrow_mut(|first| *first = None);
    for number in 2..8 {
        let count = round(&setup, &mut tokens, &mut sources);
        let first = FIRST.with_borrow_mut(Option::take).unwrap_or_default();
        assert_eq!(count, 0, "allocations in round {number}, the first of {first}");
    }
    assert!(setup.gpu.agent.is_gpu());
}

#[test]
fn a_queue_can_be_warmed_up_before_its_first_submission() {
    let Some(setup) = setup() else { return };
    const MANY: u32 = 30;
    for queue in setup.others.iter().map(|(queue, _)| queue).chain([&setup.target]) {
        queue.warm_up(MANY).unwrap();
    }
    let mut tokens = Vec::with_capacity(2 * MANY as usize);
    setup.others.iter().for_each(|(_, id)| setup.sim.processor().stall_queue(*id).unwrap());
    FIRST.with_borrow_mut(|first| *first = None);
    let count = watched(&mut || {
        for (queue, _) in &setup.others {
            tokens.push(setup.single.on(queue).visibility(Visibility::Agent).try_submit().unwrap());
        }
        for number in 0..MANY {
            let visibility = [Visibility::Queue, Visibility::Agent, Visibility::System][number as usize % 3];
            let work = setup.group.on(&setup.target).visibility(visibility).patch(&setup.patches);
            tokens.push(work.after(&tokens[..5]).try_submit().unwrap());
        }
    });
    setup.others.iter().for_each(|(_, id)| setup.sim.processor().resume_queue(*id).unwrap());
    let first = FIRST.with_borrow_mut(Option::take).unwrap_or_default();
    assert_eq!(count, 0, "the first of {first}");
    setup.target.drain(PATIENCE).unwrap();
}

#[test]
fn replays_allocate_nothing_once_as_many_were_in_flight() {
    let Some(setup) = setup() else { return };
    let pool = Pool::builder(&setup.gpu.agent).unmasked("a").unmasked("b").unmasked("c").build().unwrap();
    // Which slots of a queue a replay gets, and for what, is a matter of timing: all are ready for everything.
    pool.queues().iter().for_each(|queue| queue.warm_up(queue.size()).unwrap());
    let mut recorder = Recording::builder(&setup.gpu.agent);
    let first = recorder.add(&setup.group, 0, &[]).unwrap();
    let beside = recorder.add(&setup.single, 1, &[]).unwrap();
    let after = recorder.add(&setup.group, 2, &[first, beside]).unwrap();
    recorder.add(&setup.single, 0, &[after]).unwrap();
    let recording = recorder.build().unwrap();
    const AT_ONCE: usize = 3;
    let mut tokens: Vec<Token> = Vec::with_capacity(AT_ONCE);
    // So many rounds that every place of the rings' bookkeeping has been used.
    let (mut first, mut last) = (0, 0);
    for round in 0..1200 {
        FIRST.with_borrow_mut(|first| *first = None);
        last = watched(&mut || {
            for _ in 0..AT_ONCE {
                let before = tokens.len().saturating_sub(1);
                let replay = recording.on(pool.queues()).after(&tokens[before..]).patch(&setup.patches);
                let token = replay.try_submit().unwrap();
                tokens.push(token);
            }
        });
        while tokens.iter().any(|token| token.result().is_none()) {
            std::thread::yield_now();
        }
        last += watched(&mut || tokens.clear());
        first += u64::from(round == 0) * last;
        if round >= 1100 {
            let place = FIRST.with_borrow_mut(Option::take).unwrap_or_default();
            assert_eq!(last, 0, "allocations in round {round}, the first of {place}");
        }
    }
    assert!(
        first > 0 && last == 0,
        "the counter counts: replays make what they need when it is needed first"
    );
}
