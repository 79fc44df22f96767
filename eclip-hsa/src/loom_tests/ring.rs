//! The ring, its publication, what its producers tell each other, kernarg space, free slots, and whose turn it is.
//!
//! Ring memory is loom's `UnsafeCell`, so a body that is read
//! without being ordered after its writing fails the model, whatever its value.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::{Nudge, model};
use crate::clock::SharedClock;
use crate::depend::{Clock, Known};
use crate::failures::{Failures, Unharmed};
use crate::flights::{Cargo, Completion, Flights, Place};
use crate::free_list::FreeList;
use crate::kernarg_ring::{KernargRing, UNIT};
use crate::packet::{Barrier, Header, PACKET_DWORDS, Packet, PacketKind};
use crate::prefix::Prefix;
use crate::ring::{Port, Refused, Ring};
use crate::turn::{InFlight, Turn, WRITER};

const INVALID: u32 = PacketKind::Invalid as u32;

/// A device whose processor may look at any slot below the write index at any time.
struct Device {
    first: Vec<AtomicU32>,
    body: Vec<UnsafeCell<[u32; PACKET_DWORDS]>>,
    read: AtomicU64,
    write: AtomicU64,
    /// One more than the highest index that the doorbell was rung for.
    rung: AtomicU64,
}

// SAFETY: the bodies are loom's cells, which report every access that is not ordered.
unsafe impl Sync for Device {}
// SAFETY: as for Sync.
unsafe impl Send for Device {}

impl Device {
    fn new(size: usize) -> Self {
        Self {
            first: (0..size).map(|_| AtomicU32::new(INVALID)).collect(),
            body: (0..size).map(|_| UnsafeCell::new([0; PACKET_DWORDS])).collect(),
            read: AtomicU64::new(0),
            write: AtomicU64::new(0),
            rung: AtomicU64::new(0),
        }
    }

    /// The value in the packet at `index`, which must be published.
    fn value(&self, index: u64) -> u32 {
        let slot = index as usize % self.first.len();
        // Relaxed on purpose: the write index alone must have ordered everything below it.
        let first = self.first[slot].load(Ordering::Relaxed);
        assert_eq!(first & 0xff, PacketKind::BarrierAnd as u32, "slot {index} is published and not valid");
        // SAFETY: the packet is published, so its producer is done with it.
        self.body[slot].with(|body| unsafe { (*body)[14] })
    }

    /// Looks at everything that is published and not consumed; returns how many packets that are.
    fn look(&self) -> u64 {
        let read = self.read.load(Ordering::Relaxed);
        let write = self.write.load(Ordering::Acquire);
        for index in read..write {
            self.value(index);
        }
        write.saturating_sub(read)
    }

    /// Takes the oldest packet, if there is one.
    fn consume(&self) -> Option<u32> {
        let read = self.read.load(Ordering::Relaxed);
        if self.write.load(Ordering::Acquire) <= read {
            return None;
        }
        let value = self.value(read);
        self.first[read as usize % self.first.len()].store(INVALID, Ordering::Relaxed);
        self.read.store(read + 1, Ordering::Release);
        Some(value)
    }
}

impl Port for Device {
    fn size(&self) -> u32 {
        self.first.len() as u32
    }

    fn read_index(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        let first = self.first[slot as usize].load(Ordering::Relaxed);
        assert_eq!(first & 0xff, INVALID, "a slot that is still in use was handed out");
        // SAFETY: the slot belongs to the caller; loom checks that.
        self.body[slot as usize].with_mut(|body| unsafe { *body = *dwords });
    }

    fn write_first(&self, slot: u32, dword: u32) {
        self.first[slot as usize].store(dword, Ordering::Release);
    }

    fn write_index(&self) -> u64 {
        self.write.load(Ordering::Acquire)
    }

    fn move_write_index(&self, from: u64, to: u64) -> Result<(), u64> {
        self.write.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }

    fn ring_doorbell(&self, last: u64) {
        self.rung.fetch_max(last + 1, Ordering::Relaxed);
    }
}

