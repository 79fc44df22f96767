//! Four threads submit a random graph of groups to eight queues, and every order violation, lost or doubled dispatch shows in
//! the data (`eclip_tests::graph`).
//!
//! `ECLIP_STRESS_SEED` takes another graph, `ECLIP_STRESS_GROUPS` changes its size.

use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eclip_hsa::{Buffer, Error, KernelGroup, PacketCounts, Patch, Queue, Token, Visibility};
use eclip_tests::graph::{Graph, Group, Model, Reach, Report, ReportBy, Shape, Step};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};
use fastrand::Rng;
use kfd_sim::control::MemoryModel;

const WORKGROUP: u32 = 64;
/// Small rings wrap round and fill up.
const RINGS: [u32; 4] = [64, 128, 256, 512];

/// A graph on a device: its data, and a kernel group for each form of group.
struct Bench<'a> {
    graph: &'a Graph,
    lanes: u32,
    queues: Vec<Queue>,
    cells: Buffer<u32>,
    reports: Buffer<Report>,
    /// Of 1 to 4 kernels, in order and side by side.
    ordered: Vec<KernelGroup>,
    concurrent: Vec<KernelGroup>,
}

impl<'a> Bench<'a> {
    fn new(gpu: &Gpu, graph: &'a Graph, queues: usize, lanes: u32) -> Self {
        let agent = &gpu.agent;
        let kernel = gpu.module("stress").kernel("stress_step").unwrap();
        let cells = agent.alloc::<u32>(graph.finals.len() * lanes as usize).unwrap();
        let steps: Buffer<Step> = agent.upload(&graph.steps).unwrap();
        // Twice as many as needed: if an index and an address that belong to different submissions meet, they are in here.
        let groups = (lanes / WORKGROUP) as usize;
        let reports = agent.alloc::<Report>(2 * groups * graph.steps.len()).unwrap();
        let build = |kernels: usize, concurrent: bool| {
            let mut builder = KernelGroup::builder(agent);
            for _ in 0..kernels {
                let dispatch = kernel.dispatch([lanes, 1, 1], [WORKGROUP, 1, 1]);
                let dispatch = dispatch.arg(&cells).arg(lanes).arg(graph.finals.len() as u32);
                let dispatch = dispatch.arg(&steps).arg(graph.steps.len() as u32).arg(&reports);
                // What every submission replaces (the index and the key), and what some do.
                builder.dispatch(dispatch.arg(0u32).arg(u32::MAX).arg(0u32).arg(0u32)).unwrap();
            }
            if concurrent {
                builder.concurrent();
            }
            builder.build().unwrap()
        };
        Self {
            graph,
            lanes,
            queues: (0..queues)
                .map(|n| {
                    let size = RINGS[n % RINGS.len()];
                    Queue::builder(agent).label(format!("queue {n}")).size(size).create().unwrap()
                })
                .collect(),
            ordered: (1..=4).map(|kernels| build(kernels, false)).collect(),
            concurrent: (1..=4).map(|kernels| build(kernels, true)).collect(),
            cells,
            reports,
        }
    }

    fn workgroups(&self) -> usize {
        (self.lanes / WORKGROUP) as usize
    }

    /// Submits a group after these tokens, without waiting if there is room.
    fn submit(&self, group: &Group, after: &[Token]) -> Token {
        const REPORTS: usize = 5;
        let mut patches = Vec::with_capacity(4 * group.kernels);
        for (kernel, index) in group.steps().enumerate() {
            let step = &self.graph.steps[index];
            match group.report_by {
                ReportBy::Index => patches.push(Patch::new(kernel, REPORTS + 1, index as u32)),
                ReportBy::Address => {
                    let report = self.reports.at(index * self.workgroups()).unwrap();
                    patches.push(Patch::new(kernel, REPORTS, report));
                }
            }
            patches.push(Patch::new(kernel, REPORTS + 2, index as u32));
            patches.push(Patch::new(kernel, REPORTS + 3, step.key));
            if step.extra != 0 {
                patches.push(Patch::new(kernel, REPORTS + 4, step.extra));
            }
        }
        let groups = if group.concurrent { &self.concurrent } else { &self.ordered };
        let visibility = match group.reach {
            Reach::Queue => Visibility::Queue,
            Reach::Agent => Visibility::Agent,
            Reach::System => Visibility::System,
        };
        let submission = groups[group.kernels - 1]
            .on(&self.queues[group.queue])
            .after(after)
            .patch(&patches)
            .visibility(visibility);
        match submission.try_submit() {
            Err(Error::WouldBlock { .. }) => submission.submit(PATIENCE).unwrap(),
            other => other.unwrap(),
        }
    }

    /// Waits for everything, then compares.
    fn finish(&self) -> Result<(), String> {
        for queue in &self.queues {
            queue.drain(PATIENCE).unwrap_or_else(|error| panic!("{}: {error}", queue.label()));
            assert_eq!(queue.unfinished(), 0, "{}", queue.label());
        }
        let (cells, reports) = (self.cells.to_vec().unwrap(), self.reports.to_vec().unwrap());
        self.graph.check(&cells, self.lanes as usize, &reports, self.workgroups())
    }
}

