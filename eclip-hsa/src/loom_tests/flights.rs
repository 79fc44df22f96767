//! Submissions in flight: slots, pins, generations.

use std::sync::atomic::{AtomicU32 as Plain, Ordering as PlainOrdering};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicI64, Ordering};
use loom::thread;

use super::{Nudge, model};
use crate::depend::{Clock, Known};
use crate::flights::{Cargo, Completion, Flights, Pinned, Place, Status, Ticket};

/// A signal whose use is watched: arming it while somebody still names it is an error that loom reports.
struct Signal {
    value: AtomicI64,
    named: UnsafeCell<u32>,
}

// SAFETY: loom's cell reports every access that is not ordered.
unsafe impl Sync for Signal {}
// SAFETY: as for Sync.
unsafe impl Send for Signal {}

impl Default for Signal {
    fn default() -> Self {
        Self { value: AtomicI64::new(0), named: UnsafeCell::new(0) }
    }
}

impl Signal {
    fn arm(&self, count: i64) {
        // SAFETY: nobody names the signal when it is armed; loom checks that.
        self.named.with_mut(|uses| unsafe { *uses += 1 });
        self.value.store(count, Ordering::Relaxed);
    }
}

impl Completion for Signal {
    fn is_done(&self) -> bool {
        self.value.load(Ordering::Acquire) < 1
    }
}

/// Memory that a submission has until its cargo is released.
type Held = Arc<UnsafeCell<u32>>;

/// Counts how often it was completed. Not loom's: counting must not order anything.
#[derive(Default)]
struct Counted {
    by: Option<std::sync::Arc<Plain>>,
    /// Others look at it. Not always, for that takes a lock, which orders more than the rest does.
    is_watched: bool,
    /// Written when it is released.
    held: Option<Held>,
}

impl Cargo<Signal> for Counted {
    fn is_watched(&self) -> bool {
        self.is_watched
    }

    fn release(&mut self, complete: Option<&Signal>) {
        if let (Some(counted), Some(_)) = (self.by.take(), complete) {
            counted.fetch_add(1, PlainOrdering::Relaxed);
        }
        if let Some(held) = self.held.take() {
            // SAFETY: nobody else touches it before the work is over; loom checks that.
            held.with_mut(|held| unsafe { *held += 1 });
        }
    }
}

type Table = Flights<Signal, Counted>;

fn launch(table: &Table, completed: &std::sync::Arc<Plain>) -> Option<Ticket> {
    launch_at(table, completed, Place { start: 0, end: 0, proves: 0 }, false)
}

fn launch_at(table: &Table, completed: &std::sync::Arc<Plain>, place: Place, silent: bool) -> Option<Ticket> {
    let mut claim = table.claim()?;
    if !silent {
        claim.signal().arm(1);
    }
    claim.cargo(|cargo| cargo.by = Some(completed.clone()));
    Some(claim.launch(place, silent, &Clock::default()))
}

/// What the device does.
fn decrement(table: &Table, ticket: Ticket) {
    table.signal(ticket.slot).value.fetch_sub(1, Ordering::Release);
}

#[test]
fn whoever_completes_work_does_it_once() {
    model(None, || {
        let (table, completed) = (Arc::new(Table::new(1)), std::sync::Arc::new(Plain::new(0)));
        let ticket = launch(&table, &completed).unwrap();
        let written = Arc::new(UnsafeCell::new(0));
        let (device, place) = (table.clone(), written.clone());
        let device = thread::spawn(move || {
            // SAFETY: nobody reads it before the work is complete; loom checks that.
            place.with_mut(|place| unsafe { *place = 1 });
            decrement(&device, ticket);
        });
        let nudge = Nudge::new();
        let (other, touched) = (table.clone(), nudge.clone());
        let other = thread::spawn(move || {
            other.sweep_all();
            touched.touch();
        });
        nudge.touch();
        if table.poll(ticket) == Status::Done {
            // SAFETY: as above, whichever thread has completed it.
            written.with(|written| assert_eq!(unsafe { *written }, 1));
        }
        device.join().unwrap();
        other.join().unwrap();
        table.sweep_all();
        assert_eq!(table.poll(ticket), Status::Done);
        assert_eq!((completed.load(PlainOrdering::Relaxed), table.unfinished()), (1, 0));
        assert!(launch(&table, &completed).is_some(), "the slot came back");
        assert_eq!(table.poll(ticket), Status::Done, "later work is not taken for it");
    });
}

