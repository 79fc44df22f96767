//! Typed accesses of the command processor to GPU memory.
//!
//! The memory is shared with host threads at all times, so everything here is an atomic access: indices and signals with
//! the ordering named by the function, bulk data relaxed, word by word. Ranges are checked through the GPU page tables at
//! each call; nothing is cached, so an unmapped page is seen at once.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::memory::{Access, AddressSpace, FaultCause, MemoryFault};

type Result<T> = std::result::Result<T, MemoryFault>;

macro_rules! atomic_at {
    ($name:ident, $atomic:ty, $bytes:literal) => {
        fn $name(&self, va: u64, access: Access) -> Result<&$atomic> {
            if va % $bytes != 0 {
                return Err(MemoryFault { va, len: $bytes, access, cause: FaultCause::NotPermitted });
            }
            let host = self.translate(va, $bytes, access)?.at(va);
            // SAFETY: `translate` vouches for these bytes (`AddressSpace::map`'s contract), the address is aligned, and
            // everyone inside the simulator touches them atomically; the host side's accesses are AMD's and the user's,
            // outside Rust, under the HSA memory model.
            Ok(unsafe { <$atomic>::from_ptr(host.cast()) })
        }
    };
}

/// Atomic typed accesses by GPU virtual address. `&self` is enough: the memory is shared anyway.
pub(crate) trait GpuMemory {
    /// Acquire load of 16 bits (a packet header).
    fn load16(&self, va: u64) -> Result<u16>;
    /// Acquire load of 32 bits.
    fn load32(&self, va: u64) -> Result<u32>;
    /// Acquire load of 64 bits.
    fn load64(&self, va: u64) -> Result<u64>;
    /// Release store of 16 bits.
    fn store16(&self, va: u64, value: u16) -> Result<()>;
    /// Release store of 32 bits.
    fn store32(&self, va: u64, value: u32) -> Result<()>;
    /// Release store of 64 bits.
    fn store64(&self, va: u64, value: u64) -> Result<()>;
    /// Wrapping atomic add, acquire and release; returns the old value.
    fn add64(&self, va: u64, value: u64) -> Result<u64>;
    /// As [`GpuMemory::add64`], 32 bits.
    fn add32(&self, va: u64, value: u32) -> Result<u32>;
    /// Atomic or, acquire and release.
    fn or64(&self, va: u64, value: u64) -> Result<u64>;
    /// Reads a packet or descriptor.
    fn read(&self, va: u64, into: &mut [u8]) -> Result<()>;
    /// Copies `len` bytes; the ranges may lie in several spans. Overlap gives an unspecified mixture, as on hardware.
    fn copy(&self, dst: u64, src: u64, len: u64) -> Result<()>;
    /// Fills `len` bytes with the low `1 << log2` bytes of `pattern`, repeated.
    fn fill(&self, dst: u64, len: u64, pattern: u32, log2: u32) -> Result<()>;
}

trait Atoms {
    fn atom16(&self, va: u64, access: Access) -> Result<&AtomicU16>;
    fn atom32(&self, va: u64, access: Access) -> Result<&AtomicU32>;
    fn atom64(&self, va: u64, access: Access) -> Result<&AtomicU64>;
    fn chunk(&self, va: u64, len: u64, access: Access) -> Result<(*mut u8, u64)>;
}

impl Atoms for AddressSpace {
    atomic_at!(atom16, AtomicU16, 2);
    atomic_at!(atom32, AtomicU32, 4);
    atomic_at!(atom64, AtomicU64, 8);

    /// The longest prefix of `[va, va + len)` that lies in one span.
    fn chunk(&self, va: u64, len: u64, access: Access) -> Result<(*mut u8, u64)> {
        let span = self.translate(va, 1, access)?;
        Ok((span.at(va), len.min(span.va + span.len - va)))
    }
}

/// Copies `len` bytes with relaxed atomic accesses, by words where both sides are aligned.
///
/// # Safety
/// Both ranges must be mapped host memory, the destination writable.
unsafe fn copy_relaxed(dst: *mut u8, src: *mut u8, len: usize) {
    let words = if (dst as usize | src as usize).is_multiple_of(8) { len / 8 } else { 0 };
    for i in 0..words {
        // SAFETY: inside the ranges, both aligned to 8. Relaxed: ordering comes from the packet's fences, not from here.
        unsafe {
            let word = AtomicU64::from_ptr(src.cast::<u64>().add(i)).load(Ordering::Relaxed);
            AtomicU64::from_ptr(dst.cast::<u64>().add(i)).store(word, Ordering::Relaxed);
        }
    }
    for i in words * 8..len {
        // SAFETY: inside the ranges. Relaxed: as above.
        unsafe {
            let byte = AtomicU8::from_ptr(src.add(i)).load(Ordering::Relaxed);
            AtomicU8::from_ptr(dst.add(i)).store(byte, Ordering::Relaxed);
        }
    }
}

impl GpuMemory for AddressSpace {
    fn load16(&self, va: u64) -> Result<u16> {
        // Acquire: pairs with the producer's release store of the packet header.
        Ok(self.atom16(va, Access::Read)?.load(Ordering::Acquire))
    }