fn packet(value: u32) -> Packet {
    let fields = Barrier { completion_signal: u64::from(value), ..Default::default() };
    Packet::barrier(Header::new(PacketKind::BarrierAnd), &fields)
}

/// Fills slots that were reserved.
fn fill(ring: &Ring<Device>, start: u64, values: &[u32]) {
    write(ring, start, values);
    ring.publish(start, values.len() as u64);
}

/// As `fill`, not yet published.
fn write(ring: &Ring<Device>, start: u64, values: &[u32]) {
    let slots = ring.slots(start);
    values.iter().enumerate().for_each(|(offset, &value)| slots.body(offset, &packet(value)));
    values.iter().enumerate().for_each(|(offset, &value)| slots.first(offset, packet(value).dwords()[0]));
}

fn push(ring: &Ring<Device>, values: &[u32]) -> Result<u64, Refused> {
    let packets: Vec<Packet> = values.iter().map(|&value| packet(value)).collect();
    ring.try_push(&packets)
}

/// After all producers have ended: everything is published and was rung for.
fn check_all_published(ring: &Ring<Device>, count: u64) {
    assert_eq!(ring.published(), count);
    assert_eq!(ring.port().write.load(Ordering::Relaxed), count);
    assert_eq!(
        ring.port().rung.load(Ordering::Relaxed),
        count,
        "the last packet was published without a doorbell"
    );
}

#[test]
fn two_producers_and_a_device_that_looks_at_any_time() {
    model(None, || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let producers = [&[1u32][..], &[2, 3]].map(|values| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, values).unwrap())
        });
        ring.port().look();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(ring.port().look(), 3);
        check_all_published(&ring, 3);
    });
}

#[test]
fn three_producers() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let producers = [1u32, 2].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, &[value]).unwrap())
        });
        push(&ring, &[3]).unwrap();
        ring.port().look();
        for producer in producers {
            producer.join().unwrap();
        }
        check_all_published(&ring, 3);
    });
}

#[test]
fn a_full_ring_wraps_around_while_the_device_consumes() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(2), 0));
        push(&ring, &[1, 2]).unwrap();
        let producers = [3u32, 4].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, &[value]).is_ok())
        });
        let mut seen: Vec<u32> = (0..2).filter_map(|_| ring.port().consume()).collect();
        let accepted =
            producers.into_iter().map(|producer| producer.join().unwrap()).filter(|&ok| ok).count();
        while let Some(value) = ring.port().consume() {
            seen.push(value);
        }
        assert_eq!(&seen[..2], [1, 2]);
        assert_eq!(seen.len(), 2 + accepted, "what was accepted arrives, once; what was refused does not");
        check_all_published(&ring, seen.len() as u64);
    });
}

#[test]
fn a_producer_that_stops_half_way_holds_up_nobody() {
    model(None, || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let stopped = ring.reserve(1).unwrap();
        let other = ring.clone();
        let producer = thread::spawn(move || push(&other, &[2]).unwrap());
        assert_eq!(ring.port().look(), 0, "the device is never sent past a slot that is still being written");
        assert_eq!(producer.join().unwrap(), 1, "the other producer did not wait");
        assert_eq!((ring.port().look(), ring.published()), (0, 0));
        // It goes on: both are published, with one doorbell.
        fill(&ring, stopped, &[1]);
        assert_eq!(ring.port().look(), 2);
        check_all_published(&ring, 2);
    });
}

#[test]
fn finished_ranges_are_never_left_behind() {
    model(None, || {
        let prefix = Arc::new(Prefix::new(4, 0));
        let threads = [(0, 1), (1, 3)].map(|(start, end)| {
            let prefix = prefix.clone();
            thread::spawn(move || prefix.finish(start, end))
        });
        let mut moved: Vec<(u64, u64)> =
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(prefix.reached(), 3);
        moved.sort_unstable();
        // Each stretch is told to one thread: nothing is published twice, or by nobody.
        assert!(moved == [(0, 3)] || moved == [(0, 1), (1, 3)], "{moved:?}");
    });
}

