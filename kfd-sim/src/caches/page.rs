//! A page of cached bytes and the set of those that were written.
//!
//! One thread at a time touches cached pages. They are made of atomics all the same, because the accesses that
//! copy them to and from real memory share that memory with host threads: aligned pieces of 8, 4 and 2 bytes are
//! copied whole, so a value that somebody stores atomically is never torn by a copy.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes of a page: what the caches remember at once. Written bytes are tracked one by one.
pub(crate) const PAGE: u64 = 4096;
/// Groups of 8 bytes in a page.
const GROUPS: usize = PAGE as usize / 8;

/// The page that holds an address.
pub(crate) fn page_of(va: u64) -> u64 {
    va & !(PAGE - 1)
}

/// Cached bytes.
pub(crate) struct Page([AtomicU64; GROUPS]);

impl Clone for Page {
    fn clone(&self) -> Self {
        // Relaxed: one thread at a time, by a lock.
        Page(std::array::from_fn(|i| AtomicU64::new(self.0[i].load(Ordering::Relaxed))))
    }
}

impl Page {
    /// A copy of mapped memory.
    ///
    /// # Safety
    /// `host` must be aligned to 8 and valid for reads of [`PAGE`] bytes.
    pub unsafe fn copy_from(host: *mut u8) -> Self {
        Page(std::array::from_fn(|i| {
            // SAFETY: inside the page, aligned. Relaxed: ordering comes from packets and fences, not from the copy.
            AtomicU64::new(unsafe { AtomicU64::from_ptr(host.cast::<u64>().add(i)) }.load(Ordering::Relaxed))
        }))
    }

    /// First byte. Valid as long as the page lives, for atomic accesses.
    pub fn bytes(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }

    /// Takes over the bytes of `mask`.
    pub fn merge(&self, from: &Page, mask: &Mask) {
        // SAFETY: both are whole pages.
        unsafe { copy_masked(self.bytes(), from.bytes(), mask) };
    }
}

/// One bit for each byte of a page.
#[derive(Clone)]
pub(crate) struct Mask([u64; PAGE as usize / 64]);

impl Mask {
    pub const fn empty() -> Self {
        Mask([0; PAGE as usize / 64])
    }

    /// Bytes `[at, at + len)`.
    pub fn range(at: u64, len: u64) -> Self {
        let mut mask = Self::empty();
        mask.set(at, len);
        mask
    }

    /// Adds bytes `[at, at + len)`, which must lie in the page.
    #[inline]
    pub fn set(&mut self, at: u64, len: u64) {
        let (word, bit) = (at as usize / 64, at % 64);
        if len <= 8 && bit + len <= 64 {
            self.0[word] |= ((1 << len) - 1) << bit;
            return;
        }
        let end = at + len;
        for word in word..end.div_ceil(64) as usize {
            let from = at.saturating_sub(word as u64 * 64);
            let unused = (word as u64 * 64 + 64).saturating_sub(end);
            self.0[word] |= u64::MAX << from & u64::MAX >> unused;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub fn add(&mut self, other: &Mask) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub fn remove(&mut self, other: &Mask) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    pub fn and(&self, other: &Mask) -> Mask {
        Mask(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    pub fn not(&self) -> Mask {
        Mask(self.0.map(|word| !word))
    }

    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// First byte, bytes in a row from there, and bytes in all; `None` if there are none.
    pub fn extent(&self) -> Option<(u64, u64, u64)> {
        let has = |byte: u64| self.0[byte as usize / 64] >> (byte % 64) & 1 != 0;
        let first = (0..PAGE).find(|&byte| has(byte))?;
        let end = (first..PAGE).find(|&byte| !has(byte)).unwrap_or(PAGE);
        let all: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        Some((first, end - first, all.into()))
    }
}

/// Copies the bytes of `mask` and touches no other, in the largest aligned pieces.
///
/// # Safety
/// Both pointers must be aligned to 8 and valid for [`PAGE`] bytes, the source for reads, the destination for writes.
pub(crate) unsafe fn copy_masked(dst: *mut u8, src: *mut u8, mask: &Mask) {
    for (word, &bits) in mask.0.iter().enumerate().filter(|&(_, &bits)| bits != 0) {
        for part in 0..8 {
            let bits = (bits >> (part * 8)) as u8;
            let at = word * 64 + part * 8;
            // SAFETY: inside the page, aligned to 8.
            unsafe { copy_group(dst.add(at), src.add(at), bits) };
        }
    }
}

macro_rules! copy_piece {
    ($dst:expr, $src:expr, $atomic:ty) => {{
        // SAFETY: the caller's pieces lie inside both groups and are aligned to their size. Relaxed: ordering comes from
        // packets and fences, not from the copy.
        unsafe {
            let value = <$atomic>::from_ptr($src.cast()).load(Ordering::Relaxed);
            <$atomic>::from_ptr($dst.cast()).store(value, Ordering::Relaxed);
        }
    }};
}

/// Copies the bytes of a group of 8 whose bit is set.
///
/// # Safety
/// Both pointers aligned to 8 and valid for 8 bytes.
unsafe fn copy_group(dst: *mut u8, src: *mut u8, bits: u8) {
    match bits {
        0 => return,
        0xff => return copy_piece!(dst, src, AtomicU64),
        _ => {}
    }
    for half in [0usize, 4] {
        let bits = bits >> half & 0xf;
        let (dst, src) = (dst.wrapping_add(half), src.wrapping_add(half));
        if bits == 0xf {
            copy_piece!(dst, src, AtomicU32);
            continue;
        }
        for pair in [0usize, 2] {
            let bits = bits >> pair & 3;
            let (dst, src) = (dst.wrapping_add(pair), src.wrapping_add(pair));
            match bits {
                3 => copy_piece!(dst, src, AtomicU16),
                1 => copy_piece!(dst, src, AtomicU8),
                2 => copy_piece!(dst.wrapping_add(1), src.wrapping_add(1), AtomicU8),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_of_the_mask_are_copied() {
        let fill = |byte: u8| Page(std::array::from_fn(|_| AtomicU64::new(u64::from_le_bytes([byte; 8]))));
        let (dst, src) = (fill(1), fill(2));
        let mut mask = Mask::empty();
        let ranges = [(0, 8), (11, 1), (12, 4), (18, 2), (21, 2), (60, 8), (100, 300), (4095, 1)];
        ranges.iter().for_each(|&(at, len)| mask.set(at, len));
        dst.merge(&src, &mask);
        for at in 0..PAGE {
            let want = if ranges.iter().any(|&(from, len)| at >= from && at < from + len) { 2 } else { 1 };
            // SAFETY: inside the page, which nobody else has.
            assert_eq!(unsafe { *dst.bytes().add(at as usize) }, want, "{at}");
        }
    }

    #[test]
    fn masks_are_sets() {
        let mut mask = Mask::range(60, 10);
        assert!(!mask.is_empty());
        assert!(mask.and(&Mask::range(0, 60)).is_empty() && !mask.and(&Mask::range(0, 61)).is_empty());
        mask.remove(&Mask::range(60, 10));
        assert!(mask.is_empty());
        mask.add(&Mask::range(4088, 8));
        assert!(mask.and(&Mask::range(4088, 8).not()).is_empty() && !mask.is_empty());
        mask.clear();
        assert!(mask.is_empty());
    }
}
