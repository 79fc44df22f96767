//! Global memory as instructions see it: translation with a small span cache, atomic accesses on host memory.
//!
//! Host threads and other queues access the same bytes at the same time. Aligned loads and stores of up to 8 bytes are
//! single-copy atomic (relaxed: ordering comes from the packets' fences and from atomics, as on the hardware); GPU atomics
//! are sequentially consistent host atomics, so that signals can be shared with the host.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use super::Stop;
use crate::caches::{Caches, Mask, PAGE, SharedCaches};
use crate::memory::{Access, AddressSpace, MemoryFault, Span};

/// Spans remembered.
const SPANS: usize = 8;

/// A wave's way to global memory.
pub struct Port<'a, 'c> {
    space: &'a AddressSpace,
    /// Strict memory: between the wave and the address space.
    caches: Option<&'a SharedCaches<'c>>,
    /// The caches, while it is this thread's turn.
    held: Option<MutexGuard<'a, Caches<'c>>>,
    generation: u64,
    spans: [Option<Span>; SPANS],
    newest: usize,
    /// Bytes read, for statistics.
    pub read: u64,
    /// Bytes written, for statistics.
    pub written: u64,
}

/// Read-modify-write operations of memory and LDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rmw {
    /// Exchange.
    Swap,
    /// Exchange if equal.
    CmpSwap,
    /// Addition.
    Add,
    /// Memory minus data.
    Sub,
    /// Data minus memory.
    Rsub,
    /// Signed minimum.
    Smin,
    /// Unsigned minimum.
    Umin,
    /// Signed maximum.
    Smax,
    /// Unsigned maximum.
    Umax,
    /// And.
    And,
    /// Or.
    Or,
    /// Exclusive or.
    Xor,
    /// Increment, wrapping to 0 at the limit given.
    Inc,
    /// Decrement, wrapping to the limit given.
    Dec,
}

impl Rmw {
    /// New value of a `bits` wide cell.
    pub fn apply(self, old: u64, data: u64, compare: u64, bits: u32) -> u64 {
        let signed = |value: u64| (value << (64 - bits)) as i64 >> (64 - bits);
        let smaller = signed(data) < signed(old);
        let new = match self {
            Rmw::Swap => data,
            Rmw::CmpSwap => {
                if old == compare {
                    data
                } else {
                    old
                }
            }
            Rmw::Add => old.wrapping_add(data),
            Rmw::Sub => old.wrapping_sub(data),
            Rmw::Rsub => data.wrapping_sub(old),
            Rmw::Smin => {
                if smaller {
                    data
                } else {
                    old
                }
            }
            Rmw::Umin => old.min(data),
            Rmw::Smax => {
                if smaller {
                    old
                } else {
                    data
                }
            }
            Rmw::Umax => old.max(data),
            Rmw::And => old & data,
            Rmw::Or => old | data,
            Rmw::Xor => old ^ data,
            Rmw::Inc => {
                if old >= data {
                    0
                } else {
                    old + 1
                }
            }
            Rmw::Dec => {
                if old == 0 || old > data {
                    data
                } else {
                    old - 1
                }
            }
        };
        if bits == 32 { new & 0xffff_ffff } else { new }
    }
}

macro_rules! access {
    ($load:ident, $store:ident, $int:ty, $atomic:ty) => {
        /// Loads; single-copy atomic where aligned.
        #[inline]
        pub fn $load(&mut self, va: u64) -> Result<$int, MemoryFault> {
            const LEN: usize = size_of::<$int>();
            if self.caches.is_some() && crosses(va, LEN) {
                let mut bytes = [0u8; LEN];
                for (n, byte) in bytes.iter_mut().enumerate() {
                    *byte = self.load8(va + n as u64)?;
                }
                return Ok(<$int>::from_le_bytes(bytes));
            }
            let host = self.reach(va, LEN as u64, Access::Read)?;
            if (host as usize).is_multiple_of(LEN) {
                // SAFETY: `reach` found LEN mapped bytes, valid until the unmapping is noticed through the generation,
                // and the pointer is aligned. Everything that shares this memory with other threads uses atomics.
                // Relaxed: pairs with nothing; fences are the packets' business.
                return Ok(unsafe { <$atomic>::from_ptr(host.cast()) }.load(Ordering::Relaxed));
            }
            let mut bytes = [0u8; LEN];
            for (n, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: as above; bytes are always aligned. Relaxed: as above.
                *byte = unsafe { AtomicU8::from_ptr(host.add(n)) }.load(Ordering::Relaxed);
            }
            Ok(<$int>::from_le_bytes(bytes))
        }

        /// Stores; single-copy atomic where aligned.
        #[inline]
        pub fn $store(&mut self, va: u64, value: $int) -> Result<(), MemoryFault> {
            const LEN: usize = size_of::<$int>();
            if self.caches.is_some() && crosses(va, LEN) {
                for (n, byte) in value.to_le_bytes().into_iter().enumerate() {
                    self.store8(va + n as u64, byte)?;
                }
                return Ok(());
            }
            let host = self.reach(va, LEN as u64, Access::Write)?;
            if (host as usize).is_multiple_of(LEN) {
                // SAFETY: `reach` found LEN mapped, writable bytes, valid until the unmapping is noticed through the
                // generation, and the pointer is aligned. Relaxed: pairs with nothing; fences are the packets' business.
                unsafe { <$atomic>::from_ptr(host.cast()) }.store(value, Ordering::Relaxed);
                return Ok(());
            }
            for (n, byte) in value.to_le_bytes().into_iter().enumerate() {
                // SAFETY: as above; bytes are always aligned. Relaxed: as above.
                unsafe { AtomicU8::from_ptr(host.add(n)) }.store(byte, Ordering::Relaxed);
            }
            Ok(())
        }
    };
}

