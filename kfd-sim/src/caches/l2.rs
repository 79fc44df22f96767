//! The GPU's L2 as the strict model has it: what has been released to the agent and not yet to the system, what it remembers
//! of memory, and what its pages held before, for those who may not see the newest yet.
//!
//! Command processor's thread only. Launches and *commits*, which make a dispatch's stores visible to the agent, are numbered
//! in one sequence; a [`View`] has the number of the newest commit that it may see. Pages are kept by virtual address and
//! forgotten when unmapped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};

use super::model::MemoryModel;
use super::page::{Mask, PAGE, Page, copy_masked, page_of};
use crate::memory::{Access, AddressSpace, MemoryKind};

/// Most pages remembered: 64 MiB. Beyond that everything is written back and forgotten, as a full cache would.
pub(super) const MOST_PAGES: usize = 16_384;

/// What one agent acquire saw, and everything that was read since: the L1 and scalar caches of the dispatches that
/// it covers. Grows only; whoever finds it too large starts another one with the same number.
pub(crate) struct View {
    /// Newest commit that may be seen.
    pub commit: u64,
    pub pages: Mutex<HashMap<u64, Arc<Page>>>,
    /// Says that somebody uses a view with this number.
    _number: Arc<()>,
}

/// A page that can be cached.
pub(crate) struct Target {
    pub host: *mut u8,
    pub vram: bool,
    pub writable: bool,
}

/// The page's memory, unless it cannot be cached: not (wholly) in one mapping, or registers.
pub(crate) fn target(space: &AddressSpace, page: u64) -> Option<Target> {
    let span = space.translate(page, PAGE, Access::Read).ok()?;
    let host = span.at(page);
    let cached = span.memory != MemoryKind::Io && (host as usize).is_multiple_of(8);
    cached.then(|| Target { host, vram: span.memory == MemoryKind::Vram, writable: span.writable })
}

struct Line {
    /// Newest bytes.
    now: Arc<Page>,
    /// Whether the bytes that are not dirty may be used. Those of host memory never are: the L2 does not keep it.
    fresh: bool,
    /// Bytes newer than memory.
    dirty: Mask,
    /// What was there before commits that not everybody may see, in their order.
    older: Vec<Older>,
}

/// A page before a commit.
struct Older {
    /// Number of the commit.
    commit: u64,
    /// When the dispatch was launched whose stores were committed.
    launch: u64,
    page: Arc<Page>,
}

/// Who looks: when it was launched, and what its view may see.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub launch: u64,
    pub view: u64,
}

impl Older {
    /// Whether this is what the reader sees. A dispatch that was launched later is no concern of the reader's acquire: its stores
    /// are seen as soon as they are there, as a cache miss would.
    fn serves(&self, reader: Reader) -> bool {
        reader.view < self.commit && self.launch <= reader.launch
    }
}

/// See the module's description.
#[derive(Default)]
pub(crate) struct L2 {
    /// Whether VRAM written behind the GPU's back counts as cached before.
    strict: bool,
    /// The newest number.
    number: u64,
    pages: HashMap<u64, Line>,
    /// Pages whose clean bytes are kept: everything that a system acquire has to look at.
    kept: Vec<u64>,
    dirty: HashSet<u64>,
    /// Views that may be in use, and how many of them are looked through for those that are not.
    views: Vec<Weak<View>>,
    most_views: usize,
    /// Their numbers. Those at both ends are in use, some between may be no more.
    numbers: BTreeMap<u64, Weak<()>>,
}

impl L2 {
    /// How strict it is: not [`MemoryModel::Coherent`].
    pub fn set_model(&mut self, model: MemoryModel) {
        self.strict = model == MemoryModel::Strict;
    }

    /// What may be seen from now on.
    pub fn view(&mut self) -> Arc<View> {
        self.view_at(self.number)
    }