/// Tokens on their way from the thread that submitted the work to those whose work comes after it.
struct Exchange {
    /// How often each will be asked for, and the token once it exists. Dropped when nobody needs it any more.
    slots: Vec<Mutex<(usize, Option<Token>)>>,
    /// A thread has failed: nobody should wait for its tokens.
    stop: AtomicBool,
}

impl Exchange {
    fn new(graph: &Graph) -> Self {
        let slots = graph.groups.iter().map(|group| Mutex::new((group.dependants, None)));
        Self { slots: slots.collect(), stop: AtomicBool::new(false) }
    }

    fn put(&self, number: usize, token: Token) {
        let mut slot = self.slots[number].lock().unwrap();
        if slot.0 > 0 {
            slot.1 = Some(token);
        }
    }

    fn try_take(&self, number: usize) -> Option<Token> {
        let mut slot = self.slots[number].lock().unwrap();
        slot.1.as_ref()?;
        slot.0 -= 1;
        if slot.0 == 0 { slot.1.take() } else { slot.1.clone() }
    }

    fn take(&self, number: usize) -> Token {
        let begin = Instant::now();
        for tries in 0.. {
            if let Some(token) = self.try_take(number) {
                return token;
            }
            // Relaxed: it only ends the wait.
            assert!(!self.stop.load(Ordering::Relaxed), "another thread has failed");
            assert!(begin.elapsed() < PATIENCE, "nobody submitted group {number}");
            match tries {
                0..20 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(30)),
            }
        }
        unreachable!("the loop ends only with a token")
    }
}

/// Tells the other threads that this one has ended, however it has.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        // Relaxed: it only ends loops.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Holds up some of the newest queues now and then, so that work piles up and waits: the simulated GPU would else be faster than
/// the threads that submit. Does nothing on hardware.
fn hold_up(gpu: &Gpu, queues: u32, seed: u64, over: &AtomicBool) {
    let Some(sim) = gpu.sim() else { return };
    let first = newest_queue(&sim) + 1 - queues;
    let mut rng = Rng::with_seed(seed);
    // Relaxed: see `SetOnDrop`.
    while !over.load(Ordering::Relaxed) {
        let stalled: Vec<u32> = (first..first + queues).filter(|_| rng.bool()).collect();
        stalled.iter().for_each(|&id| sim.processor().stall_queue(id).unwrap());
        std::thread::sleep(Duration::from_micros(rng.u64(200..2_000)));
        stalled.iter().for_each(|&id| sim.processor().resume_queue(id).unwrap());
        std::thread::sleep(Duration::from_micros(rng.u64(..1_000)));
    }
}

/// One of the threads: submits its groups in order.
fn produce(bench: &Bench<'_>, exchange: &Exchange, thread: usize) {
    let stop = SetOnDrop(&exchange.stop);
    let mut after = Vec::new();
    for (number, group) in bench.graph.groups.iter().enumerate().filter(|(_, g)| g.thread == thread) {
        after.extend(group.after.iter().map(|&other| exchange.take(other)));
        let token = bench.submit(group, &after);
        after.clear();
        if group.host_waits {
            token.wait_timeout(PATIENCE).unwrap();
            assert!(token.is_done().unwrap());
        }
        exchange.put(number, token);
    }
    // Only a thread that fails stops the others.
    std::mem::forget(stop);
}

/// A number from the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

fn storm(gpu: &Gpu, seed: u64, shape: &Shape, lanes: u32) {
    let seed = setting("ECLIP_STRESS_SEED", seed);
    let shape = Shape { groups: setting("ECLIP_STRESS_GROUPS", shape.groups), ..*shape };
    let graph = Graph::random(seed, &shape);
    let bench = Bench::new(gpu, &graph, shape.queues, lanes);
    let exchange = Exchange::new(&graph);
    let begin = Instant::now();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| hold_up(gpu, shape.queues as u32, seed, &over));
        // Also if a thread fails.
        let _over = SetOnDrop(&over);
        std::thread::scope(|scope| {
            for thread in 0..shape.threads {
                let (bench, exchange) = (&bench, &exchange);
                scope.spawn(move || produce(bench, exchange, thread));
            }
        });
    });
    let submitted = begin.elapsed();
    bench.finish().unwrap_or_else(|what| panic!("seed {seed}, {shape:?}: {what}"));
    let counts: Vec<_> = bench.queues.iter().map(Queue::packet_counts).collect();
    let sum = |of: fn(&PacketCounts) -> u64| counts.iter().map(of).sum::<u64>();
    let (kernels, barriers) = (sum(|c| c.kernels), sum(|c| c.barriers));
    assert_eq!(kernels, graph.steps.len() as u64);
    let said: usize = graph.groups.iter().map(|group| group.after.len()).sum();
    println!(
        "seed {seed}: {} groups, {kernels} kernels, {said} dependencies ({} not complete), {barriers} barrier packets, {} barrier bits; \
         submitted in {submitted:?}, done in {:?}",
        graph.groups.len(),
        said as u64 - sum(|c| c.elided_complete),
        sum(|c| c.barrier_bits),
        begin.elapsed()
    );
    assert!(exchange.slots.iter().all(|slot| slot.lock().unwrap().1.is_none()));
}