/// Mapped bytes that hold every active lane's access, so that lanes need no check of their own.
pub struct Block {
    host: *mut u8,
    low: u64,
    /// Where strict memory notes stores, or null.
    dirty: *mut Mask,
}

macro_rules! block_access {
    ($load:ident, $store:ident, $int:ty, $atomic:ty) => {
        /// The value at `va`, which must be aligned to its size and lie in the block with all its bytes.
        #[inline(always)]
        pub fn $load(&self, va: u64) -> $int {
            // SAFETY: the caller's address lies in the block, which `Port::block` found mapped and as aligned in host memory
            // as in the GPU's; it stays valid until the unmapping is noticed through the generation. Relaxed: pairs with
            // nothing, as in `Port`.
            unsafe { <$atomic>::from_ptr(self.host.add((va - self.low) as usize).cast()) }
                .load(Ordering::Relaxed)
        }

        /// Stores at `va`, as for the load; the block must have been made for writing, and the store be noted.
        #[inline(always)]
        pub fn $store(&self, va: u64, value: $int) {
            // SAFETY: as for the load, and writable.
            unsafe { <$atomic>::from_ptr(self.host.add((va - self.low) as usize).cast()) }
                .store(value, Ordering::Relaxed);
        }
    };
}

impl Block {
    block_access!(load8, store8, u8, AtomicU8);
    block_access!(load16, store16, u16, AtomicU16);
    block_access!(load32, store32, u32, AtomicU32);
    block_access!(load64, store64, u64, AtomicU64);

    /// Whether stores have to be noted.
    #[inline(always)]
    pub fn notes(&self) -> bool {
        !self.dirty.is_null()
    }

    /// Notes that `[va, va + len)` was stored to, which must lie in the block.
    #[inline]
    pub fn note(&self, va: u64, len: u64) {
        if self.notes() {
            // SAFETY: the mask of the page that the block lies in, which nobody else refers to while the block is used.
            unsafe { (*self.dirty).set(va % PAGE, len) };
        }
    }
}

/// Whether an access goes beyond its page.
#[inline]
fn crosses(va: u64, len: usize) -> bool {
    va % PAGE + len as u64 > PAGE
}

impl<'a, 'c> Port<'a, 'c> {
    /// One block for accesses in `[low, low + len)`, if that lies in one mapping (with caches: in one page) and host memory is
    /// aligned to 8 as the addresses are. None: each lane has to be checked on its own.
    #[inline]
    pub fn block(&mut self, low: u64, len: u64, access: Access) -> Option<Block> {
        let space = self.space;
        if let Some(caches) = self.turn() {
            if low % PAGE + len > PAGE || caches.dispatch.tracks() {
                return None;
            }
            if let Some((host, dirty)) = caches.dispatch.block(caches.l2, space, low, len, access).ok()? {
                return Some(Block { host, low, dirty });
            }
        }
        let host = self.reach_memory(low, len, access).ok()?;
        let dirty = std::ptr::null_mut();
        (host as u64 % 8 == low % 8).then_some(Block { host, low, dirty })
    }

    /// A port to an address space, through caches if there are any.
    pub(crate) fn new(space: &'a AddressSpace, caches: Option<&'a SharedCaches<'c>>) -> Self {
        let mut port = Port {
            space,
            caches,
            held: None,
            generation: space.generation(),
            spans: [None; SPANS],
            newest: 0,
            read: 0,
            written: 0,
        };
        port.refresh_caches();
        port.let_go();
        port
    }

