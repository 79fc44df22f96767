//! GPU page tables: the only way in which anything inside the simulated GPU reaches memory.
//!
//! A virtual address is valid from MAP_MEMORY_TO_GPU until UNMAP; everything else is a GPU fault. Any thread may call
//! anything here. Spans may be cached as long as [`AddressSpace::generation`] has not moved.

use crate::guard::{self, Inside, Lost};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

/// What a reader or writer inside the GPU wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load, or a read by the command processor.
    Read,
    /// Store.
    Write,
    /// Read-modify-write.
    Atomic,
    /// Instruction fetch.
    Execute,
}

/// What memory a mapping leads to, as the GPU's caches treat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// The GPU's own memory: cached in its L2.
    Vram,
    /// Memory of the host.
    Host,
    /// Doorbells and registers: never cached.
    Io,
}

/// A contiguous range of GPU virtual addresses backed by host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First GPU virtual address.
    pub va: u64,
    /// Bytes.
    pub len: u64,
    /// Host address of the first byte.
    pub host: *mut u8,
    /// What it leads to.
    pub memory: MemoryKind,
    /// Whether the GPU may write.
    pub writable: bool,
    /// Whether the GPU may fetch instructions.
    pub executable: bool,
}

// SAFETY: a Span is an address range; whoever dereferences `host` states why that is sound at that place.
unsafe impl Send for Span {}
// SAFETY: as for Send; the fields are plain values.
unsafe impl Sync for Span {}

impl Span {
    /// Whether `[va, va + len)` lies inside.
    pub fn contains(&self, va: u64, len: u64) -> bool {
        va >= self.va && va.checked_add(len).is_some_and(|end| end <= self.va + self.len)
    }

    /// Host pointer of `va`, which must lie inside.
    pub fn at(&self, va: u64) -> *mut u8 {
        debug_assert!(self.contains(va, 0));
        self.host.wrapping_add((va - self.va) as usize)
    }
}

/// Why an access faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCause {
    /// No page there.
    NotMapped,
    /// The page forbids this access.
    NotPermitted,
}

/// A GPU memory fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GPU memory fault: {access:?} of {len} bytes at {va:#x}: {cause:?}")]
pub struct MemoryFault {
    /// Faulting virtual address.
    pub va: u64,
    /// Bytes of the access.
    pub len: u64,
    /// What was attempted.
    pub access: Access,
    /// Why it failed.
    pub cause: FaultCause,
}

/// The page tables of one process on one GPU.
#[derive(Debug, Default)]
pub struct AddressSpace {
    spans: RwLock<BTreeMap<u64, Span>>,
    generation: AtomicU64,
    /// Whether removals are listed.
    listing: AtomicBool,
    removed: Mutex<Vec<(u64, u64)>>,
    /// Host memory that its owner has taken away.
    lost: Lost,
}

impl AddressSpace {
    /// An empty address space: every access faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps a span. Ranges that it overlaps are replaced where they overlap.
    ///
    /// # Safety
    /// `span.host` must be valid for reads (and writes, if writable) of `span.len` bytes until the range is unmapped
    /// and the unmapping has been noticed through [`AddressSpace::generation`].
    pub unsafe fn map(&self, span: Span) {
        self.unmap(span.va, span.len);
        self.spans.write().unwrap().insert(span.va, span);
    }

    /// Removes `[va, va + len)`, splitting spans that reach beyond it. Returns whether anything was mapped there.
    pub fn unmap(&self, va: u64, len: u64) -> bool {
        let end = va.saturating_add(len);
        let mut spans = self.spans.write().unwrap();
        let hit: Vec<Span> =
            spans.range(..end).rev().map(|(_, s)| *s).take_while(|s| s.va + s.len > va).collect();
        for span in &hit {
            spans.remove(&span.va);
            if span.va < va {
                spans.insert(span.va, Span { len: va - span.va, ..*span });
            }
            if span.va + span.len > end {
                spans.insert(
                    end,
                    Span { va: end, len: span.va + span.len - end, host: span.at(end), ..*span },
                );
            }
        }
        // Relaxed: switched on before anything is cached, by the thread that caches.
        if self.listing.load(Ordering::Relaxed) {
            self.removed.lock().unwrap().push((va, len));
        }
        // Release: pairs with the acquire load in `generation`; a reader that sees the new value sees the removal.
        self.generation.fetch_add(1, Ordering::Release);
        !hit.is_empty()
    }