#[test]
fn three_ranges_finish_in_any_order_over_the_end_of_the_space() {
    model(Some(3), || {
        // One lap was finished before, so old marks are there to be mistaken for new ones.
        let prefix = Arc::new(Prefix::new(4, 0));
        (0..4).for_each(|at| assert_eq!(prefix.finish(at, at + 1), Some((at, at + 1))));
        let threads = [(4, 5), (6, 8)].map(|(start, end)| {
            let prefix = prefix.clone();
            thread::spawn(move || prefix.finish(start, end))
        });
        let mut moved: Vec<(u64, u64)> = prefix.finish(5, 6).into_iter().collect();
        moved.extend(threads.into_iter().filter_map(|thread| thread.join().unwrap()));
        moved.sort_unstable();
        assert_eq!(prefix.reached(), 8);
        // Told without a gap; what one thread has moved over another may be told as well.
        let told = moved.iter().fold(4, |told, &(from, to)| if from <= told { told.max(to) } else { told });
        assert_eq!(told, 8, "{moved:?}");
    });
}

#[test]
fn promised_slots_are_there_when_they_are_taken() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(2), 0));
        push(&ring, &[1]).unwrap();
        ring.promise(1).unwrap();
        // Makes room and uses it: what is promised may now be a slot that this thread alone saw come free.
        let other = ring.clone();
        let other = thread::spawn(move || {
            let taken = other.port().consume();
            (taken, push(&other, &[2]))
        });
        let start = ring.reserve_promised(1);
        fill(&ring, start, &[3]);
        let (taken, pushed) = other.join().unwrap();
        assert_eq!((taken, pushed.is_ok()), (Some(1), true), "there was room for one more");
        let mut seen: Vec<u32> = std::iter::from_fn(|| ring.port().consume()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [2, 3]);
        check_all_published(&ring, 3);
        assert_eq!(push(&ring, &[4, 5]), Ok(3), "nothing is promised any more");
    });
}

#[test]
fn promised_slots_are_not_given_to_others() {
    model(None, || {
        let ring = Arc::new(Ring::new(Device::new(2), 0));
        let other = ring.clone();
        let other = thread::spawn(move || push(&other, &[1]));
        let promised = ring.promise(2);
        if promised.is_ok() {
            let start = ring.reserve_promised(2);
            fill(&ring, start, &[2, 3]);
        }
        let pushed = other.join().unwrap();
        assert_ne!(promised.is_ok(), pushed.is_ok(), "there is room for one of the two");
        let count = if pushed.is_ok() { 1 } else { 2 };
        check_all_published(&ring, count);
        assert_eq!(ring.promise(3 - count), Err(Refused::Full));
        assert_eq!(ring.promise(2 - count), Ok(()), "nothing else is promised");
    });
}

#[test]
fn what_a_queue_knows_is_about_packets_behind_it() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let known = Arc::new(SharedClock::default());
        let nudge = Nudge::new();
        let producers = [7u64, 9].map(|awaited| {
            let (ring, known, nudge) = (ring.clone(), known.clone(), nudge.clone());
            thread::spawn(move || {
                // As a submission does it: what is known is read first, what becomes true is written down last.
                let start = ring.reserve(1).unwrap();
                fill(&ring, start, &[awaited as u32]);
                let mut learnt = Clock::default();
                learnt.raise(0, Known { below: awaited, next: 0 });
                known.learn(&learnt);
                known.raise_barrier(start + 1);
                nudge.touch();
                (start, awaited)
            })
        });
        nudge.touch();
        let (barrier, clock) = (known.barrier(), known.now());
        let start = ring.reserve(1).unwrap();
        let before = producers.map(|producer| producer.join().unwrap());
        assert!(barrier <= start, "a barrier bit that was seen is in front of what is reserved afterwards");
        let below = clock.lanes().map(|(_, known)| known.below).max().unwrap_or(0);
        let waited = before.iter().filter(|(at, _)| *at < start).map(|(_, awaited)| *awaited);
        assert!(below <= waited.max().unwrap_or(0), "known: {below}, but nothing in front waits for it");
    });
}