    fn load32(&self, va: u64) -> Result<u32> {
        // Acquire: pairs with the host's release store of the word that is polled.
        Ok(self.atom32(va, Access::Read)?.load(Ordering::Acquire))
    }

    fn load64(&self, va: u64) -> Result<u64> {
        // Acquire: pairs with the host's release store of an index or a signal value.
        Ok(self.atom64(va, Access::Read)?.load(Ordering::Acquire))
    }

    fn store16(&self, va: u64, value: u16) -> Result<()> {
        // Release: pairs with a producer's acquire load of the header or the read index before it reuses the slot.
        self.atom16(va, Access::Write)?.store(value, Ordering::Release);
        Ok(())
    }

    fn store32(&self, va: u64, value: u32) -> Result<()> {
        // Release: pairs with the host's acquire load of the fence or mailbox.
        self.atom32(va, Access::Write)?.store(value, Ordering::Release);
        Ok(())
    }

    fn store64(&self, va: u64, value: u64) -> Result<()> {
        // Release: pairs with the host's acquire load of the index, signal or mailbox.
        self.atom64(va, Access::Write)?.store(value, Ordering::Release);
        Ok(())
    }

    fn add64(&self, va: u64, value: u64) -> Result<u64> {
        // AcqRel: pairs with the host's acquire wait on the signal, and joins the other decrements of it.
        Ok(self.atom64(va, Access::Atomic)?.fetch_add(value, Ordering::AcqRel))
    }

    fn add32(&self, va: u64, value: u32) -> Result<u32> {
        // AcqRel: as for `add64`.
        Ok(self.atom32(va, Access::Atomic)?.fetch_add(value, Ordering::AcqRel))
    }

    fn or64(&self, va: u64, value: u64) -> Result<u64> {
        // AcqRel: pairs with the runtime's acquire load in its exception handler.
        Ok(self.atom64(va, Access::Atomic)?.fetch_or(value, Ordering::AcqRel))
    }

    fn read(&self, va: u64, into: &mut [u8]) -> Result<()> {
        let (mut va, mut at) = (va, 0);
        while at < into.len() {
            let (src, n) = self.chunk(va, (into.len() - at) as u64, Access::Read)?;
            // SAFETY: `chunk` vouches for `n` source bytes; the destination is the rest of `into`.
            unsafe { copy_relaxed(into.as_mut_ptr().add(at), src, n as usize) };
            va += n;
            at += n as usize;
        }
        Ok(())
    }

    fn copy(&self, mut dst: u64, mut src: u64, mut len: u64) -> Result<()> {
        while len > 0 {
            let (from, n) = self.chunk(src, len, Access::Read)?;
            let (to, n) = self.chunk(dst, n, Access::Write)?;
            // SAFETY: `chunk` vouches for `n` bytes on both sides.
            unsafe { copy_relaxed(to, from, n as usize) };
            dst += n;
            src += n;
            len -= n;
        }
        Ok(())
    }

    fn fill(&self, mut dst: u64, mut len: u64, pattern: u32, log2: u32) -> Result<()> {
        let bytes = pattern.to_le_bytes();
        let period = 1usize << log2.min(2);
        let mut phase = 0usize;
        while len > 0 {
            let (to, n) = self.chunk(dst, len, Access::Write)?;
            for i in 0..n as usize {
                // SAFETY: `chunk` vouches for `n` bytes. Relaxed: ordering comes from later fences.
                unsafe { AtomicU8::from_ptr(to.add(i)).store(bytes[phase % period], Ordering::Relaxed) };
                phase += 1;
            }
            dst += n;
            len -= n;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryKind, Span};

    fn space(buffer: &mut [u64], at: u64) -> AddressSpace {
        let space = AddressSpace::new();
        let half = (buffer.len() * 4) as u64;
        let host = buffer.as_mut_ptr().cast::<u8>();
        for part in 0..2 {
            let host = host.wrapping_add((part * half) as usize);
            let span = Span {
                va: at + part * half,
                len: half,
                host,
                memory: MemoryKind::Host,
                writable: true,
                executable: false,
            };
            // SAFETY: the buffer outlives the address space in these tests.
            unsafe { space.map(span) };
        }
        space
    }

    #[test]
    fn copies_and_fills_cross_spans_and_ignore_alignment() {
        let mut buffer = vec![0u64; 64];
        let space = space(&mut buffer, 0x1000);
        space.fill(0x1000, 256, 0x0403_0201, 2).unwrap();
        space.copy(0x1000 + 251, 0x1001, 9).unwrap();
        let mut got = [0; 9];
        space.read(0x1000 + 251, &mut got).unwrap();
        assert_eq!(got, [2, 3, 4, 1, 2, 3, 4, 1, 2]);
    }

    #[test]
    fn faults_name_address_and_access() {
        let mut buffer = vec![0u64; 64];
        let space = space(&mut buffer, 0x1000);
        let fault = space.store64(0x1004, 1).unwrap_err();
        assert_eq!((fault.cause, fault.access), (FaultCause::NotPermitted, Access::Write));
        let fault = space.copy(0x1000, 0x11f8, 16).unwrap_err();
        assert_eq!((fault.cause, fault.va), (FaultCause::NotMapped, 0x1200));
    }
}