    /// The span that holds `[va, va + len)`, if all of it is mapped there and permits `access`.
    pub fn translate(&self, va: u64, len: u64, access: Access) -> Result<Span, MemoryFault> {
        let fault = |cause| MemoryFault { va, len, access, cause };
        let spans = self.spans.read().unwrap();
        if self.lost.any() {
            // Whoever is running stops here; the command processor then finds out what is missing.
            return Err(fault(FaultCause::NotMapped));
        }
        let (_, span) = spans.range(..=va).next_back().ok_or(fault(FaultCause::NotMapped))?;
        if !span.contains(va, len) {
            return Err(fault(FaultCause::NotMapped));
        }
        let permitted = match access {
            Access::Read => true,
            Access::Write | Access::Atomic => span.writable,
            Access::Execute => span.executable,
        };
        if permitted { Ok(*span) } else { Err(fault(FaultCause::NotPermitted)) }
    }

    /// This thread executes packets in this address space: memory that its owner has taken away becomes a memory fault of the
    /// GPU (see `guard.rs`).
    pub(crate) fn enter(&self) -> Inside<'_> {
        guard::enter(&self.lost, &self.generation)
    }

    /// If host memory was found missing since the last call: takes its pages out of the page tables, and says which access
    /// came first. No thread may be executing packets.
    pub(crate) fn take_lost(&self) -> Option<MemoryFault> {
        if !self.lost.any() {
            return None;
        }
        let (address, pages) = self.lost.list();
        let spans: Vec<Span> = self.spans.read().unwrap().values().copied().collect();
        let at = |host: usize| {
            let inside = move |s: &&Span| (s.host as usize..s.host as usize + s.len as usize).contains(&host);
            spans.iter().filter(inside).map(move |s| s.va + (host - s.host as usize) as u64)
        };
        let va = at(address).next();
        for page in pages {
            for va in at(page) {
                self.unmap(va, 4096);
            }
        }
        self.lost.undo();
        // Not the GPU's memory: a bug of the simulator, which must not be taken for the program's.
        let va = va.unwrap_or_else(|| panic!("the simulator accessed {address:#x}, which is not mapped"));
        Some(MemoryFault { va, len: 1, access: Access::Read, cause: FaultCause::NotMapped })
    }

    /// From now on [`AddressSpace::take_removed`] lists what is removed, or no more.
    pub(crate) fn list_removed(&self, on: bool) {
        // Relaxed: as in `unmap`.
        self.listing.store(on, Ordering::Relaxed);
        self.removed.lock().unwrap().clear();
    }

    /// Ranges removed or replaced since the last call.
    pub(crate) fn take_removed(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.removed.lock().unwrap())
    }

    /// Moves whenever a mapping changes: cached spans are stale then.
    pub fn generation(&self) -> u64 {
        // Acquire: pairs with the release in `unmap`.
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(va: u64, len: u64) -> Span {
        Span {
            va,
            len,
            host: (0x1000_0000 + va) as *mut u8,
            memory: MemoryKind::Host,
            writable: true,
            executable: false,
        }
    }

    #[test]
    fn unmapping_the_middle_leaves_both_ends() {
        let space = AddressSpace::new();
        // SAFETY: nothing dereferences the span in this test.
        unsafe { space.map(span(0x1000, 0x3000)) };
        assert!(space.unmap(0x2000, 0x1000));
        assert!(space.translate(0x1ff8, 8, Access::Read).is_ok());
        assert_eq!(space.translate(0x1ffc, 8, Access::Read).unwrap_err().cause, FaultCause::NotMapped);
        assert!(space.translate(0x2000, 1, Access::Read).is_err());
        assert_eq!(space.translate(0x3000, 8, Access::Write).unwrap().at(0x3000) as u64, 0x1000_3000);
        assert_eq!(space.translate(0x3000, 8, Access::Execute).unwrap_err().cause, FaultCause::NotPermitted);
    }

    #[test]
    fn remapping_replaces_and_moves_the_generation() {
        let space = AddressSpace::new();
        let before = space.generation();
        // SAFETY: nothing dereferences the spans in this test.
        unsafe { space.map(span(0x1000, 0x1000)) };
        // SAFETY: as above.
        unsafe { space.map(Span { host: 0x9000 as *mut u8, ..span(0x1000, 0x1000) }) };
        assert_eq!(space.translate(0x1000, 8, Access::Read).unwrap().host as u64, 0x9000);
        assert!(space.generation() > before);
    }
}
