//! Which parts of a queue's scratch memory are in use.
//!
//! One slot is one wave's share. Dispatches of a queue that overlap share its slots, so they are handed out for the whole queue.

/// The slots of one queue.
#[derive(Debug)]
pub(crate) struct ScratchSlots {
    used: Vec<bool>,
    /// No slot before this one is free.
    first: usize,
}

impl ScratchSlots {
    /// All free.
    pub fn new(waves: u32) -> Self {
        Self { used: vec![false; waves as usize], first: 0 }
    }

    /// Slots in all.
    pub fn waves(&self) -> u32 {
        self.used.len() as u32
    }

    /// Takes `waves` slots in a row; returns the first of them.
    pub fn take(&mut self, waves: u32) -> Option<u32> {
        let waves = waves as usize;
        let mut at = self.first;
        while at + waves <= self.used.len() {
            match self.used[at..at + waves].iter().rposition(|used| *used) {
                Some(used) => at += used + 1,
                None => {
                    self.used[at..at + waves].fill(true);
                    if at == self.first {
                        self.first += waves;
                    }
                    return Some(at as u32);
                }
            }
        }
        None
    }

    /// Gives slots back.
    pub fn give_back(&mut self, at: u32, waves: u32) {
        let at = at as usize;
        self.used[at..at + waves as usize].fill(false);
        self.first = self.first.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_never_handed_out_twice_and_come_back() {
        let mut slots = ScratchSlots::new(10);
        assert_eq!([4, 4, 4].map(|n| slots.take(n)), [Some(0), Some(4), None]);
        assert_eq!(slots.take(2), Some(8));
        slots.give_back(4, 4);
        assert_eq!([3, 2, 1].map(|n| slots.take(n)), [Some(4), None, Some(7)]);
        slots.give_back(0, 4);
        assert_eq!((slots.take(5), slots.take(4), slots.take(1)), (None, Some(0), None));
    }
}