#[test]
fn free_slots_go_to_one_thread_each() {
    model(Some(3), || {
        let list = Arc::new(FreeList::new(3));
        let owned: Arc<[UnsafeCell<u32>; 3]> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
        [1, 0].iter().for_each(|&index| list.push(index));
        let use_it = |owned: &[UnsafeCell<u32>; 3], index: u32| {
            // SAFETY: a number that was taken is its taker's alone; loom checks that.
            owned[index as usize].with_mut(|place| unsafe { *place += 1 });
        };
        let (theirs, place) = (list.clone(), owned.clone());
        let other = thread::spawn(move || {
            // The top goes and comes back, with another number below it.
            let first = theirs.pop();
            let second = theirs.pop();
            first.into_iter().chain(second).for_each(|index| use_it(&place, index));
            if let Some(first) = first {
                theirs.push(first);
            }
            second
        });
        let mine = list.pop();
        mine.into_iter().for_each(|index| use_it(&owned, index));
        let kept = other.join().unwrap();
        let mut all: Vec<u32> = std::iter::from_fn(|| list.pop()).chain(mine).chain(kept).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1], "each number is somewhere, once");
    });
}

#[test]
fn the_host_and_work_never_have_a_block_at_once() {
    model(None, || {
        let turn = Arc::new(Turn::default());
        let block = Arc::new(UnsafeCell::new(0));
        // Loom has no weak handles; it watches what is inside.
        let group = std::sync::Arc::new(InFlight::default());
        turn.add_group(&group);
        let (theirs, cell) = (turn.clone(), block.clone());
        let host = thread::spawn(move || {
            let took = theirs.take(WRITER).is_ok();
            if took {
                // SAFETY: the host alone has the block; loom checks that.
                cell.with_mut(|place| unsafe { *place += 1 });
                theirs.give_back();
            }
            took
        });
        group.enter();
        let free = turn.check_free().is_ok();
        if free {
            // SAFETY: work in flight alone has the block; loom checks that.
            block.with_mut(|place| unsafe { *place += 1 });
        }
        group.leave();
        host.join().unwrap();
        assert_eq!((turn.take(WRITER), turn.enter().is_err()), (Ok(()), true), "both have let go");
    });
}

#[test]
fn a_failure_that_overtakes_a_submission_is_found() {
    model(None, || {
        let (failures, unharmed) = (Arc::new(Failures::default()), Arc::new(Unharmed::default()));
        let (lost, pending) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (theirs, work) = (failures.clone(), lost.clone());
        let other_queue = thread::spawn(move || {
            work.store(1, Ordering::Release);
            theirs.note();
        });
        let submit = {
            let (failures, unharmed) = (failures.clone(), unharmed.clone());
            let (lost, pending) = (lost.clone(), pending.clone());
            move || {
                let before = failures.count();
                if lost.load(Ordering::Acquire) == 0 {
                    pending.store(1, Ordering::Release);
                    // As publication does it.
                    loom::sync::atomic::fence(Ordering::SeqCst);
                    unharmed.note_waiting(&failures, before);
                }
            }
        };
        let submit = thread::spawn(submit);
        let search = || {
            let waits = pending.load(Ordering::Acquire) == 1;
            (waits && lost.load(Ordering::Acquire) == 1).then_some(())
        };
        // Somebody looks at any time, and remembers if he finds nothing.
        unharmed.look(&failures, search);
        other_queue.join().unwrap();
        submit.join().unwrap();
        let is_lost = pending.load(Ordering::Relaxed) == 1;
        assert_eq!(unharmed.look(&failures, search).is_some(), is_lost);
        assert!(is_lost || unharmed.is_sure(&failures));
    });
}

