//! Buffer objects: what ALLOC_MEMORY_OF_GPU hands out and MAP_MEMORY_TO_GPU makes visible to the GPU.
//!
//! VRAM and GTT buffers are ranges of the render node's memory file, doorbells and the register page live in the KFD
//! file, user buffers are the caller's own memory. Any thread; one mutex guards the table.

use super::arena::{Mapping, MemFile, PAGE, RangeAllocator};
use super::uapi::{AllocMemory, Errno, alloc_flag};
use super::user;
use crate::memory::{AddressSpace, MemoryKind, Span};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the process's doorbell page: 1024 doorbells of 8 bytes (gfx9).
pub const DOORBELL_BYTES: u64 = 8192;
/// Where doorbells are in the KFD file. The low 32 bits must be zero: the 5.2.3 thunk takes the slot from them before it
/// knows the size of the page.
pub const DOORBELL_OFFSET: u64 = 1 << 32;
/// Where the remapped register page is in the KFD file.
pub const MMIO_OFFSET: u64 = 2 << 32;
/// Bytes of the KFD file.
pub const KFD_FILE_BYTES: u64 = MMIO_OFFSET + PAGE;
/// System memory that the driver hands out as GTT, bytes (assumed).
pub const GTT_BYTES: u64 = 16 << 30;

/// End of the GPU's virtual addresses, one past the last.
pub const VA_END: u64 = 1 << 47;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    /// Offset in the render node's file.
    Vram(u64),
    /// Offset in the render node's file.
    Gtt(u64),
    /// Memory of somebody else: the caller, or the KFD file.
    Fixed,
}

#[derive(Clone, Copy, Debug)]
struct Buffer {
    backing: Backing,
    va: u64,
    /// Bytes of backing store.
    size: u64,
    flags: u32,
    host: usize,
    mapped: bool,
}

impl Buffer {
    fn memory(&self) -> MemoryKind {
        match self.backing {
            Backing::Vram(_) => MemoryKind::Vram,
            Backing::Fixed if self.flags & (alloc_flag::DOORBELL | alloc_flag::MMIO_REMAP) != 0 => {
                MemoryKind::Io
            }
            Backing::Gtt(_) | Backing::Fixed => MemoryKind::Host,
        }
    }

    /// Bytes of GPU address space: AQL queue memory appears twice.
    fn va_bytes(&self) -> u64 {
        if self.flags & alloc_flag::AQL_QUEUE_MEM != 0 { self.size * 2 } else { self.size }
    }
}

#[derive(Debug, Default)]
struct Table {
    buffers: BTreeMap<u32, Buffer>,
    vram_used: u64,
    gtt_used: u64,
    next: u32,
}

/// The buffers of one process on one GPU.
#[derive(Debug)]
pub struct Buffers {
    table: Mutex<Table>,
    space: Arc<AddressSpace>,
    gpu_id: u32,
    vram_bytes: u64,
    /// The render node's file: VRAM, then GTT.
    file: MemFile,
    memory: Mapping,
    vram_ranges: RangeAllocator,
    gtt_ranges: RangeAllocator,
    doorbells: Mapping,
    registers: Mapping,
}

