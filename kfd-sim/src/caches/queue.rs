//! The packets of one queue and the caches: acquires before a packet runs, releases when it completes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::dispatch::{DispatchCache, Stores};
use super::l2::{L2, View};
use crate::memory::AddressSpace;

/// Fence scope of a packet header: the other CUs of the agent.
const AGENT: u8 = 1;
/// Fence scope of a packet header: host, DMA engines, other agents. 3 is reserved and taken for this.
const SYSTEM: u8 = 2;
/// Pages of unreleased stores that a queue holds back (32 MiB); beyond that the oldest become visible.
const MOST_PAGES: usize = 8192;

/// See the module's description.
#[derive(Default)]
pub(crate) struct QueueCache {
    /// What the queue's last acquire saw.
    view: Option<Arc<View>>,
    /// Stores of completed dispatches that were not released, oldest first, with their number.
    held: VecDeque<(u64, Stores)>,
    /// Dispatches completed so far.
    completed: u64,
}

impl QueueCache {
    /// A new queue sees what its agent sees now.
    pub fn new(l2: Option<&mut L2>) -> Self {
        Self { view: l2.map(L2::view), ..Self::default() }
    }

    /// The acquire fence of a packet that runs now.
    pub fn acquire(&mut self, l2: &mut L2, space: &AddressSpace, scope: u8) {
        if scope >= SYSTEM {
            l2.invalidate(space);
        }
        if scope >= AGENT || self.view.is_none() {
            self.view = Some(l2.view());
        }
    }

    /// What a dispatch that is launched now sees.
    pub fn launch(&mut self, l2: &mut L2) -> DispatchCache {
        let view = self.view.get_or_insert_with(|| l2.view()).clone();
        DispatchCache::new(l2, view)
    }

    /// A mark for [`QueueCache::release`]: what has completed when a packet starts is ordered before it.
    pub fn mark(&self) -> u64 {
        self.completed
    }

    /// The release fence of a packet that completes: covers its own stores and those of dispatches that had completed when
    /// it started.
    pub fn release(
        &mut self,
        l2: &mut L2,
        space: &AddressSpace,
        own: Option<DispatchCache>,
        mark: u64,
        scope: u8,
    ) {
        self.completed += 1;
        let number = self.completed;
        let own = own.map(DispatchCache::into_stores).filter(|stores| stores.pages() > 0);
        self.held.extend(own.map(|stores| (number, stores)));
        if scope >= AGENT {
            self.held.retain(|(held, stores)| {
                let covered = *held <= mark || *held == number;
                if covered {
                    stores.commit(l2, space);
                }
                !covered
            });
        }
        while self.held.iter().map(|(_, stores)| stores.pages()).sum::<usize>() > MOST_PAGES {
            let (_, stores) = self.held.pop_front().expect("it holds pages");
            stores.commit(l2, space);
        }
        if scope >= SYSTEM {
            l2.write_back(space);
        }
    }

    /// The model is switched off: everything becomes visible.
    pub fn give_up(&mut self, l2: &mut L2, space: &AddressSpace) {
        for (_, stores) in self.held.drain(..) {
            stores.commit(l2, space);
        }
        self.view = None;
    }
}