    /// A number for a launch.
    pub fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// An empty view with another one's number.
    pub fn view_at(&mut self, commit: u64) -> Arc<View> {
        if self.views.len() >= self.most_views {
            self.views.retain(|view| view.strong_count() > 0);
            self.most_views = 256 + 2 * self.views.len();
        }
        let number = self.numbers.get(&commit).and_then(Weak::upgrade).unwrap_or_default();
        self.numbers.insert(commit, Arc::downgrade(&number));
        let view = Arc::new(View { commit, pages: Mutex::default(), _number: number });
        self.views.push(Arc::downgrade(&view));
        view
    }

    /// Numbers of the oldest and the newest view in use.
    fn views_in_use(&mut self) -> Option<(u64, u64)> {
        while self.numbers.first_entry().is_some_and(|number| number.get().strong_count() == 0) {
            self.numbers.pop_first();
        }
        while self.numbers.last_entry().is_some_and(|number| number.get().strong_count() == 0) {
            self.numbers.pop_last();
        }
        Some((*self.numbers.first_key_value()?.0, *self.numbers.last_key_value()?.0))
    }

    /// Pages remembered.
    #[cfg(test)]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Forgets what was unmapped since the last call. Bytes that were not written back are lost with their mapping.
    pub fn sync(&mut self, space: &AddressSpace) {
        for (va, len) in space.take_removed() {
            let end = va.saturating_add(len);
            let gone = |page: u64| page < end && page + PAGE > va;
            self.pages.retain(|&page, _| !gone(page));
            self.dirty.retain(|&page| !gone(page));
            for view in self.views.iter().filter_map(Weak::upgrade) {
                view.pages.lock().expect("one thread at a time").retain(|&page, _| !gone(page));
            }
        }
    }

    /// The page's line with its newest bytes.
    fn line(&mut self, page: u64, target: &Target) -> &mut Line {
        if self.pages.len() >= MOST_PAGES && !self.pages.contains_key(&page) {
            self.pages.retain(|_, line| !line.dirty.is_empty() || !line.older.is_empty());
        }
        let line = self.pages.entry(page).or_insert_with(|| {
            // SAFETY: the page was translated by the caller just now, and its alignment checked.
            let now = Arc::new(unsafe { Page::copy_from(target.host) });
            Line { now, fresh: false, dirty: Mask::empty(), older: Vec::new() }
        });
        if !line.fresh {
            // SAFETY: as above.
            let memory = unsafe { Page::copy_from(target.host) };
            memory.merge(&line.now, &line.dirty);
            line.now = Arc::new(memory);
            if target.vram {
                line.fresh = true;
                self.kept.push(page);
            }
        }
        line
    }

    /// The page as the reader may see it.
    pub fn fetch(&mut self, page: u64, target: &Target, reader: Reader) -> Arc<Page> {
        if !target.vram && !self.pages.contains_key(&page) {
            // SAFETY: translated by the caller just now, and its alignment checked.
            return Arc::new(unsafe { Page::copy_from(target.host) });
        }
        let line = self.line(page, target);
        let older = line.older.iter().find(|older| older.serves(reader));
        older.map_or(&line.now, |older| &older.page).clone()
    }

    /// Copies the newest bytes of a page.
    pub fn reload(&mut self, page: u64, target: &Target, into: &Page, mask: &Mask) {
        if target.vram {
            into.merge(&self.line(page, target).now, mask);
            return;
        }
        // SAFETY: translated by the caller just now, and its alignment checked.
        unsafe { copy_masked(into.bytes(), target.host, mask) };
        if let Some(line) = self.pages.get(&page) {
            into.merge(&line.now, &mask.and(&line.dirty));
        }
    }

