//! KFD events: what GPU interrupts raise and host threads wait for.
//!
//! Any thread may call anything; one mutex guards the table, and each waiter sleeps on a condition variable of its own.
//! Rules (amdkfd, `kfd_events.c`): a wait consumes auto-reset events that are already set; setting an event wakes *all*
//! who wait for it now, and an auto-reset event stays set only if nobody did; destroying an event ends its waits with an
//! error; timeouts 0xffffffff and 0xfffffffe do not end.
//!
//! Each setting of an event makes it one older, from age 1 on; it never becomes 0 or 1 again. From KFD 1.14 on a waiter may say which age of a
//! signal event it has seen last: it then waits only if the event still has that age, and learns the new one. So nobody misses a setting
//! that another thread's wait has consumed. Age 0 asks for the old rule.
//!
//! One thing differs: a wait without an end, by the old rule, is woken for nothing after a second, and its caller looks again and comes back.
//! Two threads that wait for one event can take it from each other: ROCr 5.2 does that when it destroys a queue while its event thread is
//! busy (`AqlQueue::~AqlQueue`), and sleeps for ever. A program under test should not hang for it.

use super::uapi::{Errno, HwException, MemoryException, event_type, wait_result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Signal events have ids below this: each owns a slot of the event page (KFD_SIGNAL_EVENT_LIMIT).
pub const SIGNAL_EVENT_LIMIT: u32 = 4096;
/// Timeouts from here on do not end.
const FIRST_INFINITE: u32 = 0xffff_fffe;
/// How long a wait without an end sleeps before it is woken for nothing.
const WOKEN_AFTER: Duration = Duration::from_secs(1);

/// What an event carries to its waiters.
#[derive(Clone, Copy, Debug, Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    None,
    /// A GPU memory fault.
    Memory(MemoryException),
    /// A GPU or engine reset.
    Hardware(HwException),
}

impl Payload {
    /// The union of `kfd_event_data`.
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        match self {
            Self::None => {}
            Self::Memory(data) => bytes.copy_from_slice(bytemuck::bytes_of(data)),
            Self::Hardware(data) => bytes[..16].copy_from_slice(bytemuck::bytes_of(data)),
        }
        bytes
    }
}

#[derive(Debug)]
struct Event {
    kind: u32,
    auto_reset: bool,
    signaled: bool,
    age: u64,
    payload: Payload,
    /// (wait, index in that wait, whether it waits for the event to be set).
    waiters: Vec<(u64, usize, bool)>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Pending,
    Activated,
    Destroyed,
}

#[derive(Debug)]
struct Wait {
    slots: Vec<Slot>,
    wake: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Table {
    events: BTreeMap<u32, Event>,
    waits: HashMap<u64, Wait>,
    next_wait: u64,
}

/// How a wait ended.
#[derive(Debug)]
pub struct Waited {
    /// A `wait_result` value: complete or timeout.
    pub result: u32,
    /// One entry for each event asked for: its payload, if it fired.
    pub payloads: Vec<Option<Payload>>,
    /// One entry for each event asked for: its age, if it fired and the waiter gave an age.
    pub ages: Vec<Option<u64>>,
}

/// The events of one process.
#[derive(Debug, Default)]
pub struct EventTable {
    table: Mutex<Table>,
}

impl EventTable {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates an event and returns its id. ENOSPC when all signal slots are taken, EINVAL for an unknown type.
    pub fn create(&self, kind: u32, auto_reset: bool) -> Result<u32, Errno> {
        if kind > event_type::LAST {
            return Err(Errno(libc::EINVAL));
        }
        let mut table = self.lock();
        let ids = if is_signal(kind) { 1..SIGNAL_EVENT_LIMIT } else { SIGNAL_EVENT_LIMIT..i32::MAX as u32 };
        let id = ids.clone().find(|id| !table.events.contains_key(id)).ok_or(Errno(libc::ENOSPC))?;
        let event =
            Event { kind, auto_reset, signaled: false, age: 1, payload: Payload::None, waiters: Vec::new() };
        table.events.insert(id, event);
        Ok(id)
    }

