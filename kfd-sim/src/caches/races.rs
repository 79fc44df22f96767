//! Which bytes a dispatch touched, and how: what the race detector compares.
//!
//! Kept beside the caches' own records, because every access of a kernel comes past there. Command processor's thread only.

use std::collections::HashMap;

use serde::Serialize;

use super::page::{Mask, PAGE, page_of};
use crate::memory::Access;

/// What two dispatches did to the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RaceKind {
    /// Both stored.
    WriteWrite,
    /// The first loaded what the second one stored.
    ReadWrite,
    /// The first stored what the second one loaded.
    WriteRead,
    /// One used atomics, the other plain loads or stores.
    Atomic,
}

/// One of the two dispatches of a race.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RacingDispatch {
    /// Queue id.
    pub queue: u32,
    /// Index of the packet in its queue.
    pub index: u64,
    /// Kernel's name, from the code object's dynamic symbols.
    pub kernel: Option<String>,
}

/// Two dispatches that touched the same bytes, not both by atomics, without anything that orders them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Race {
    /// What they did.
    pub kind: RaceKind,
    /// GPU address of the first byte.
    pub address: u64,
    /// Bytes in a row from there.
    pub run: u64,
    /// Bytes in all, for this kind.
    pub bytes: u64,
    /// The one that was launched first.
    pub first: RacingDispatch,
    /// The other.
    pub second: RacingDispatch,
}

const READS: usize = 0;
const WRITES: usize = 1;
const ATOMICS: usize = 2;

/// The bytes that a dispatch loaded, stored and used atomically.
#[derive(Default)]
pub(crate) struct Footprint {
    pages: HashMap<u64, Box<[Mask; 3]>>,
}

/// Where two footprints meet in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub kind: RaceKind,
    pub address: u64,
    pub run: u64,
    pub bytes: u64,
}

impl Footprint {
    /// The dispatch accesses `[va, va + len)`.
    pub fn note(&mut self, va: u64, len: u64, access: Access) {
        let which = match access {
            Access::Read => READS,
            Access::Write => WRITES,
            Access::Atomic => ATOMICS,
            Access::Execute => return,
        };
        let end = va.saturating_add(len);
        for page in (page_of(va)..end).step_by(PAGE as usize) {
            let (from, to) = (va.max(page), end.min(page + PAGE));
            let masks =
                self.pages.entry(page).or_insert_with(|| Box::new(std::array::from_fn(|_| Mask::empty())));
            masks[which].set(from - page, to - from);
        }
    }

    /// Forgets `[va, va + len)`, whole pages: memory of the dispatch's own.
    pub fn forget(&mut self, va: u64, len: u64) {
        self.pages.retain(|&page, _| page + PAGE <= va || page >= va.saturating_add(len));
    }

    /// Pages touched.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Where `self`, launched first, and `other` touch the same bytes in ways that need an order; at most one entry of each kind.
    pub fn conflicts(&self, other: &Footprint) -> Vec<Conflict> {
        let mut shared: Vec<u64> =
            self.pages.keys().copied().filter(|page| other.pages.contains_key(page)).collect();
        shared.sort_unstable();
        let mut found: Vec<Conflict> = Vec::new();
        for page in shared {
            let (a, b) = (&self.pages[&page], &other.pages[&page]);
            let mut plain = a[READS].clone();
            plain.add(&a[WRITES]);
            let mut theirs = b[READS].clone();
            theirs.add(&b[WRITES]);
            let mut atomic = a[ATOMICS].and(&theirs);
            atomic.add(&plain.and(&b[ATOMICS]));
            for (kind, mask) in [
                (RaceKind::WriteWrite, a[WRITES].and(&b[WRITES])),
                (RaceKind::ReadWrite, a[READS].and(&b[WRITES])),
                (RaceKind::WriteRead, a[WRITES].and(&b[READS])),
                (RaceKind::Atomic, atomic),
            ] {
                let Some((at, run, bytes)) = mask.extent() else { continue };
                match found.iter_mut().find(|conflict| conflict.kind == kind) {
                    Some(conflict) => {
                        if conflict.address + conflict.run == page && at == 0 {
                            conflict.run += run;
                        }
                        conflict.bytes += bytes;
                    }
                    None => found.push(Conflict { kind, address: page + at, run, bytes }),
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footprint(accesses: &[(u64, u64, Access)]) -> Footprint {
        let mut made = Footprint::default();
        accesses.iter().for_each(|&(va, len, access)| made.note(va, len, access));
        made
    }

    #[test]
    fn only_bytes_in_common_that_somebody_stores_to_conflict() {
        let a =
            footprint(&[(0x1000, 8, Access::Write), (0x2000, 4, Access::Read), (0x3000, 4, Access::Atomic)]);
        let b =
            footprint(&[(0x1008, 8, Access::Write), (0x2000, 4, Access::Read), (0x3000, 4, Access::Atomic)]);
        assert!(a.conflicts(&b).is_empty(), "neighbours, two readers, two atomics");
        let c =
            footprint(&[(0x1004, 8, Access::Write), (0x2002, 1, Access::Write), (0x3000, 4, Access::Read)]);
        let found = a.conflicts(&c);
        let expected = |kind, address, run| Conflict { kind, address, run, bytes: run };
        assert_eq!(
            found,
            [
                expected(RaceKind::WriteWrite, 0x1004, 4),
                expected(RaceKind::ReadWrite, 0x2002, 1),
                expected(RaceKind::Atomic, 0x3000, 4)
            ]
        );
        assert_eq!(c.conflicts(&a)[1].kind, RaceKind::WriteRead);
    }

    #[test]
    fn runs_go_on_over_pages_and_gaps_end_them() {
        let all = footprint(&[(0x1ff0, 0x20, Access::Write), (0x5000, 4, Access::Write)]);
        let [conflict] = all.conflicts(&all)[..] else { panic!("one kind") };
        assert_eq!((conflict.address, conflict.run, conflict.bytes), (0x1ff0, 0x20, 0x24));
        let mut less = footprint(&[(0x1ff0, 0x20, Access::Write)]);
        less.forget(0x1000, 0x1000);
        assert_eq!(less.conflicts(&all)[0].address, 0x2000);
    }
}
