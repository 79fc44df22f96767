//! What one dispatch sees: its own stores, and for the rest the view that it was launched with.
//!
//! Workgroups of a dispatch see each other's stores at once: the model's subject is what packets order. A small table of
//! pages in use makes most accesses as fast as without the model.

use std::collections::HashMap;
use std::sync::Arc;

use super::l2::{L2, Reader, Target, View, target};
use super::page::{Mask, PAGE, Page, page_of};
use super::races::Footprint;
use crate::memory::{Access, AddressSpace, MemoryFault};

/// Entries of the table of pages in use.
const ENTRIES: usize = 256;
/// Most pages of one view or of one dispatch's stores: 32 MiB.
const MOST_PAGES: usize = 8192;

/// A page of which the dispatch has a copy of its own.
pub(crate) struct Written {
    page: Page,
    /// Bytes stored and not yet released.
    dirty: Mask,
    /// Listed in `touched`.
    listed: bool,
}

/// A page in use.
#[derive(Clone, Copy)]
struct Entry {
    page: u64,
    bytes: *mut u8,
    /// Where stores are noted; null: not to be stored to yet.
    dirty: *mut Mask,
}

const NO_ENTRY: Entry = Entry { page: u64::MAX, bytes: std::ptr::null_mut(), dirty: std::ptr::null_mut() };

/// Stores of a dispatch that has ended, which nobody else sees yet.
pub(crate) struct Stores {
    launch: u64,
    written: HashMap<u64, Box<Written>>,
}

impl Stores {
    /// Pages stored to.
    pub fn pages(&self) -> usize {
        self.written.len()
    }

    /// Makes them visible to the agent.
    pub fn commit(&self, l2: &mut L2, space: &AddressSpace) {
        let stores = self.written.iter().map(|(&page, written)| (page, &written.page, &written.dirty));
        l2.commit(space, self.launch, stores, false);
    }
}

/// See the module's description.
pub(crate) struct DispatchCache {
    /// When it was launched, in the L2's sequence.
    launch: u64,
    view: Arc<View>,
    written: HashMap<u64, Box<Written>>,
    /// Pages that may have become dirty since they were last released.
    touched: Vec<u64>,
    table: Box<[Entry; ENTRIES]>,
    /// Of the mappings that the table belongs to.
    generation: u64,
    /// Race detection: what it touched so far.
    footprint: Option<Footprint>,
}

// SAFETY: the pointers of the table lead into pages owned by `written` and `view`, and are followed only by whoever has the
// whole value.
unsafe impl Send for DispatchCache {}

fn slot(page: u64) -> usize {
    let number = page / PAGE;
    // Large powers of two between pages are common.
    (number ^ number >> 8 ^ number >> 16) as usize % ENTRIES
}

impl DispatchCache {
    /// Nothing stored yet.
    pub fn new(l2: &mut L2, view: Arc<View>) -> Self {
        let launch = l2.next();
        let table = Box::new([NO_ENTRY; ENTRIES]);
        let (written, touched) = Default::default();
        Self { launch, view, written, touched, table, generation: 0, footprint: None }
    }

    /// From now on notes what it touches.
    pub fn track(&mut self) {
        self.footprint = Some(Footprint::default());
    }

    /// Whether every access must be told on its own.
    #[inline]
    pub fn tracks(&self) -> bool {
        self.footprint.is_some()
    }

    /// What it touched, if that was noted.
    pub fn take_footprint(&mut self) -> Option<Footprint> {
        self.footprint.take()
    }

    /// Mappings may have changed: what is gone must not be used.
    pub fn refresh(&mut self, l2: &mut L2, space: &AddressSpace) {
        let generation = space.generation();
        if generation != self.generation {
            self.generation = generation;
            l2.sync(space);
            self.table.fill(NO_ENTRY);
            self.written.retain(|&page, _| target(space, page).is_some());
        }
    }

