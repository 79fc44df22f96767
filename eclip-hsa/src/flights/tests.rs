//! The table with signals that the test decrements itself.

use super::*;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

#[derive(Default)]
struct Counter(AtomicI64);

impl Completion for Counter {
    fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) <= 0
    }
}

/// Counts what is still kept alive.
#[derive(Default)]
struct Kept(Option<Arc<AtomicI64>>);

impl Cargo<Counter> for Kept {
    fn is_watched(&self) -> bool {
        true
    }
    fn release(&mut self, _complete: Option<&Counter>) {
        if let Some(kept) = self.0.take() {
            kept.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

type Table = Flights<Counter, Kept>;

fn launch_at(table: &Table, kept: &Arc<AtomicI64>, place: Place, silent: bool) -> Option<Ticket> {
    let mut claim = table.claim()?;
    claim.signal().0.store(1, Ordering::Relaxed);
    kept.fetch_add(1, Ordering::Relaxed);
    claim.cargo(|cargo| cargo.0 = Some(kept.clone()));
    Some(claim.launch(place, silent, &Clock::default()))
}

fn launch(table: &Table, kept: &Arc<AtomicI64>) -> Option<Ticket> {
    launch_at(table, kept, Place { start: 7, end: 7, proves: 0 }, false)
}

#[test]
fn silent_work_is_complete_when_a_later_epoch_is() {
    let (table, kept) = (Table::new(4), Arc::default());
    let silent = |at| launch_at(&table, &kept, Place { start: at, end: at, proves: 0 }, true).unwrap();
    let [first, second] = [silent(3), silent(4)];
    let loud = launch_at(&table, &kept, Place { start: 5, end: 6, proves: 4 }, false).unwrap();
    assert_eq!([first, second, loud].map(|ticket| table.poll(ticket)), [Status::Pending; 3]);
    finish(&table, loud);
    let after = [loud, first, second].map(|ticket| table.poll(ticket));
    assert_eq!(after, [Status::Done, Status::Done, Status::Pending], "the barrier bit was at 4");
}

#[test]
fn what_waits_can_be_looked_at_until_it_is_complete() {
    let (table, kept) = (Table::new(1), Arc::default());
    let ticket = launch(&table, &kept).unwrap();
    assert_eq!(table.inspect(ticket, |cargo| cargo.0.is_some()), Some(true));
    finish(&table, ticket);
    assert_eq!(table.poll(ticket), Status::Done);
    assert_eq!(table.inspect(ticket, |_| ()), None);
}

fn finish(table: &Table, ticket: Ticket) {
    table.signal(ticket.slot).0.fetch_sub(1, Ordering::Release);
}

#[test]
fn cargo_lives_until_completion_and_the_slot_is_used_again() {
    let (table, kept) = (Table::new(1), Arc::default());
    let first = launch(&table, &kept).unwrap();
    assert_eq!((table.poll(first), table.unfinished()), (Status::Pending, 1));
    assert!(launch(&table, &kept).is_none(), "the only slot is in use");
    finish(&table, first);
    assert_eq!(kept.load(Ordering::Relaxed), 1);
    assert_eq!(table.poll(first), Status::Done);
    assert_eq!(kept.load(Ordering::Relaxed), 0);
    let second = launch(&table, &kept).unwrap();
    assert_eq!(second.slot, first.slot);
    assert_eq!((table.poll(first), table.poll(second)), (Status::Done, Status::Pending));
}

#[test]
fn a_pinned_signal_is_not_used_again() {
    let (table, kept) = (Table::new(1), Arc::default());
    let first = launch(&table, &kept).unwrap();
    assert_eq!(table.pin(first), Pinned::Yes);
    finish(&table, first);
    assert_eq!(table.sweep_all(), 1);
    assert_eq!(table.poll(first), Status::Done);
    assert_eq!(kept.load(Ordering::Relaxed), 0, "a pin holds the signal, not the cargo");
    assert!(launch(&table, &kept).is_none());
    table.unpin(first.slot);
    assert_eq!(table.pin(first), Pinned::Over, "complete work has nothing to pin");
    assert!(launch(&table, &kept).is_some());
}

#[test]
fn an_abandoned_claim_gives_its_slot_back() {
    let (table, kept) = (Table::new(1), Arc::default());
    drop(table.claim().unwrap());
    assert!(table.claim().is_some());
    assert!(launch(&table, &kept).is_some());
}

#[test]
fn closing_loses_the_unfinished_and_only_those() {
    let (table, kept) = (Table::new(4), Arc::default());
    let done = launch(&table, &kept).unwrap();
    let unfinished = launch(&table, &kept).unwrap();
    assert_eq!(table.pin(unfinished), Pinned::Yes);
    finish(&table, done);
    table.close();
    assert_eq!((table.poll(done), table.poll(unfinished)), (Status::Done, Status::Lost));
    assert_eq!(kept.load(Ordering::Relaxed), 0);
    table.unpin(unfinished.slot);
    assert_eq!(table.poll(unfinished), Status::Lost);
}

#[test]
fn pins_do_not_overflow_into_the_generation() {
    let (table, kept) = (Table::new(1), Arc::default());
    let ticket = launch(&table, &kept).unwrap();
    let full = State::new(ticket.generation, State::MAX_PINS, Phase::Pending);
    table.slots[0].state.store(full.0, Ordering::Relaxed);
    assert_eq!(table.pin(ticket), Pinned::TooMany);
    table.unpin(0);
    assert_eq!(table.pin(ticket), Pinned::Yes);
}

#[test]
fn done_means_that_the_cargo_is_free() {
    let (table, kept) = (Table::new(1), Arc::<AtomicI64>::default());
    let ticket = launch(&table, &kept).unwrap();
    finish(&table, ticket);
    assert!(table.begin_retiring(ticket).is_some(), "as another thread does that is interrupted right then");
    assert_eq!((table.poll(ticket), table.unfinished()), (Status::Pending, 1));
}

#[test]
fn threads_retire_each_submission_once() {
    let (table, kept) = (Table::new(8), Arc::<AtomicI64>::default());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut launched = 0;
                while launched < 5_000 {
                    if let Some(ticket) = launch(&table, &kept) {
                        launched += 1;
                        if launched % 3 == 0 && table.pin(ticket) == Pinned::Yes {
                            finish(&table, ticket);
                            table.sweep_all();
                            // Another thread may be freeing its cargo; then it is done soon.
                            while table.poll(ticket) != Status::Done {
                                std::hint::spin_loop();
                            }
                            table.unpin(ticket.slot);
                        } else {
                            finish(&table, ticket);
                        }
                    }
                    table.recycle().into_iter().for_each(|slot| table.free.push(slot));
                }
            });
        }
    });
    table.sweep_all();
    assert_eq!((table.unfinished(), kept.load(Ordering::Relaxed)), (0, 0));
    let free = std::iter::from_fn(|| table.free.pop()).count();
    assert_eq!(free, table.fresh.load(Ordering::Relaxed) as usize);
}