const SHAPE: Shape =
    Shape { groups: 100_000, threads: 4, queues: 8, cells: 256, one_long_in: 400, long_spin: 8000 };

#[test]
fn a_hundred_thousand_groups_from_four_threads_to_eight_queues() {
    let gpu = gpu();
    if let Some(sim) = gpu.sim() {
        // Order is what this is about; fences are the next test's, for they cost the simulator more than all else.
        sim.processor().set_memory_model(MemoryModel::Coherent).unwrap();
    }
    storm(&gpu, 0x5eed, &SHAPE, 64);
}

#[test]
fn every_group_reads_what_it_should_with_strict_memory() {
    storm(&gpu(), 3, &Shape { groups: 15_000, ..SHAPE }, 64);
}

#[test]
fn four_threads_to_one_queue() {
    storm(&gpu(), 1, &Shape { groups: 5_000, queues: 1, cells: 64, ..SHAPE }, 64);
}

#[test]
fn one_thread_to_eight_queues_with_three_workgroups_a_kernel() {
    storm(&gpu(), 2, &Shape { groups: 5_000, threads: 1, ..SHAPE }, 192);
}

/// Runs these groups one after the other, whatever they come after.
fn serially(gpu: &Gpu, graph: &Graph, numbers: &[usize]) -> Result<(), String> {
    let bench = Bench::new(gpu, graph, 2, 128);
    for &number in numbers {
        let group = Group { reach: Reach::System, ..graph.groups[number].clone() };
        bench.submit(&group, &[]).wait_timeout(PATIENCE).unwrap();
    }
    bench.finish()
}

#[test]
fn what_goes_wrong_on_the_device_shows_in_the_data() {
    let gpu = gpu();
    let graph =
        Graph::random(9, &Shape { groups: 60, threads: 1, queues: 2, cells: 64, one_long_in: 0, ..SHAPE });
    let fine: Vec<usize> = (0..graph.groups.len()).collect();
    serially(&gpu, &graph, &fine).unwrap();
    let mut twice = fine.clone();
    twice.insert(30, 30);
    let error = serially(&gpu, &graph, &twice).unwrap_err();
    assert!(error.contains("ran 2 times"), "{error}");
    let mut never = fine.clone();
    never.remove(30);
    let error = serially(&gpu, &graph, &never).unwrap_err();
    assert!(error.contains("never ran"), "{error}");
    // A group right before the newest one that it comes after.
    let early = (30..60).find(|&number| !graph.groups[number].after.is_empty()).unwrap();
    let before = *graph.groups[early].after.last().unwrap();
    let mut swapped = fine.clone();
    swapped.remove(early);
    swapped.insert(before, early);
    let error = serially(&gpu, &graph, &swapped).unwrap_err();
    assert!(error.contains("at version"), "{error}");
    // Without any order at all, the host waits for nothing: whatever happens, everything runs once.
    let bench = Bench::new(&gpu, &graph, 2, 64);
    for &number in &fine {
        bench.submit(&graph.groups[number], &[]);
    }
    if let Err(error) = bench.finish() {
        assert!(!error.contains("never ran") && !error.contains(" times"), "{error}");
    }
}

#[test]
fn a_dependency_between_queues_left_out_shows() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let shape = Shape { groups: 2, threads: 1, queues: 2, cells: 64, one_long_in: 0, ..SHAPE };
    let crossing = |graph: &Graph| {
        let mut model = Model::new(graph);
        graph.groups[1].steps().chain(graph.groups[0].steps()).for_each(|step| model.run(graph, step));
        graph.groups[1].after == [0]
            && graph.groups[0].queue != graph.groups[1].queue
            && graph.check(&model.cells, 1, &model.reports, 1).is_err()
    };
    let graph = (0..).map(|seed| Graph::random(seed, &shape)).find(crossing).expect("some seed has one");
    for honoured in [true, false] {
        let bench = Bench::new(&gpu, &graph, 2, 64);
        // The newest queue is the second one; the first group's cannot begin for a while.
        let stalled = newest_queue(&sim) - 1 + graph.groups[0].queue as u32;
        sim.processor().stall_queue(stalled).unwrap();
        let first = bench.submit(&graph.groups[0], &[]);
        let after = if honoured { vec![first] } else { vec![] };
        let second = bench.submit(&Group { reach: Reach::System, ..graph.groups[1].clone() }, &after);
        let waits = second.wait_timeout(if honoured { Duration::from_millis(50) } else { PATIENCE });
        assert_eq!(waits.is_err(), honoured);
        sim.processor().resume_queue(stalled).unwrap();
        let result = bench.finish();
        assert_eq!(result.is_ok(), honoured, "{result:?}");
    }
}