#[test]
fn a_failure_that_overtakes_a_submission_is_found_when_publication_is_the_fence() {
    model(Some(3), || {
        let (failures, unharmed) = (Arc::new(Failures::default()), Arc::new(Unharmed::default()));
        let lost = Arc::new(AtomicU32::new(0));
        let queue = Arc::new((Ring::new(Device::new(2), 0), Flights::<Never, Nothing>::new(2)));
        let (theirs, work) = (failures.clone(), lost.clone());
        let other_queue = thread::spawn(move || {
            work.store(1, Ordering::Release);
            theirs.note();
        });
        // A producer in front: which of the two publishes is open.
        let earlier = queue.0.reserve(1).unwrap();
        let submit = {
            let (failures, unharmed) = (failures.clone(), unharmed.clone());
            let (lost, queue) = (lost.clone(), queue.clone());
            move || {
                // As in `submit`.
                let before = failures.count();
                let claim = queue.1.claim().unwrap();
                if lost.load(Ordering::Acquire) == 0 {
                    let start = queue.0.reserve(1).unwrap();
                    write(&queue.0, start, &[2]);
                    claim.launch(Place { start, end: start, proves: 0 }, false, &Clock::default());
                    queue.0.publish(start, 1);
                    unharmed.note_waiting(&failures, before);
                }
            }
        };
        let submit = thread::spawn(submit);
        let waits = || queue.1.pending().count() == 1;
        let search = || (waits() && lost.load(Ordering::Acquire) == 1).then_some(());
        // Somebody looks at any time, and remembers if he finds nothing.
        unharmed.look(&failures, search);
        fill(&queue.0, earlier, &[1]);
        other_queue.join().unwrap();
        submit.join().unwrap();
        assert_eq!(unharmed.look(&failures, search).is_some(), waits());
        assert!(waits() || unharmed.is_sure(&failures));
    });
}

/// A signal that is never decremented.
#[derive(Default)]
struct Never;

impl Completion for Never {
    fn is_done(&self) -> bool {
        false
    }
}

/// Keeps nothing alive.
#[derive(Default)]
struct Nothing;

impl Cargo<Never> for Nothing {
    fn is_watched(&self) -> bool {
        false
    }
    fn release(&mut self, _complete: Option<&Never>) {}
}

/// What submissions in flight share one handle of, as a program's do.
struct Program {
    in_flight: InFlight,
    used: UnsafeCell<u32>,
    /// Not loom's: it must not order anything.
    is_gone: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the last handle is gone; loom checks that every use was before this.
        self.used.with_mut(|used| unsafe { *used += 1 });
        assert!(!self.is_gone.swap(true, std::sync::atomic::Ordering::Relaxed));
    }
}

#[test]
fn the_handle_that_submissions_share_is_there_as_long_as_one_is_in_flight() {
    let submit = |program: Arc<Program>| {
        let is_gone = program.is_gone.clone();
        // As `Program::enter`.
        if program.in_flight.enter() {
            std::mem::forget(program.clone());
        }
        let pointer = Arc::as_ptr(&program);
        // The group goes while its work is in flight.
        drop(program);
        assert!(!is_gone.load(std::sync::atomic::Ordering::Relaxed));
        // SAFETY: a handle is kept for what is in flight; loom checks the access.
        unsafe { &*pointer }.used.with(|used| assert_eq!(unsafe { *used }, 0));
        // As `Entered::drop`.
        // SAFETY: as above.
        if unsafe { &*pointer }.in_flight.leave() {
            // SAFETY: the pointer is that of an `Arc` of which a handle was forgotten.
            drop(unsafe { Arc::from_raw(pointer) });
        }
    };
    model(Some(4), move || {
        let is_gone = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let program = Arc::new(Program {
            in_flight: InFlight::default(),
            used: UnsafeCell::new(0),
            is_gone: is_gone.clone(),
        });
        let threads =
            [program.clone(), program.clone()].map(|program| thread::spawn(move || submit(program)));
        submit(program);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(is_gone.load(std::sync::atomic::Ordering::Relaxed), "the last one has let go");
    });
}

#[test]
fn kernarg_space_is_never_handed_out_twice() {
    model(Some(3), || {
        let ring = Arc::new(KernargRing::new(2 * UNIT as usize));
        let block: Arc<[UnsafeCell<u32>; 2]> = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
        let threads = [1u32, 2].map(|value| {
            let (ring, block) = (ring.clone(), block.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    if let Some(range) = ring.alloc(1) {
                        let cell = &block[range.offset / UNIT as usize];
                        // SAFETY: the range is this thread's until it is released; loom checks that.
                        cell.with_mut(|place| unsafe { *place = value });
                        ring.release(range);
                    }
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(ring.alloc(1).is_some());
    });
}
