//! Whose turn it is to use a block of memory: the host's or that of work in flight.
//!
//! Whoever comes second is refused; nobody waits. Any thread may call anything. A submission of a kernel group counts itself in one place,
//! however many blocks the group uses, and then looks at each block; the host takes the block and then looks at all counts. Each side
//! changes its word before it reads the other's, with a full fence between, so at least one of the two sees the other.

use std::sync::{Arc, Weak};

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, fence_after_rmw};

/// How many submissions of a group are in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicU32);

impl InFlight {
    /// One more submission is about to use the group's blocks: check each with [`Turn::check_free`] afterwards. True for the first.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        // SeqCst, with the fence: pairs with that in `Turn::take`, as the module's text says.
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        fence_after_rmw();
        before == 0
    }

    /// The submission is over. True for the last.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        // Release: pairs with the load in `any`, so the host sees what the completed work wrote, and with the acquire here: the last
        // one may free what the others have used.
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn any(&self) -> bool {
        // Acquire: pairs with `leave`. SeqCst: see `enter`.
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// The host alone has the block.
pub(crate) const WRITER: u32 = u32::MAX;
/// Host readers share the block.
pub(crate) const READERS: u32 = 1 << 31;

/// Why the block is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The host has it.
    ByHost,
    /// Work in flight has it.
    ByWork,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Turn {
    /// 0 nobody, `WRITER` the host exclusively, `READERS` + n shared by n host readers, else n submissions that are counted here.
    users: AtomicU32,
    /// The groups that use the block.
    groups: Mutex<Vec<Weak<InFlight>>>,
}

impl Turn {
    /// One more submission uses the block, counted here. To be returned with [`Turn::leave`] when the work is complete.
    pub(crate) fn enter(&self) -> Result<(), Taken> {
        // Acquire: pairs with the release in `give_back`, so the kernel's packet is written after the host's data.
        let entered = self
            .users
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n < READERS - 1).then_some(n + 1));
        entered.map(drop).map_err(|_| Taken::ByHost)
    }

    pub(crate) fn leave(&self) {
        // Release: pairs with the acquire in `take`, so the host sees what the completed work wrote.
        self.users.fetch_sub(1, Ordering::Release);
    }

    /// From now on the group's submissions are users of the block.
    pub(crate) fn add_group(&self, group: &Arc<InFlight>) {
        let mut groups = self.groups.lock().expect("no panic while it is held");
        groups.retain(|group| group.strong_count() > 0);
        groups.push(Arc::downgrade(group));
    }

    /// For a submission of a group, after [`InFlight::enter`]: whether the host does not have the block.
    #[inline]
    pub(crate) fn check_free(&self) -> Result<(), Taken> {
        // SeqCst: see `InFlight::enter`. Acquire: pairs with the release in `give_back`, as in `enter`.
        if self.users.load(Ordering::SeqCst) >= READERS { Err(Taken::ByHost) } else { Ok(()) }
    }

    /// Gives the block to the host: exclusively (`WRITER`) or shared with other host readers (`READERS`). To be returned with
    /// [`Turn::give_back`].
    pub(crate) fn take(&self, kind: u32) -> Result<(), Taken> {
        // Looked at before as well as after: while work is in flight a host that is refused must not get in the way of submissions.
        if self.is_in_flight() {
            return Err(Taken::ByWork);
        }
        // Acquire: pairs with the release in `leave` and `give_back`. SeqCst: see `InFlight::enter`.
        let taken = self.users.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| match (n, kind) {
            (0, WRITER) => Some(WRITER),
            (0, _) => Some(READERS + 1),
            (n, READERS) if n > READERS && n < WRITER - 1 => Some(n + 1),
            _ => None,
        });
        taken.map_err(|n| if n > READERS { Taken::ByHost } else { Taken::ByWork })?;
        fence_after_rmw();
        if self.is_in_flight() {
            self.give_back();
            return Err(Taken::ByWork);
        }
        Ok(())
    }

    fn is_in_flight(&self) -> bool {
        let groups = self.groups.lock().expect("no panic while it is held");
        groups.iter().filter_map(Weak::upgrade).any(|group| group.any())
    }

    /// The host is done.
    pub(crate) fn give_back(&self) {
        // Release: pairs with the acquire of the next user. Only the host changes the word while it has the block.
        let _ = self.users.fetch_update(Ordering::Release, Ordering::Relaxed, |n| {
            Some(if n == WRITER || n == READERS + 1 { 0 } else { n - 1 })
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_work_take_turns() {
        let (turn, group) = (Turn::default(), Arc::new(InFlight::default()));
        turn.add_group(&group);
        assert_eq!(turn.enter(), Ok(()));
        assert_eq!(turn.take(READERS), Err(Taken::ByWork));
        turn.leave();
        group.enter();
        assert_eq!((turn.check_free(), turn.take(WRITER)), (Ok(()), Err(Taken::ByWork)));
        group.leave();
        assert_eq!((turn.take(READERS), turn.take(READERS)), (Ok(()), Ok(())));
        assert_eq!((turn.take(WRITER), turn.enter()), (Err(Taken::ByHost), Err(Taken::ByHost)));
        turn.give_back();
        assert_eq!(turn.check_free(), Err(Taken::ByHost), "one reader is left");
        turn.give_back();
        assert_eq!((turn.take(WRITER), turn.take(READERS)), (Ok(()), Err(Taken::ByHost)));
        turn.give_back();
        assert_eq!((turn.enter(), turn.check_free()), (Ok(()), Ok(())));
    }

    #[test]
    fn a_host_that_is_refused_does_not_get_in_the_way() {
        let (turn, group) = (Turn::default(), Arc::new(InFlight::default()));
        turn.add_group(&group);
        group.enter();
        assert_eq!(turn.take(WRITER), Err(Taken::ByWork));
        assert_eq!(turn.users.load(Ordering::Relaxed), 0);
        drop(group);
        assert_eq!(turn.take(WRITER), Ok(()), "a group that is gone counts for nothing");
    }
}
