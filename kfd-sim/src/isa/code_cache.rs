//! Decoded instructions by address, with their handlers: decoded once, checked against memory at every fetch.
//!
//! A fetch compares the instruction's words with what memory holds, so code that was overwritten without a change of the
//! mappings (a freed code object's memory used again) is never executed stale.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::decode::decode;
use super::exec::Handler;
use super::fault::ExecFault;
use super::inst::Inst;
use crate::memory::{Access, AddressSpace};

/// Bytes of code in a page of the cache.
const PAGE: u64 = 4096;

/// A decoded instruction and what runs it.
#[derive(Debug)]
pub(super) struct Decoded {
    pub inst: Inst,
    pub handler: Handler,
}

#[derive(Debug)]
struct Page {
    base: u64,
    /// Host address of the page's first byte; only `[low, high)` of the page is mapped.
    host: *const u8,
    low: u64,
    high: u64,
    insts: Vec<Option<Box<Decoded>>>,
}

/// Decoded instructions. One for each thread that runs workgroups.
#[derive(Debug, Default)]
pub struct CodeCache {
    generation: u64,
    index: HashMap<u64, usize>,
    pages: Vec<Page>,
    last: usize,
}

// SAFETY: the host pointers are only followed in `fetch`, under the conditions stated there, from whichever thread has
// the cache.
unsafe impl Send for CodeCache {}

impl CodeCache {
    /// Forgets everything decoded.
    pub fn invalidate(&mut self) {
        self.index.clear();
        self.pages.clear();
        self.last = 0;
    }

    /// The instruction at `pc`. `generation` is the address space's, checked by the caller just before.
    pub(super) fn fetch(
        &mut self,
        pc: u64,
        mem: &AddressSpace,
        generation: u64,
    ) -> Result<&Decoded, ExecFault> {
        if generation != self.generation {
            self.invalidate();
            self.generation = generation;
        }
        let base = pc & !(PAGE - 1);
        if self.pages.get(self.last).is_none_or(|page| page.base != base || pc < page.low || pc >= page.high)
        {
            self.last = self.find(pc, base, mem)?;
        }
        let page = &mut self.pages[self.last];
        let word = |at: u64| -> Option<u32> {
            (at >= page.low && at + 4 <= page.high).then(|| {
                // SAFETY: [low, high) was mapped when the page was opened, and stays valid until an unmapping is noticed
                // through the generation, which the caller has just compared; code is 4-byte aligned.
                // Relaxed: code is published to a queue's GPU by a packet, not by this load.
                unsafe { AtomicU32::from_ptr(page.host.add((at - base) as usize).cast_mut().cast()) }
                    .load(Ordering::Relaxed)
            })
        };
        let first = word(pc);
        let Some(first) = first else {
            return Err(illegal(pc, [0, 0], "instruction fetch across the end of a mapping".into()));
        };
        let slot = ((pc - base) / 4) as usize;
        let fresh = page.insts[slot].as_deref().is_some_and(|Decoded { inst, .. }| {
            inst.words[0] == first && (inst.size == 4 || word(pc + 4) == Some(inst.words[1]))
        });
        if !fresh {
            // The second word may lie on the next page.
            let second = word(pc + 4).or_else(|| read_word(mem, pc + 4));
            let words: &[u32] = &[first, second.unwrap_or(0)];
            let words = if second.is_some() { words } else { &words[..1] };
            let inst = decode(words)
                .map_err(|error| illegal(pc, [first, second.unwrap_or(0)], error.to_string()))?;
            if let Some(why) = inst.refused() {
                return Err(illegal(pc, inst.words, format!("{inst}: {why}")));
            }
            page.insts[slot] = Some(Box::new(Decoded { handler: Handler::of(&inst), inst }));
        }
        Ok(page.insts[slot].as_deref().expect("just decoded"))
    }

    /// Position of the page that holds `pc`.
    #[cold]
    fn find(&mut self, pc: u64, base: u64, mem: &AddressSpace) -> Result<usize, ExecFault> {
        if let Some(&at) = self.index.get(&base) {
            if pc < self.pages[at].low || pc >= self.pages[at].high {
                // Two mappings meet in this page.
                self.pages[at] = Self::open(pc, base, mem)?;
            }
            return Ok(at);
        }
        self.pages.push(Self::open(pc, base, mem)?);
        self.index.insert(base, self.pages.len() - 1);
        Ok(self.pages.len() - 1)
    }

    fn open(pc: u64, base: u64, mem: &AddressSpace) -> Result<Page, ExecFault> {
        if !pc.is_multiple_of(4) {
            return Err(illegal(pc, [0, 0], "program counter is not a multiple of 4".into()));
        }
        let span = mem
            .translate(pc, 4, Access::Execute)
            .map_err(|fault| ExecFault::Memory { address: pc, fault })?;
        if !(span.at(pc) as usize).is_multiple_of(4) {
            return Err(illegal(pc, [0, 0], "code is not aligned in host memory".into()));
        }
        let low = span.va.max(base);
        let high = (span.va + span.len).min(base + PAGE);
        // May lie before the mapping; `fetch` only reads [low, high).
        let host = span.host.wrapping_sub((span.va.wrapping_sub(base)) as usize).cast_const();
        Ok(Page { base, host, low, high, insts: (0..PAGE / 4).map(|_| None).collect() })
    }
}

/// Reads a word of code without the cache.
fn read_word(mem: &AddressSpace, va: u64) -> Option<u32> {
    let span = mem.translate(va, 4, Access::Execute).ok()?;
    let host = span.at(va);
    // SAFETY: `translate` just said that the word is mapped; alignment is that of the address, checked here.
    // Relaxed: as in `fetch`.
    (host as usize)
        .is_multiple_of(4)
        .then(|| unsafe { AtomicU32::from_ptr(host.cast()) }.load(Ordering::Relaxed))
}

/// An illegal instruction error.
pub fn illegal(address: u64, words: [u32; 2], text: String) -> ExecFault {
    ExecFault::IllegalInstruction { address, words, text }
}