#[test]
fn a_pinned_signal_is_not_armed_again() {
    model(Some(3), || {
        let (table, completed) = (Arc::new(Table::new(1)), std::sync::Arc::new(Plain::new(0)));
        let ticket = launch(&table, &completed).unwrap();
        decrement(&table, ticket);
        let (user, other) = (table.clone(), completed.clone());
        let next = thread::spawn(move || {
            user.sweep_all();
            launch(&user, &other)
        });
        if table.pin(ticket) == Pinned::Yes {
            let signal = table.signal(ticket.slot);
            // SAFETY: the pin keeps the signal from being armed; loom checks that.
            signal.named.with(|uses| assert_eq!(unsafe { *uses }, 1));
            table.unpin(ticket.slot);
        }
        let next = next.join().unwrap();
        assert_ne!(next, Some(ticket));
        table.sweep_all();
        assert_eq!(completed.load(PlainOrdering::Relaxed), 1, "the second use is not complete");
    });
}

#[test]
fn closing_and_completing_do_not_cross() {
    model(Some(3), || {
        let (table, completed) = (Arc::new(Table::new(2)), std::sync::Arc::new(Plain::new(0)));
        let [done, lost] = [launch(&table, &completed).unwrap(), launch(&table, &completed).unwrap()];
        decrement(&table, done);
        let other = table.clone();
        let other = thread::spawn(move || (other.poll(done), other.poll(lost)));
        table.close();
        let (first, second) = other.join().unwrap();
        assert_ne!(first, Status::Lost);
        assert_ne!(second, Status::Done);
        assert_eq!((table.poll(done), table.poll(lost)), (Status::Done, Status::Lost));
        assert_eq!(completed.load(PlainOrdering::Relaxed), 1);
    });
}

#[test]
fn looking_and_completing_do_not_cross() {
    model(Some(3), || {
        let (table, completed) = (Arc::new(Table::new(1)), std::sync::Arc::new(Plain::new(0)));
        let mut claim = table.claim().unwrap();
        claim.signal().arm(1);
        claim.cargo(|cargo| *cargo = Counted { by: Some(completed.clone()), is_watched: true, held: None });
        let ticket = claim.launch(Place { start: 0, end: 0, proves: 0 }, false, &Clock::default());
        decrement(&table, ticket);
        let other = table.clone();
        let other = thread::spawn(move || other.sweep_all());
        // Loom's cell reports a look during the release.
        let seen = table.inspect(ticket, |cargo| cargo.by.is_some());
        assert_ne!(seen, Some(false));
        other.join().unwrap();
        assert_eq!(table.inspect(ticket, |_| ()), None);
    });
}

#[test]
fn silent_work_is_complete_after_what_proves_it_and_so_are_its_writes() {
    model(Some(3), || {
        let (table, completed) = (Arc::new(Table::new(2)), std::sync::Arc::new(Plain::new(0)));
        let written = Arc::new(UnsafeCell::new(0));
        let silent = launch_at(&table, &completed, Place { start: 0, end: 0, proves: 0 }, true).unwrap();
        let loud = launch_at(&table, &completed, Place { start: 1, end: 1, proves: 1 }, false).unwrap();
        let (device, place) = (table.clone(), written.clone());
        let device = thread::spawn(move || {
            // SAFETY: nobody reads it before the silent work is complete; loom checks that.
            place.with_mut(|place| unsafe { *place = 1 });
            decrement(&device, loud);
        });
        let nudge = Nudge::new();
        let (other, touched) = (table.clone(), nudge.clone());
        let other = thread::spawn(move || {
            other.poll(loud);
            touched.touch();
        });
        nudge.touch();
        if table.poll(silent) == Status::Done {
            // SAFETY: as above.
            written.with(|written| assert_eq!(unsafe { *written }, 1));
        }
        device.join().unwrap();
        other.join().unwrap();
        table.sweep_all();
        assert_eq!([loud, silent].map(|ticket| table.poll(ticket)), [Status::Done; 2]);
        assert_eq!((completed.load(PlainOrdering::Relaxed), table.unfinished()), (2, 0));
    });
}