impl Buffers {
    /// Sets up the backing store. `kfd_file` has [`KFD_FILE_BYTES`].
    pub fn new(
        gpu_id: u32,
        vram_bytes: u64,
        kfd_file: &MemFile,
        space: Arc<AddressSpace>,
    ) -> Result<Self, Errno> {
        // Twice the address range: the page tables of a real GPU do not fragment, first-fit does.
        let vram_end = vram_bytes * 2;
        let file = MemFile::new(c"kfd-sim-memory", vram_end + GTT_BYTES)?;
        Ok(Self {
            table: Mutex::default(),
            space,
            gpu_id,
            vram_bytes,
            memory: file.map(0, vram_end + GTT_BYTES)?,
            file,
            vram_ranges: RangeAllocator::new(0, vram_end),
            gtt_ranges: RangeAllocator::new(vram_end, vram_end + GTT_BYTES),
            doorbells: kfd_file.map(DOORBELL_OFFSET, DOORBELL_BYTES)?,
            registers: kfd_file.map(MMIO_OFFSET, PAGE)?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The render node's file.
    pub fn file(&self) -> &MemFile {
        &self.file
    }

    /// Host address of the doorbell page.
    pub fn doorbells(&self) -> *mut u8 {
        self.doorbells.at(0)
    }

    /// VRAM and GTT in use, bytes.
    pub fn used(&self) -> (u64, u64) {
        let table = self.lock();
        (table.vram_used, table.gtt_used)
    }

    /// ALLOC_MEMORY_OF_GPU. Fills in the handle and the mmap offset.
    pub fn allocate(&self, args: &mut AllocMemory) -> Result<(), Errno> {
        let kind = args.flags & alloc_flag::KINDS;
        let aql = args.flags & alloc_flag::AQL_QUEUE_MEM != 0;
        let va_end = args.va.checked_add(args.size).ok_or(Errno(libc::EINVAL))?;
        let odd = args.size == 0
            || !args.va.is_multiple_of(PAGE)
            || va_end > VA_END
            || (aql && !args.size.is_multiple_of(2 * PAGE));
        if odd || kind.count_ones() != 1 {
            return Err(Errno(libc::EINVAL));
        }
        let size = if aql { args.size / 2 } else { args.size };
        let rounded = size.next_multiple_of(PAGE);
        let mut table = self.lock();
        let (backing, host, mmap_offset) = match kind {
            alloc_flag::VRAM => {
                if table.vram_used + rounded > self.vram_bytes {
                    return Err(Errno(libc::ENOMEM));
                }
                let at = self.vram_ranges.allocate(size).ok_or(Errno(libc::ENOMEM))?;
                table.vram_used += rounded;
                (Backing::Vram(at), self.memory.at(at), at)
            }
            alloc_flag::GTT => {
                let at = self.gtt_ranges.allocate(size).ok_or(Errno(libc::ENOMEM))?;
                table.gtt_used += rounded;
                (Backing::Gtt(at), self.memory.at(at), at)
            }
            alloc_flag::USERPTR => {
                if !args.mmap_offset.is_multiple_of(PAGE) {
                    return Err(Errno(libc::EINVAL));
                }
                if !user::is_mapped(args.mmap_offset, size) {
                    return Err(Errno(libc::EFAULT));
                }
                (Backing::Fixed, args.mmap_offset as *mut u8, args.mmap_offset)
            }
            alloc_flag::DOORBELL if size == DOORBELL_BYTES => {
                (Backing::Fixed, self.doorbells.at(0), DOORBELL_OFFSET)
            }
            alloc_flag::MMIO_REMAP if size == PAGE => (Backing::Fixed, self.registers.at(0), MMIO_OFFSET),
            _ => return Err(Errno(libc::EINVAL)),
        };
        table.next += 1;
        let id = table.next;
        let buffer =
            Buffer { backing, va: args.va, size, flags: args.flags, host: host as usize, mapped: false };
        table.buffers.insert(id, buffer);
        args.handle = (u64::from(self.gpu_id) << 32) | u64::from(id);
        args.mmap_offset = mmap_offset;
        Ok(())
    }

    fn id(&self, handle: u64) -> Option<u32> {
        (handle >> 32 == u64::from(self.gpu_id)).then_some(handle as u32)
    }

    /// FREE_MEMORY_OF_GPU. EINVAL for an unknown handle, EBUSY while the GPU has it mapped.
    pub fn free(&self, handle: u64) -> Result<(), Errno> {
        let mut table = self.lock();
        let id = self.id(handle).ok_or(Errno(libc::EINVAL))?;
        let buffer = *table.buffers.get(&id).ok_or(Errno(libc::EINVAL))?;
        if buffer.mapped {
            return Err(Errno(libc::EBUSY));
        }
        table.buffers.remove(&id);
        let rounded = buffer.size.next_multiple_of(PAGE);
        let (ranges, at) = match buffer.backing {
            Backing::Vram(at) => {
                table.vram_used -= rounded;
                (&self.vram_ranges, at)
            }
            Backing::Gtt(at) => {
                table.gtt_used -= rounded;
                (&self.gtt_ranges, at)
            }
            Backing::Fixed => return Ok(()),
        };
        self.file.discard(at, rounded);
        ranges.release(at, buffer.size);
        Ok(())
    }

    /// Makes a buffer visible to the GPU at its address. ENOMEM for an unknown handle (as amdkfd answers), EINVAL if
    /// another buffer is mapped there. Mapping twice is fine.
    pub fn map(&self, handle: u64) -> Result<(), Errno> {
        let mut table = self.lock();
        let id = self.id(handle).ok_or(Errno(libc::ENOMEM))?;
        let buffer = *table.buffers.get(&id).ok_or(Errno(libc::ENOMEM))?;
        if buffer.mapped {
            return Ok(());
        }
        let end = buffer.va + buffer.va_bytes();
        if table.buffers.values().any(|b| b.mapped && b.va < end && buffer.va < b.va + b.va_bytes()) {
            return Err(Errno(libc::EINVAL));
        }
        for at in (buffer.va..end).step_by(buffer.size as usize) {
            let span = Span {
                va: at,
                len: buffer.size,
                host: buffer.host as *mut u8,
                memory: buffer.memory(),
                writable: buffer.flags & alloc_flag::WRITABLE != 0,
                executable: buffer.flags & alloc_flag::EXECUTABLE != 0,
            };
            // SAFETY: the arena's mapping lives as long as the device; the caller keeps user memory mapped until it
            // has freed the buffer, which needs an unmap first.
            unsafe { self.space.map(span) };
        }
        table.buffers.get_mut(&id).expect("present above, under the same lock").mapped = true;
        Ok(())
    }

    /// Takes a buffer from the GPU again.
    pub fn unmap(&self, handle: u64) -> Result<(), Errno> {
        let mut table = self.lock();
        let id = self.id(handle).ok_or(Errno(libc::ENOMEM))?;
        let buffer = table.buffers.get_mut(&id).ok_or(Errno(libc::ENOMEM))?;
        if buffer.mapped {
            buffer.mapped = false;
            self.space.unmap(buffer.va, buffer.va_bytes());
        }
        Ok(())
    }

    /// Host address of a buffer of at least `len` bytes.
    pub fn host(&self, handle: u64, len: u64) -> Result<*mut u8, Errno> {
        let table = self.lock();
        let buffer = self.id(handle).and_then(|id| table.buffers.get(&id)).ok_or(Errno(libc::EINVAL))?;
        if buffer.size < len { Err(Errno(libc::EINVAL)) } else { Ok(buffer.host as *mut u8) }
    }
}