    /// The caches, if there are any: waits for this thread's turn.
    #[inline]
    fn turn(&mut self) -> Option<&mut Caches<'c>> {
        let caches = self.caches?;
        Some(self.held.get_or_insert_with(|| caches.lock()))
    }

    /// Ends this thread's turn with the caches, if others wait for them. Called after every instruction that reaches memory:
    /// no [`Block`] may be used beyond.
    #[inline]
    pub fn let_go(&mut self) {
        if self.held.is_some() && self.caches.is_some_and(|caches| caches.contended) {
            self.held = None;
        }
    }

    /// Forgets cached spans if a mapping changed; true if so. Called before every instruction.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        let generation = self.space.generation();
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        self.spans = [None; SPANS];
        self.refresh_caches();
        true
    }

    fn refresh_caches(&mut self) {
        let space = self.space;
        if let Some(caches) = self.turn() {
            caches.dispatch.refresh(caches.l2, space);
        }
    }

    /// Whether caches lie between the wave and memory.
    #[inline]
    pub fn cached(&self) -> bool {
        self.caches.is_some()
    }

    /// The stores so far have reached the L2 or host memory.
    pub fn drain(&mut self) {
        let space = self.space;
        // Release: a flag that the wave sets next is seen after its stores. Pairs with the fence in `invalidate`.
        fence(Ordering::Release);
        if let Some(caches) = self.turn() {
            caches.dispatch.drain(caches.l2, space);
        }
    }

    /// What others have released is seen from now on.
    pub fn invalidate(&mut self) {
        let space = self.space;
        // Acquire: what the wave loads next is seen after the flag that it waited for. Pairs with the fence in `drain`.
        fence(Ordering::Acquire);
        if let Some(caches) = self.turn() {
            caches.dispatch.invalidate(caches.l2, space);
        }
    }

    /// The next load of these bytes gives the newest ones.
    pub fn reload(&mut self, va: u64, len: u64) {
        let space = self.space;
        if let Some(caches) = self.turn() {
            caches.dispatch.reload(caches.l2, space, va, len);
        }
    }

    /// Generation of the mappings that cached spans belong to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Host address of the bytes that an access finds: in a cache or in memory.
    #[inline]
    pub fn reach(&mut self, va: u64, len: u64, access: Access) -> Result<*mut u8, MemoryFault> {
        let space = self.space;
        if let Some(caches) = self.turn()
            && let Some(host) = caches.dispatch.reach(caches.l2, space, va, len, access)?
        {
            return Ok(host);
        }
        self.reach_memory(va, len, access)
    }

    /// Host address of mapped bytes.
    #[inline]
    fn reach_memory(&mut self, va: u64, len: u64, access: Access) -> Result<*mut u8, MemoryFault> {
        if let Some(span) = &self.spans[self.newest]
            && span.contains(va, len)
            && permits(span, access)
        {
            return Ok(span.at(va));
        }
        self.search(va, len, access)
    }

    #[cold]
    fn search(&mut self, va: u64, len: u64, access: Access) -> Result<*mut u8, MemoryFault> {
        for (n, span) in self.spans.iter().enumerate() {
            if let Some(span) = span
                && span.contains(va, len)
                && permits(span, access)
            {
                self.newest = n;
                return Ok(span.at(va));
            }
        }
        let span = self.space.translate(va, len, access)?;
        self.newest = (self.newest + 1) % SPANS;
        self.spans[self.newest] = Some(span);
        Ok(span.at(va))
    }

    access!(load8, store8, u8, AtomicU8);
    access!(load16, store16, u16, AtomicU16);
    access!(load32, store32, u32, AtomicU32);
    access!(load64, store64, u64, AtomicU64);

    /// Read-modify-write of 4 or 8 bytes; returns the old value.
    pub fn atomic(&mut self, va: u64, bits: u32, op: Rmw, data: u64, compare: u64) -> Result<u64, Stop> {
        let space = self.space;
        let len = u64::from(bits / 8);
        if let Some(caches) = self.turn()
            && va.is_multiple_of(len)
        {
            let apply = |old| op.apply(old, data, compare, bits);
            let memory = |host| update(host, bits, apply);
            let done = caches.dispatch.atomic(caches.l2, space, (va, bits), apply, memory)?;
            if let Some(old) = done {
                return Ok(old);
            }
        }
        let host = self.reach_memory(va, len, Access::Atomic)?;
        if !va.is_multiple_of(len) || !(host as u64).is_multiple_of(len) {
            return Err(Stop::Unaligned(va, bits / 8));
        }
        Ok(update(host, bits, |old| op.apply(old, data, compare, bits)))
    }
}

/// Atomic update of 4 or 8 bytes, which must be mapped, writable and aligned.
fn update(host: *mut u8, bits: u32, apply: impl Fn(u64) -> u64) -> u64 {
    // SeqCst: pairs with the host's atomics on signals and queue indices, whatever their ordering.
    if bits == 32 {
        // SAFETY: the caller vouches for 4 mapped, writable, aligned bytes.
        let cell = unsafe { AtomicU32::from_ptr(host.cast()) };
        let change = |old: u32| Some(apply(u64::from(old)) as u32);
        u64::from(cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).unwrap_or_else(|old| old))
    } else {
        // SAFETY: as above, of 8 bytes.
        let cell = unsafe { AtomicU64::from_ptr(host.cast()) };
        cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(apply(old)))
            .unwrap_or_else(|old| old)
    }
}

#[inline]
fn permits(span: &Span, access: Access) -> bool {
    match access {
        Access::Read => true,
        Access::Write | Access::Atomic => span.writable,
        Access::Execute => span.executable,
    }
}
