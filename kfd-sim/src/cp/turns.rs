//! Hardware queues that several queues share: they take turns.
//!
//! The driver can make more queues than the hardware has. Those that share a hardware queue have it one at a time: a queue keeps
//! it for a quantum while others wait, and hands it on at once when it has nothing to do. Everything of a queue without its turn stands still; what
//! ran of it is saved and gives the compute units free. Turns do not depend on priorities. Pure.

use std::collections::BTreeMap;

use super::api::HardwareQueue;

/// How long a queue keeps the hardware while others wait, ns: 10 ms (assumed; the driver's runlist gives each process's queues a quantum of that
/// order). Host time: the GPU's stands still while a long kernel is interpreted, and the others shall not wait for that.
pub(crate) const QUANTUM_NS: u64 = 10_000_000;

#[derive(Debug, Default)]
struct Place {
    users: Vec<u32>,
    /// Index of the user that has it.
    active: usize,
    since_ns: u64,
    /// Somebody waits, and a look at this time is asked for.
    asked_ns: u64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    places: BTreeMap<HardwareQueue, Place>,
}

/// What a look came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Queues that lost (false) or got (true) their turn.
    pub queues: Vec<(u32, bool)>,
    /// Time of the next look, if it must be asked for.
    pub next_ns: Option<u64>,
}

impl Turns {
    /// A queue is made; returns whether it has the hardware queue.
    pub fn join(&mut self, hardware: HardwareQueue, id: u32) -> bool {
        let place = self.places.entry(hardware).or_default();
        place.users.push(id);
        place.users.len() == 1
    }

    /// A queue is gone. Whoever waited gets the turn at the next [`Turns::pass`].
    pub fn leave(&mut self, id: u32) {
        for place in self.places.values_mut() {
            let Some(at) = place.users.iter().position(|user| *user == id) else { continue };
            place.users.remove(at);
            if at == place.active {
                // None: the next pass chooses.
                place.active = usize::MAX;
            } else if place.active != usize::MAX && at < place.active {
                place.active -= 1;
            }
        }
        self.places.retain(|_, place| !place.users.is_empty());
    }

    /// Whether anything may have to be handed on.
    pub fn shared(&self) -> bool {
        self.places.values().any(|place| place.users.len() > 1 || place.active != 0)
    }

    /// Hands on what is due at `now`. `has_work` says whether a queue could use a turn.
    pub fn pass(&mut self, now: u64, has_work: impl Fn(u32) -> bool) -> Changes {
        let mut changes = Changes::default();
        for place in self.places.values_mut() {
            let count = place.users.len();
            let active = place.users.get(place.active).copied();
            let spent = now.saturating_sub(place.since_ns) >= QUANTUM_NS;
            let keeps = active.is_some_and(|id| has_work(id) && !spent);
            let after = if active.is_some() { place.active + 1 } else { 0 };
            let mut others =
                (0..count).map(|n| (after + n) % count).filter(|&at| Some(place.users[at]) != active);
            let next = others.find(|&at| has_work(place.users[at]));
            let next = match (next, active) {
                (next, None) => Some(next.unwrap_or(0)),
                (Some(next), _) if !keeps => Some(next),
                (Some(_), _) => {
                    let at = place.since_ns + QUANTUM_NS;
                    if place.asked_ns != at {
                        place.asked_ns = at;
                        changes.next_ns = Some(changes.next_ns.map_or(at, |known: u64| known.min(at)));
                    }
                    None
                }
                (None, _) => {
                    // Nobody waits: whoever comes has to wait a whole quantum at most.
                    if spent {
                        place.since_ns = now;
                    }
                    None
                }
            };
            if let Some(next) = next {
                changes.queues.extend(active.map(|id| (id, false)));
                changes.queues.push((place.users[next], true));
                (place.active, place.since_ns) = (next, now);
                if count > 1 {
                    place.asked_ns = now + QUANTUM_NS;
                    let at = place.asked_ns;
                    changes.next_ns = Some(changes.next_ns.map_or(at, |known: u64| known.min(at)));
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: HardwareQueue = HardwareQueue { me: 1, pipe: 0, queue: 2 };

    #[test]
    fn turns_go_round_among_those_with_work() {
        let mut turns = Turns::default();
        assert_eq!([1, 2, 3].map(|id| turns.join(PLACE, id)), [true, false, false]);
        let busy = |ids: &'static [u32]| move |id| ids.contains(&id);
        assert_eq!(turns.pass(0, busy(&[1])).queues, []);
        let changes = turns.pass(10, busy(&[1, 3]));
        assert_eq!((changes.queues, changes.next_ns), (vec![], Some(QUANTUM_NS)), "a quantum first");
        assert_eq!(turns.pass(20, busy(&[1, 3])).next_ns, None, "asked for once");
        assert_eq!(turns.pass(QUANTUM_NS, busy(&[1, 3])).queues, [(1, false), (3, true)]);
        assert_eq!(turns.pass(QUANTUM_NS + 1, busy(&[1])).queues, [(3, false), (1, true)], "nothing to do");
        assert_eq!(turns.pass(3 * QUANTUM_NS, busy(&[1, 2, 3])).queues, [(1, false), (2, true)]);
        assert_eq!(turns.pass(4 * QUANTUM_NS, busy(&[1, 2, 3])).queues, [(2, false), (3, true)]);
    }

    #[test]
    fn whoever_leaves_hands_on() {
        let mut turns = Turns::default();
        for id in [1, 2, 3] {
            turns.join(PLACE, id);
        }
        turns.leave(1);
        assert!(turns.shared());
        assert_eq!(turns.pass(0, |id| id == 3).queues, [(3, true)]);
        turns.leave(2);
        assert_eq!(turns.pass(1, |_| true).queues, []);
        assert!(!turns.shared());
        turns.leave(3);
        assert!(turns.places.is_empty());
    }
}
