//! Kernel names, recovered from GPU memory for logs.
//!
//! The runtimes load a code object's segments at their relative addresses, the first one with its ELF header and dynamic
//! symbols. Walking back from a kernel descriptor page by page finds the header; a dynamic symbol with the descriptor's
//! relative address names it. Anything unexpected gives no name, never an error.

use std::collections::HashMap;

use super::gpu_memory::GpuMemory;
use crate::memory::{Access, AddressSpace};

const PAGE: u64 = 4096;
/// How far before its descriptor a code object is looked for.
const REACH: u64 = 64 << 20;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
/// More symbols than any code object has; bounds the search in garbage.
const MOST_SYMBOLS: u32 = 1 << 20;

/// Names found so far, until a mapping changes.
#[derive(Debug, Default)]
pub(crate) struct KernelNames {
    generation: u64,
    known: HashMap<u64, Option<String>>,
}

impl KernelNames {
    /// The name of the kernel whose descriptor is at `kernel_object`.
    pub fn get(&mut self, mem: &AddressSpace, kernel_object: u64) -> Option<String> {
        let generation = mem.generation();
        if generation != self.generation {
            self.known.clear();
            self.generation = generation;
        }
        self.known.entry(kernel_object).or_insert_with(|| find(mem, kernel_object)).clone()
    }
}

fn bytes<const N: usize>(mem: &AddressSpace, va: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    mem.read(va, &mut bytes).ok()?;
    Some(bytes)
}

fn u16_at(mem: &AddressSpace, va: u64) -> Option<u16> {
    bytes(mem, va).map(u16::from_le_bytes)
}
fn u32_at(mem: &AddressSpace, va: u64) -> Option<u32> {
    bytes(mem, va).map(u32::from_le_bytes)
}
fn u64_at(mem: &AddressSpace, va: u64) -> Option<u64> {
    bytes(mem, va).map(u64::from_le_bytes)
}

fn find(mem: &AddressSpace, kernel_object: u64) -> Option<String> {
    let span = mem.translate(kernel_object, 1, Access::Read).ok()?;
    let mut base = kernel_object & !(PAGE - 1);
    while bytes(mem, base)? != *b"\x7fELF" {
        base = base.checked_sub(PAGE).filter(|&b| b >= span.va && kernel_object - b < REACH)?;
    }
    let headers = base.wrapping_add(u64_at(mem, base + 32)?);
    let (size, count) = (u64::from(u16_at(mem, base + 54)?), u64::from(u16_at(mem, base + 56)?));
    let header =
        (0..count).map(|i| headers.wrapping_add(i * size)).find(|&at| u32_at(mem, at) == Some(PT_DYNAMIC))?;
    let dynamic = base.wrapping_add(u64_at(mem, header.wrapping_add(16))?);
    let (mut hash, mut strings, mut symbols) = (None, None, None);
    for at in (0..256).map(|i| dynamic.wrapping_add(16 * i)) {
        // The loader leaves the dynamic section as linked: addresses relative to the base.
        let value = base.wrapping_add(u64_at(mem, at.wrapping_add(8))?);
        match u64_at(mem, at)? {
            0 => break,
            DT_HASH => hash = Some(value),
            DT_STRTAB => strings = Some(value),
            DT_SYMTAB => symbols = Some(value),
            _ => {}
        }
    }
    let (hash, strings, symbols) = (hash?, strings?, symbols?);
    let count = u32_at(mem, hash.wrapping_add(4))?.min(MOST_SYMBOLS);
    let symbol = (0..u64::from(count))
        .map(|i| symbols.wrapping_add(24 * i))
        .find(|&at| u64_at(mem, at.wrapping_add(8)) == Some(kernel_object - base))?;
    let name = strings.wrapping_add(u64::from(u32_at(mem, symbol)?));
    let text: Vec<u8> = (0..4096)
        .map_while(|i| bytes::<1>(mem, name.wrapping_add(i)))
        .map(|[b]| b)
        .take_while(|&b| b != 0)
        .collect();
    let text = String::from_utf8(text).ok()?;
    Some(text.strip_suffix(".kd").map(str::to_owned).unwrap_or(text))
}