#[test]
fn a_slot_goes_to_one_submission_at_a_time() {
    model(Some(2), || {
        let (table, completed) = (Arc::new(Table::new(2)), std::sync::Arc::new(Plain::new(0)));
        // One slot that can be recycled, one on the free list.
        let done = launch(&table, &completed).unwrap();
        drop(table.claim().unwrap());
        decrement(&table, done);
        let threads = [0, 1].map(|_| {
            let (table, completed) = (table.clone(), completed.clone());
            thread::spawn(move || launch(&table, &completed))
        });
        // Arming a signal twice at once is reported by loom's cell.
        let tickets = threads.map(|thread| thread.join().unwrap());
        let pending: Vec<Ticket> = tickets.into_iter().flatten().collect();
        assert!(pending.iter().all(|ticket| table.poll(*ticket) == Status::Pending));
        assert_eq!(table.unfinished() as usize, pending.len());
        assert!(pending.len() < 2 || pending[0].slot != pending[1].slot);
        pending.iter().for_each(|ticket| decrement(&table, *ticket));
        table.sweep_all();
        assert_eq!(completed.load(PlainOrdering::Relaxed) as usize, 1 + pending.len());
        assert!(
            launch(&table, &completed).is_some() && launch(&table, &completed).is_some(),
            "both came back"
        );
    });
}

#[test]
fn what_a_pinned_submission_knew_can_be_read() {
    model(Some(3), || {
        let (table, completed) = (Arc::new(Table::new(1)), std::sync::Arc::new(Plain::new(0)));
        let knew = |below| {
            let mut clock = Clock::default();
            clock.raise(0, Known { below, next: 0 });
            clock
        };
        let launch = move |table: &Table, clock: &Clock| {
            let mut claim = table.claim()?;
            claim.signal().arm(1);
            claim.cargo(|cargo| cargo.by = Some(completed.clone()));
            Some(claim.launch(Place { start: 0, end: 0, proves: 0 }, false, clock))
        };
        let ticket = launch(&table, &knew(3)).unwrap();
        decrement(&table, ticket);
        let other = table.clone();
        let other = thread::spawn(move || launch(&other, &knew(4)));
        if table.pin(ticket) == Pinned::Yes {
            // SAFETY: pinned; loom's cell reports a write meanwhile.
            assert_eq!(*unsafe { table.clock(ticket.slot) }, knew(3));
            table.unpin(ticket.slot);
        }
        other.join().unwrap();
    });
}

#[test]
fn when_nothing_is_unfinished_all_cargo_is_gone() {
    model(None, || {
        let (table, completed) = (Arc::new(Table::new(1)), std::sync::Arc::new(Plain::new(0)));
        let held: Held = Arc::new(UnsafeCell::new(0));
        let mut claim = table.claim().unwrap();
        claim.signal().arm(1);
        claim.cargo(|cargo| (cargo.by, cargo.held) = (Some(completed.clone()), Some(held.clone())));
        let ticket = claim.launch(Place { start: 0, end: 0, proves: 0 }, false, &Clock::default());
        decrement(&table, ticket);
        let other = table.clone();
        // Completes it, and nothing else tells this thread.
        let other = thread::spawn(move || other.poll(ticket));
        if table.unfinished() == 0 {
            // SAFETY: the submission has let go of it; loom checks that.
            held.with(|held| assert_eq!(unsafe { *held }, 1));
        }
        other.join().unwrap();
    });
}