    /// Makes stores of the dispatch launched at `launch` visible to the agent. With `through`, those to host memory go on to
    /// memory.
    pub fn commit<'p>(
        &mut self,
        space: &AddressSpace,
        launch: u64,
        stores: impl Iterator<Item = (u64, &'p Page, &'p Mask)>,
        through: bool,
    ) {
        self.sync(space);
        let commit = self.next();
        let (oldest, newest) = self.views_in_use().unwrap_or((commit, commit));
        for (page, bytes, mask) in stores.filter(|(_, _, mask)| !mask.is_empty()) {
            let Some(target) = target(space, page).filter(|target| target.writable) else { continue };
            if through && !target.vram {
                // SAFETY: `target` found the page mapped, writable and aligned just now.
                unsafe { copy_masked(target.host, bytes.bytes(), mask) };
                if let Some(line) = self.pages.get_mut(&page) {
                    line.dirty.remove(mask);
                }
                continue;
            }
            let line = self.line(page, &target);
            line.older.drain(..line.older.partition_point(|older| older.commit <= oldest));
            // Whoever may not see this commit goes on seeing what was there, unless an older image serves all of them.
            let served = line.older.iter().any(|older| older.launch <= launch && newest < older.commit);
            if newest < commit && !served {
                line.older.push(Older { commit, launch, page: line.now.clone() });
            }
            Arc::make_mut(&mut line.now).merge(bytes, mask);
            line.dirty.add(mask);
            self.dirty.insert(page);
        }
        if self.pages.len() >= MOST_PAGES {
            self.write_back(space);
            self.pages.clear();
            self.kept.clear();
        }
    }

    /// System release: memory gets everything that was released to the agent.
    pub fn write_back(&mut self, space: &AddressSpace) {
        self.sync(space);
        for page in std::mem::take(&mut self.dirty) {
            let Some(line) = self.pages.get_mut(&page) else { continue };
            let target = target(space, page).filter(|target| target.writable);
            if let Some(target) = &target {
                // SAFETY: `target` found the page mapped, writable and aligned just now.
                unsafe { copy_masked(target.host, line.now.bytes(), &line.dirty) };
            }
            line.dirty.clear();
            if target.is_none_or(|target| !target.vram) && line.older.is_empty() {
                self.pages.remove(&page);
            }
        }
    }

    /// System acquire: clean bytes are read again from memory.
    pub fn invalidate(&mut self, space: &AddressSpace) {
        self.sync(space);
        for page in std::mem::take(&mut self.kept) {
            let Some(line) = self.pages.get_mut(&page) else { continue };
            line.fresh = false;
            if line.dirty.is_empty() && line.older.is_empty() {
                self.pages.remove(&page);
            }
        }
    }

    /// Read-modify-write of 4 or 8 aligned bytes of VRAM. Returns the old value.
    pub fn update(&mut self, va: u64, bits: u32, target: &Target, f: impl FnOnce(u64) -> u64) -> u64 {
        let (page, at, len) = (page_of(va), va % PAGE, u64::from(bits / 8));
        let line = self.line(page, target);
        let bytes = Arc::make_mut(&mut line.now).bytes().wrapping_add(at as usize);
        // SAFETY: inside the page, which nobody else has now; aligned to its length by the caller's check.
        let old = unsafe {
            if bits == 32 {
                let old = bytes.cast::<u32>().read();
                bytes.cast::<u32>().write(f(u64::from(old)) as u32);
                u64::from(old)
            } else {
                let old = bytes.cast::<u64>().read();
                bytes.cast::<u64>().write(f(old));
                old
            }
        };
        line.dirty.set(at, len);
        self.dirty.insert(page);
        old
    }

    /// Bytes of host memory that were released to the agent only go to memory now, because somebody updates them there.
    pub fn write_back_range(&mut self, va: u64, len: u64, target: &Target) {
        let page = page_of(va);
        if let Some(line) = self.pages.get_mut(&page) {
            let mask = line.dirty.and(&Mask::range(va % PAGE, len));
            // SAFETY: the caller's target is mapped, writable and aligned.
            unsafe { copy_masked(target.host, line.now.bytes(), &mask) };
            line.dirty.remove(&mask);
        }
    }

    /// A DMA engine is about to write `[va, va + len)` in memory: under the strict model all VRAM counts as cached, and stays as
    /// it was until a system acquire.
    pub fn keep_old(&mut self, space: &AddressSpace, va: u64, len: u64) {
        if !self.strict {
            return;
        }
        self.sync(space);
        let pages = (page_of(va)..va.saturating_add(len)).step_by(PAGE as usize);
        for page in pages.take(MOST_PAGES / 4) {
            if let Some(target) = target(space, page).filter(|target| target.vram) {
                self.line(page, &target);
            }
        }
    }
}