    /// Where the dispatch's bytes of `[va, va + len)` are, which must lie in one page; none if they are not cached. A
    /// store's bytes are noted as written.
    #[inline]
    pub fn reach(
        &mut self,
        l2: &mut L2,
        space: &AddressSpace,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<Option<*mut u8>, MemoryFault> {
        let store = access != Access::Read;
        if let Some(footprint) = &mut self.footprint {
            footprint.note(va, len, access);
        }
        let Some((bytes, dirty)) = self.block(l2, space, va, len, access)? else { return Ok(None) };
        if store {
            // SAFETY: the mask lies in a box of `written`, which nobody else refers to now.
            unsafe { (*dirty).set(va % PAGE, len) };
        }
        Ok(Some(bytes))
    }

    /// As [`DispatchCache::reach`], but the caller notes what it stores in the mask.
    #[inline]
    pub fn block(
        &mut self,
        l2: &mut L2,
        space: &AddressSpace,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<Option<(*mut u8, *mut Mask)>, MemoryFault> {
        let entry = self.table[slot(page_of(va))];
        if entry.page == page_of(va) && (access == Access::Read || !entry.dirty.is_null()) {
            return Ok(Some((entry.bytes.wrapping_add((va % PAGE) as usize), entry.dirty)));
        }
        self.find(l2, space, va, len, access)
    }

    #[cold]
    fn find(
        &mut self,
        l2: &mut L2,
        space: &AddressSpace,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<Option<(*mut u8, *mut Mask)>, MemoryFault> {
        space.translate(va, len, access)?;
        let page = page_of(va);
        let Some(target) = target(space, page) else { return Ok(None) };
        let entry = if access == Access::Read {
            match self.written.get_mut(&page) {
                // Null: the first store must come here, to be listed.
                Some(written) => Entry { page, bytes: written.page.bytes(), dirty: std::ptr::null_mut() },
                None => {
                    Entry { page, bytes: self.read(l2, page, &target).bytes(), dirty: std::ptr::null_mut() }
                }
            }
        } else {
            self.make_room(l2, space, page);
            let written = self.own(l2, page, &target);
            let listed = std::mem::replace(&mut written.listed, true);
            let entry = Entry { page, bytes: written.page.bytes(), dirty: &raw mut written.dirty };
            if !listed {
                self.touched.push(page);
            }
            entry
        };
        self.table[slot(page)] = entry;
        Ok(Some((entry.bytes.wrapping_add((va % PAGE) as usize), entry.dirty)))
    }

    /// The page as the view has it.
    fn read(&mut self, l2: &mut L2, page: u64, target: &Target) -> Arc<Page> {
        let known = {
            let pages = self.view.pages.lock().expect("one thread at a time");
            if pages.len() < MOST_PAGES { Ok(pages.get(&page).cloned()) } else { Err(()) }
        };
        if known.is_err() {
            // Other dispatches may still use the old one.
            self.view = l2.view_at(self.view.commit);
            self.table.fill(NO_ENTRY);
        }
        if let Ok(Some(known)) = known {
            return known;
        }
        let read = l2.fetch(page, target, Reader { launch: self.launch, view: self.view.commit });
        self.view.pages.lock().expect("one thread at a time").insert(page, read.clone());
        read
    }

    /// Lets everything go to the L2 when there is no room for one more page.
    fn make_room(&mut self, l2: &mut L2, space: &AddressSpace, page: u64) {
        if self.written.len() >= MOST_PAGES && !self.written.contains_key(&page) {
            self.drain(l2, space);
            self.written.clear();
            self.table.fill(NO_ENTRY);
        }
    }

    /// The dispatch's own copy of a page, made if need be.
    fn own(&mut self, l2: &mut L2, page: u64, target: &Target) -> &mut Written {
        if !self.written.contains_key(&page) {
            let read = self.read(l2, page, target);
            self.table[slot(page)] = NO_ENTRY;
            let written = Written { page: Page::clone(&read), dirty: Mask::empty(), listed: false };
            self.written.insert(page, Box::new(written));
        }
        self.written.get_mut(&page).expect("just made")
    }

    /// A wave has waited for its stores, or they are old: the dispatch's stores are in the L2, or in host memory.
    pub fn drain(&mut self, l2: &mut L2, space: &AddressSpace) {
        if self.touched.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let stores = touched
            .iter()
            .filter_map(|page| self.written.get(page).map(|written| (*page, &written.page, &written.dirty)));
        l2.commit(space, self.launch, stores, true);
        for page in touched {
            if let Some(written) = self.written.get_mut(&page) {
                written.dirty.clear();
                written.listed = false;
            }
            let entry = &mut self.table[slot(page)];
            if entry.page == page {
                entry.dirty = std::ptr::null_mut();
            }
        }
    }

    /// An acquire by a kernel: what others have released is seen from now on.
    pub fn invalidate(&mut self, l2: &mut L2, space: &AddressSpace) {
        l2.sync(space);
        self.view = l2.view();
        self.table.fill(NO_ENTRY);
        self.written.retain(|_, written| !written.dirty.is_empty());
        for (&page, written) in &mut self.written {
            if let Some(target) = target(space, page) {
                l2.reload(page, &target, &written.page, &written.dirty.not());
            }
        }
    }

    /// A load that bypasses the L1 reads `[va, va + len)`: the dispatch's own copy gets the newest bytes.
    pub fn reload(&mut self, l2: &mut L2, space: &AddressSpace, va: u64, len: u64) {
        let end = va.saturating_add(len);
        for page in (page_of(va)..end).step_by(PAGE as usize) {
            let Some(target) = target(space, page) else { continue };
            let (from, to) = (va.max(page), end.min(page + PAGE));
            self.make_room(l2, space, page);
            let written = self.own(l2, page, &target);
            let mask = Mask::range(from - page, to - from).and(&written.dirty.not());
            l2.reload(page, &target, &written.page, &mask);
        }
    }

    /// Read-modify-write of aligned bytes where the agent (VRAM) or everybody (host memory) sees it; `memory` does the
    /// latter. None if they are not cached.
    pub fn atomic(
        &mut self,
        l2: &mut L2,
        space: &AddressSpace,
        (va, bits): (u64, u32),
        apply: impl Fn(u64) -> u64,
        memory: impl FnOnce(*mut u8) -> u64,
    ) -> Result<Option<u64>, MemoryFault> {
        let len = u64::from(bits / 8);
        space.translate(va, len, Access::Atomic)?;
        if let Some(footprint) = &mut self.footprint {
            footprint.note(va, len, Access::Atomic);
        }
        let (page, at) = (page_of(va), va % PAGE);
        let Some(target) = target(space, page) else { return Ok(None) };
        self.make_room(l2, space, page);
        let launch = self.launch;
        let written = self.own(l2, page, &target);
        let here = Mask::range(at, len);
        // Own stores to these bytes come first.
        let stored = written.dirty.and(&here);
        if !stored.is_empty() {
            l2.commit(space, launch, std::iter::once((page, &written.page, &stored)), true);
            written.dirty.remove(&here);
        }
        let old = if target.vram {
            l2.update(va, bits, &target, &apply)
        } else {
            l2.write_back_range(va, len, &target);
            memory(target.host.wrapping_add(at as usize))
        };
        let bytes = written.page.bytes().wrapping_add(at as usize);
        // SAFETY: inside the dispatch's own page, aligned to its length by the caller's check.
        unsafe {
            if bits == 32 {
                bytes.cast::<u32>().write(apply(old) as u32);
            } else {
                bytes.cast::<u64>().write(apply(old));
            }
        }
        Ok(Some(old))
    }

    /// The end of the dispatch: the stores that nobody else sees yet.
    pub fn into_stores(mut self) -> Stores {
        self.written.retain(|_, written| !written.dirty.is_empty());
        Stores { launch: self.launch, written: self.written }
    }
}

#[cfg(test)]
mod tests {
    use super::super::l2::MOST_PAGES as MOST_IN_L2;
    use super::*;
    use crate::memory::{MemoryKind, Span};

    #[test]
    fn a_dispatch_that_touches_more_than_fits_sees_its_stores_all_the_same() {
        const BASE: u64 = 1 << 32;
        let pages = (MOST_IN_L2 + MOST_PAGES / 2) as u64;
        let mut memory = vec![0u64; (pages * PAGE / 8) as usize];
        let space = AddressSpace::new();
        space.list_removed(true);
        let host = memory.as_mut_ptr().cast();
        let kind = MemoryKind::Vram;
        // SAFETY: the vector outlives the address space.
        unsafe {
            space.map(Span {
                va: BASE,
                len: pages * PAGE,
                host,
                memory: kind,
                writable: true,
                executable: false,
            })
        };
        let mut l2 = L2::default();
        let view = l2.view();
        let mut dispatch = DispatchCache::new(&mut l2, view);
        dispatch.refresh(&mut l2, &space);
        let mut at = |dispatch: &mut DispatchCache, page: u64, access| {
            let va = BASE + page * PAGE + page % 500 * 8;
            dispatch.reach(&mut l2, &space, va, 8, access).unwrap().expect("VRAM is cached").cast::<u64>()
        };
        for page in 0..pages {
            // SAFETY: 8 bytes of a cached page, aligned.
            unsafe { at(&mut dispatch, page, Access::Write).write(page + 1) };
            assert!(dispatch.written.len() <= MOST_PAGES && dispatch.touched.len() <= MOST_PAGES);
        }
        for page in 0..pages {
            // SAFETY: as above.
            assert_eq!(unsafe { at(&mut dispatch, page, Access::Read).read() }, page + 1);
            assert!(dispatch.view.pages.lock().unwrap().len() <= MOST_PAGES);
        }
        dispatch.drain(&mut l2, &space);
        assert!(l2.pages() <= MOST_IN_L2);
        l2.write_back(&space);
        let found = (0..pages).all(|page| memory[(page * PAGE / 8 + page % 500) as usize] == page + 1);
        assert!(found, "everything reaches memory");
    }
}