    /// Destroys an event; whoever waits for it gets an error.
    pub fn destroy(&self, id: u32) -> Result<(), Errno> {
        let mut table = self.lock();
        let event = table.events.remove(&id).ok_or(Errno(libc::EINVAL))?;
        for (wait, index, _) in event.waiters {
            if let Some(wait) = table.waits.get_mut(&wait) {
                wait.slots[index] = Slot::Destroyed;
                wait.wake.notify_all();
            }
        }
        Ok(())
    }

    /// Sets a signal event, from the host or from a GPU interrupt. EINVAL for unknown ids and other types.
    pub fn set(&self, id: u32) -> Result<(), Errno> {
        let mut table = self.lock();
        match table.events.get(&id) {
            Some(event) if is_signal(event.kind) => {}
            _ => return Err(Errno(libc::EINVAL)),
        }
        table.raise(id, None);
        Ok(())
    }

    /// Takes back the signalled state.
    pub fn reset(&self, id: u32) -> Result<(), Errno> {
        let mut table = self.lock();
        match table.events.get_mut(&id) {
            Some(event) if is_signal(event.kind) => {
                event.signaled = false;
                Ok(())
            }
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// Raises every event of a type that the driver itself sets (memory faults, resets) with its payload.
    /// Returns how many there were.
    pub fn raise_all(&self, kind: u32, payload: Payload) -> usize {
        let mut table = self.lock();
        let ids: Vec<u32> = table.events.iter().filter(|(_, e)| e.kind == kind).map(|(id, _)| *id).collect();
        for id in &ids {
            table.raise(*id, Some(payload));
        }
        ids.len()
    }

    /// Waits until any (or all) of the events fire, or `timeout_ms` is over.
    ///
    /// EINVAL if an id is unknown, EIO if one of the events is destroyed meanwhile.
    pub fn wait(&self, ids: &[u32], all: bool, timeout_ms: u32) -> Result<Waited, Errno> {
        self.wait_for_ages(ids, &[], all, timeout_ms)
    }

    /// As [`EventTable::wait`], by the rule of ages: `seen` has, for each event, the age that the caller has seen last, or 0 for the
    /// old rule; what is missing counts as 0.
    pub fn wait_for_ages(
        &self,
        ids: &[u32],
        seen: &[u64],
        all: bool,
        timeout_ms: u32,
    ) -> Result<Waited, Errno> {
        let last = |index: usize| seen.get(index).copied().unwrap_or(0);
        let aged = (0..ids.len()).any(|index| last(index) != 0);
        let deadline =
            (timeout_ms < FIRST_INFINITE).then(|| Instant::now() + Duration::from_millis(timeout_ms.into()));
        let mut table = self.lock();
        if ids.iter().any(|id| !table.events.contains_key(id)) {
            return Err(Errno(libc::EINVAL));
        }
        let key = table.next_wait;
        table.next_wait += 1;
        let wake = Arc::new(Condvar::new());
        let mut slots = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            let event = table.events.get_mut(id).expect("checked above, under the same lock");
            let newer = is_signal(event.kind) && last(index) != 0 && last(index) != event.age;
            if event.signaled || newer {
                slots.push(Slot::Activated);
            } else {
                slots.push(Slot::Pending);
            }
            // Whoever needs not wait is no waiter: the next setting stays for somebody else. It can still be told of the event's end.
            event.waiters.push((key, index, !(event.signaled || newer)));
            event.signaled &= !event.auto_reset;
        }
        table.waits.insert(key, Wait { slots, wake: wake.clone() });
        let woken = Instant::now() + WOKEN_AFTER;

        let result = loop {
            let slots = &table.waits[&key].slots;
            if slots.iter().any(|s| matches!(s, Slot::Destroyed)) {
                break wait_result::FAIL;
            }
            let fired = slots.iter().filter(|s| matches!(s, Slot::Activated)).count();
            if fired == slots.len() || (!all && fired > 0) {
                break wait_result::COMPLETE;
            }
            if deadline.is_none() && aged {
                table = wake.wait(table).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = deadline.unwrap_or(woken).saturating_duration_since(Instant::now());
            if left.is_zero() {
                break if deadline.is_some() { wait_result::TIMEOUT } else { wait_result::COMPLETE };
            }
            table = wake.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
        };

        let wait = table.waits.remove(&key).expect("only this call removes it");
        for id in ids {
            if let Some(event) = table.events.get_mut(id) {
                event.waiters.retain(|(wait, ..)| *wait != key);
            }
        }
        if result == wait_result::FAIL {
            return Err(Errno(libc::EIO));
        }
        let payloads = (wait.slots.iter().zip(ids))
            .map(|(slot, id)| matches!(slot, Slot::Activated).then(|| table.events[id].payload))
            .collect();
        let ages = (wait.slots.iter().zip(ids).enumerate())
            .map(|(index, (slot, id))| {
                let event = &table.events[id];
                let told = matches!(slot, Slot::Activated) && last(index) != 0 && is_signal(event.kind);
                told.then_some(event.age)
            })
            .collect();
        Ok(Waited { result, payloads, ages })
    }

    /// How many events exist.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Whether no event exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn raise(&mut self, id: u32, payload: Option<Payload>) {
        let Some(event) = self.events.get_mut(&id) else { return };
        event.payload = payload.unwrap_or(event.payload);
        event.age = event.age.checked_add(1).unwrap_or(2);
        event.signaled = !event.auto_reset || !event.waiters.iter().any(|(_, _, waits)| *waits);
        for (wait, index, waits) in &mut event.waiters {
            if !std::mem::replace(waits, false) {
                continue;
            }
            if let Some(wait) = self.waits.get_mut(wait) {
                wait.slots[*index] = Slot::Activated;
                wait.wake.notify_all();
            }
        }
    }
}

fn is_signal(kind: u32) -> bool {
    kind == event_type::SIGNAL || kind == event_type::DEBUG
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use std::thread;

    #[test]
    fn a_wait_without_an_end_is_woken_for_nothing() {
        let events = EventTable::default();
        let id = events.create(event_type::SIGNAL, true).unwrap();
        let begin = Instant::now();
        let waited = events.wait(&[id], true, u32::MAX).unwrap();
        assert_eq!(waited.result, wait_result::COMPLETE);
        assert!(begin.elapsed() >= WOKEN_AFTER && waited.payloads.iter().all(Option::is_none));
    }

    fn wait_until_waiting(events: &EventTable, waits: usize) {
        while events.lock().waits.len() < waits {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_wait_consumes_an_auto_reset_event_but_not_a_manual_one() {
        let events = EventTable::default();
        let (auto, manual) = (events.create(0, true).unwrap(), events.create(0, false).unwrap());
        events.set(auto).unwrap();
        events.set(manual).unwrap();
        assert_eq!(events.wait(&[auto, manual], true, 0).unwrap().result, wait_result::COMPLETE);
        assert_eq!(events.wait(&[auto], true, 0).unwrap().result, wait_result::TIMEOUT);
        assert_eq!(events.wait(&[manual], true, 0).unwrap().result, wait_result::COMPLETE);
        events.reset(manual).unwrap();
        assert_eq!(events.wait(&[manual], true, 1).unwrap().result, wait_result::TIMEOUT);
    }

    #[test]
    fn a_set_wakes_every_current_waiter_and_then_is_spent() {
        let events = EventTable::default();
        let id = events.create(0, true).unwrap();
        let table = &events;
        thread::scope(|scope| {
            let waiters: Vec<_> = [u32::MAX, FIRST_INFINITE, 60_000]
                .map(|t| scope.spawn(move || table.wait(&[id], false, t)))
                .into();
            wait_until_waiting(&events, 3);
            events.set(id).unwrap();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap().result, wait_result::COMPLETE);
            }
        });
        assert_eq!(events.wait(&[id], false, 0).unwrap().result, wait_result::TIMEOUT);
    }

    #[test]
    fn a_waiter_that_knows_the_age_misses_no_setting() {
        let events = EventTable::default();
        let id = events.create(0, true).unwrap();
        let wait = |age, timeout| events.wait_for_ages(&[id], &[age], true, timeout).unwrap();
        assert_eq!(wait(1, 0).result, wait_result::TIMEOUT, "a new event has age 1");
        events.set(id).unwrap();
        // Somebody else consumes the setting by the old rule ...
        let old = wait(0, 0);
        assert_eq!((old.result, old.ages[0]), (wait_result::COMPLETE, None));
        assert_eq!(wait(0, 0).result, wait_result::TIMEOUT);
        // ... and the age tells of it all the same.
        let waited = wait(1, 0);
        assert_eq!((waited.result, waited.ages[0]), (wait_result::COMPLETE, Some(2)));
        assert_eq!(wait(2, 0).result, wait_result::TIMEOUT);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..2).map(|_| scope.spawn(|| wait(2, u32::MAX))).collect();
            wait_until_waiting(&events, 2);
            events.set(id).unwrap();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().ages[0], Some(3));
            }
        });
    }

    #[test]
    fn who_need_not_wait_leaves_the_next_setting_to_others() {
        let events = EventTable::default();
        let (a, b) = (events.create(0, true).unwrap(), events.create(0, true).unwrap());
        events.set(a).unwrap();
        thread::scope(|scope| {
            let both = scope.spawn(|| events.wait(&[a, b], true, 60_000));
            wait_until_waiting(&events, 1);
            events.set(a).unwrap();
            events.set(b).unwrap();
            assert_eq!(both.join().unwrap().unwrap().result, wait_result::COMPLETE);
        });
        assert_eq!(events.wait(&[a], true, 0).unwrap().result, wait_result::COMPLETE, "still set");
    }

    #[test]
    fn any_and_all_differ() {
        let events = EventTable::default();
        let (a, b) = (events.create(0, false).unwrap(), events.create(0, false).unwrap());
        events.set(a).unwrap();
        let any = events.wait(&[a, b], false, 0).unwrap();
        assert_eq!((any.result, any.payloads[0].is_some(), any.payloads[1].is_some()), (0, true, false));
        assert_eq!(events.wait(&[a, b], true, 5).unwrap().result, wait_result::TIMEOUT);
        thread::scope(|scope| {
            let all = scope.spawn(|| events.wait(&[a, b], true, u32::MAX));
            wait_until_waiting(&events, 1);
            events.set(b).unwrap();
            assert_eq!(all.join().unwrap().unwrap().result, wait_result::COMPLETE);
        });
    }

    #[test]
    fn destroying_an_event_ends_its_waits_with_an_error() {
        let events = EventTable::default();
        let id = events.create(0, true).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| events.wait(&[id], true, u32::MAX));
            wait_until_waiting(&events, 1);
            events.destroy(id).unwrap();
            assert_eq!(waiter.join().unwrap().unwrap_err(), Errno(libc::EIO));
        });
        for answer in [events.set(id), events.reset(id), events.destroy(id)] {
            assert_eq!(answer, Err(Errno(libc::EINVAL)));
        }
        assert_eq!(events.wait(&[id], true, 0).unwrap_err(), Errno(libc::EINVAL));
    }

    #[test]
    fn a_memory_fault_reaches_memory_events_with_its_address_and_no_other() {
        let events = EventTable::default();
        let (fault, signal) =
            (events.create(event_type::MEMORY, false).unwrap(), events.create(0, false).unwrap());
        assert!(fault >= SIGNAL_EVENT_LIMIT && signal < SIGNAL_EVENT_LIMIT);
        assert_eq!(events.set(fault), Err(Errno(libc::EINVAL)), "the host may not raise driver events");
        let data =
            MemoryException { va: 0x1234_5000, gpu_id: 7, not_present: 1, ..MemoryException::zeroed() };
        assert_eq!(events.raise_all(event_type::MEMORY, Payload::Memory(data)), 1);
        let waited = events.wait(&[signal, fault], false, 0).unwrap();
        assert!(waited.payloads[0].is_none());
        let bytes = waited.payloads[1].unwrap().bytes();
        assert_eq!(bytes[16..24], 0x1234_5000u64.to_le_bytes());
        assert_eq!((bytes[0], bytes[24]), (1, 7));
    }

    #[test]
    fn ids_run_out_with_enospc_and_are_reused() {
        let events = EventTable::default();
        let ids: Vec<u32> = std::iter::from_fn(|| events.create(0, true).ok()).collect();
        assert_eq!((ids.len(), ids[0], *ids.last().unwrap()), (4095, 1, 4095));
        assert_eq!(events.create(0, true), Err(Errno(libc::ENOSPC)));
        events.destroy(17).unwrap();
        assert_eq!(events.create(0, true), Ok(17));
        assert_eq!(events.create(9, true), Err(Errno(libc::EINVAL)));
    }
}
