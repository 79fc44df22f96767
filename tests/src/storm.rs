//! Four threads that submit across queues until told to stop, and what became of everything that they submitted.
//!
//! For tests of faults: when something breaks in the middle, every token must end, whatever waits for lost work must say so, and
//! whatever does not must not notice. Queues come in families; work comes after work of its own family only.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eclip_hsa::{Buffer, Error, KernelGroup, Queue, Token, Visibility};
use fastrand::Rng;

use crate::Gpu;

/// Within this time of a fault every token that it concerns has ended. The library looks every 10 ms; the rest is for a busy machine.
pub const BOUND: Duration = Duration::from_secs(2);
/// How long a submission waits for room.
const ROOM: Duration = Duration::from_secs(10);
/// Threads that submit.
const THREADS: u64 = 4;
const LANES: u32 = 64;

/// One submission that was accepted.
pub struct Record {
    /// Its queue.
    pub queue: usize,
    /// Its token.
    pub token: Token,
    /// Numbers of the records that it comes after.
    pub after: Vec<usize>,
}

/// A refused submission: the queue, and why.
pub type Refusal = (usize, Error);

/// Queues, and what was submitted to them.
pub struct Storm {
    families: Vec<Vec<usize>>,
    counters: Vec<Buffer<u32>>,
    groups: Vec<KernelGroup>,
    records: Mutex<Vec<Record>>,
    refusals: Mutex<Vec<Refusal>>,
    stop: AtomicBool,
    accepted: AtomicUsize,
}

impl Storm {
    /// For queues numbered as in `families`. Each queue counts its kernels in a buffer of its own.
    pub fn new(gpu: &Gpu, families: &[&[usize]]) -> Self {
        let queues = families.iter().map(|family| family.len()).sum();
        let increment = gpu.module("vector").kernel("increment").unwrap();
        let counters: Vec<Buffer<u32>> =
            (0..queues).map(|_| gpu.agent.alloc_host(LANES as usize).unwrap()).collect();
        let group = |counter: &Buffer<u32>| {
            let work = increment.dispatch([LANES, 1, 1], [LANES, 1, 1]).arg(counter).arg(LANES);
            KernelGroup::of(work).unwrap()
        };
        Self {
            families: families.iter().map(|family| family.to_vec()).collect(),
            groups: counters.iter().map(group).collect(),
            counters,
            records: Mutex::default(),
            refusals: Mutex::default(),
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
        }
    }

    /// Runs the threads while `meanwhile` runs, and a little longer; a queue that is dead when its turn comes is left alone.
    pub fn rage<R>(&self, queues: &[Queue], meanwhile: impl FnOnce(&Self) -> R) -> R {
        // Relaxed, here and below: it only ends loops.
        self.stop.store(false, Ordering::Relaxed);
        let result = std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || self.submit_until_stopped(queues, thread));
            }
            let stop = Stop(&self.stop);
            self.await_submissions(300);
            let result = meanwhile(self);
            self.await_submissions(300);
            drop(stop);
            result
        });
        settle(queues);
        result
    }

    /// As [`Storm::rage`], for something after which nothing is accepted any more.
    pub fn rage_to_the_end<R>(&self, queues: &[Queue], meanwhile: impl FnOnce() -> R) -> R {
        self.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || self.submit_until_stopped(queues, thread));
            }
            let _stop = Stop(&self.stop);
            self.await_submissions(300);
            let result = meanwhile();
            let begin = Instant::now();
            while self.refused() == 0 {
                assert!(begin.elapsed() < BOUND, "submissions are still accepted");
                std::thread::sleep(Duration::from_millis(1));
            }
            result
        })
    }

    /// Submissions that were refused.
    pub fn refused(&self) -> usize {
        self.refusals.lock().unwrap().len()
    }

    /// Waits until so many more submissions were accepted.
    pub fn await_submissions(&self, more: usize) {
        let begin = Instant::now();
        let target = self.accepted.load(Ordering::Relaxed) + more;
        while self.accepted.load(Ordering::Relaxed) < target {
            assert!(begin.elapsed() < ROOM, "the threads have stopped submitting");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn submit_until_stopped(&self, queues: &[Queue], thread: u64) {
        let mut rng = Rng::with_seed(thread);
        while !self.stop.load(Ordering::Relaxed) {
            let family = &self.families[rng.usize(..self.families.len())];
            let queue = family[rng.usize(..family.len())];
            // Among the newest ones: most of them are unfinished.
            let after: Vec<(usize, Token)> = {
                let records = self.records.lock().unwrap();
                let newest = records.len().saturating_sub(60)..records.len();
                let wanted = rng.usize(..4);
                let mine = newest.rev().filter(|&number| {
                    let Record { queue: other, token, .. } = &records[number];
                    family.contains(other) && (*other == queue || token.visibility() != Visibility::Queue)
                });
                mine.filter(|_| rng.bool()).take(wanted).map(|n| (n, records[n].token.clone())).collect()
            };
            let (after, tokens): (Vec<usize>, Vec<Token>) = after.into_iter().unzip();
            let visibility = [Visibility::Queue, Visibility::Agent, Visibility::System][rng.usize(..3)];
            let submission = self.groups[queue].on(&queues[queue]).after(&tokens).visibility(visibility);
            match submission.submit(ROOM) {
                Ok(token) => {
                    self.records.lock().unwrap().push(Record { queue, token, after });
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert!(matches!(error, Error::Failed(_)), "on {}: {error}", queues[queue].label());
                    self.refusals.lock().unwrap().push((queue, error));
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }
    }

    /// Adds a submission that was made beside the threads, so that their work comes after it.
    pub fn add(&self, queue: usize, token: &Token) {
        self.records.lock().unwrap().push(Record { queue, token: token.clone(), after: Vec::new() });
    }

    /// Waits for everything, for at most [`BOUND`] in all, and checks that each end is the right one. Returns how many ended well and
    /// how many were lost, by queue. `broken` are the queues that failed by themselves; the words are in every error.
    pub fn reckon(&self, broken: &[usize], words: &str) -> Vec<(usize, usize)> {
        let records = self.records.lock().unwrap();
        let begin = Instant::now();
        let mut lost: Vec<Option<String>> = Vec::new();
        for (number, record) in records.iter().enumerate() {
            let end = loop {
                match record.token.result() {
                    Some(end) => break end,
                    None => assert!(
                        begin.elapsed() < BOUND,
                        "submission {number} on queue {} does not end",
                        record.queue
                    ),
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            lost.push(match end {
                Ok(()) => None,
                Err(error @ Error::Failed(_)) => Some(error.to_string()),
                Err(error) => panic!("submission {number} on queue {}: {error}", record.queue),
            });
        }
        // What stands behind a barrier that waits for lost work is lost with its queue.
        let blocked: HashSet<usize> = records
            .iter()
            .filter(|record| record.after.iter().any(|&other| lost[other].is_some()))
            .map(|record| record.queue)
            .collect();
        let mut ends = vec![(0, 0); self.groups.len()];
        for (number, record) in records.iter().enumerate() {
            match &lost[number] {
                None => {
                    ends[record.queue].0 += 1;
                    let dead = record.after.iter().find(|&&other| lost[other].is_some());
                    assert_eq!(dead, None, "submission {number} ended well, but came after lost work");
                }
                Some(error) => {
                    ends[record.queue].1 += 1;
                    assert!(error.contains(words), "submission {number} on queue {}: {error}", record.queue);
                    let reason = broken.contains(&record.queue) || blocked.contains(&record.queue);
                    assert!(
                        reason,
                        "submission {number} on queue {} was lost for nothing: {error}",
                        record.queue
                    );
                }
            }
        }
        for (queue, error) in self.refusals.lock().unwrap().iter() {
            assert!(error.to_string().contains(words), "queue {queue}: {error}");
            // Its queue is dead, or what it was to come after is lost: that can only be of its family.
            let family =
                self.families.iter().find(|family| family.contains(queue)).expect("every queue has one");
            assert!(family.iter().any(|other| broken.contains(other)), "queue {queue}: {error}");
        }
        ends
    }

    /// How often the kernel of a queue has run, by the data.
    pub fn counted(&self, queue: usize) -> u32 {
        let counters = self.counters[queue].map().unwrap();
        assert!(
            counters.iter().all(|&count| count == counters[0]),
            "a part of a kernel ran: {:?}",
            &*counters
        );
        counters[0]
    }
}

/// Lets the queues that can go on finish: of work without a signal of its own the end is known then.
fn settle(queues: &[Queue]) {
    for queue in queues {
        match queue.drain(BOUND) {
            Ok(()) | Err(Error::Failed(_)) => {}
            Err(error) => panic!("{}: {error}", queue.label()),
        }
    }
}

/// Ends the threads, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
