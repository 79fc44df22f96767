//! Buffers: memory that kernels and the host use in turn.
//!
//! A [`Buffer`] is a handle; work in flight holds one too, so memory is freed only when nothing uses it, even if every
//! token was forgotten. The host gets at the contents only while no work in flight has the buffer, and a kernel gets it only
//! while the host has not mapped it: the count is kept at run time, and whoever comes second gets [`Error::BufferBusy`].
//! Any thread may call anything here.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::block::{Block, Lease};
use crate::copy::{Direction, transfer};
use crate::error::{Error, Result};
use crate::turn::{READERS, WRITER};

/// Memory of `T`s that kernels can use.
pub struct Buffer<T> {
    block: Arc<Block>,
    len: usize,
    items: PhantomData<T>,
}

impl Agent {
    /// Memory on this GPU, zeroed. The host reaches it by copying ([`Buffer::write`], [`Buffer::to_vec`]).
    ///
    /// # Errors
    /// [`Error::Range`] for no items or an impossible size, [`Error::Hsa`] if there is not that much memory.
    pub fn alloc<T: Pod>(&self, len: usize) -> Result<Buffer<T>> {
        self.check_alive()?;
        let bytes = byte_size::<T>(len)?;
        let block = Block::new(self, self, PoolKind::CoarseGrained, bytes)?;
        let words = block.bytes() / 4;
        // SAFETY: the block is ours, `bytes` rounded up to whole words long, and nothing uses it yet.
        let status = unsafe { (self.runtime().hsa().hsa_amd_memory_fill)(block.address().cast(), 0, words) };
        self.runtime().check("hsa_amd_memory_fill", status)?;
        self.note_host_write();
        Ok(Buffer { block: Arc::new(block), len, items: PhantomData })
    }

    /// Host memory that this GPU can use, zeroed: fine-grained, so the host can map it ([`Buffer::map`]).
    ///
    /// # Errors
    /// As [`Agent::alloc`].
    pub fn alloc_host<T: Pod>(&self, len: usize) -> Result<Buffer<T>> {
        let bytes = byte_size::<T>(len)?;
        let block = Block::host(self, PoolKind::FineGrained, bytes)?;
        self.note_host_write();
        Ok(Buffer { block: Arc::new(block), len, items: PhantomData })
    }

    /// A buffer on this GPU with a copy of `items`.
    ///
    /// # Errors
    /// As [`Agent::alloc`].
    pub fn upload<T: Pod>(&self, items: &[T]) -> Result<Buffer<T>> {
        let buffer = self.alloc(items.len())?;
        buffer.write(items)?;
        Ok(buffer)
    }
}

impl<T: Pod> Buffer<T> {
    /// Items.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The address that kernels see.
    pub fn address(&self) -> u64 {
        self.block.address() as u64
    }

    /// Whether the host can map it.
    pub fn is_host_visible(&self) -> bool {
        self.block.is_host_visible()
    }

    /// Copies `items` to the beginning of the buffer.
    ///
    /// # Errors
    /// [`Error::BufferBusy`] while work in flight or a mapping has the buffer, [`Error::Range`] for too many items, [`Error::Failed`] if the
    /// GPU was lost, [`Error::Hsa`] if ROCr cannot copy.
    pub fn write(&self, items: &[T]) -> Result<()> {
        self.write_at(0, items)
    }

    /// Copies `items` into the buffer, beginning at item `first`.
    ///
    /// # Errors
    /// As [`Buffer::write`].
    pub fn write_at(&self, first: usize, items: &[T]) -> Result<()> {
        let range = self.range(first, items.len())?;
        let _lease = self.block.lease(WRITER)?;
        let host = items.as_ptr().cast_mut().cast();
        // SAFETY: the range is inside the block, which no work in flight and no mapping has (the lease); `items` is host memory
        // of the same length, only read, and cannot overlap memory that only this crate hands out.
        unsafe { transfer(&self.block, Direction::ToDevice, range.start, host, range.len()) }
    }

    /// Copies the beginning of the buffer into `items`.
    ///
    /// # Errors
    /// As [`Buffer::write`].
    pub fn read(&self, items: &mut [T]) -> Result<()> {
        self.read_at(0, items)
    }

    /// Copies `items.len()` items of the buffer, beginning at item `first`.
    ///
    /// # Errors
    /// As [`Buffer::write`].
    pub fn read_at(&self, first: usize, items: &mut [T]) -> Result<()> {
        let range = self.range(first, items.len())?;
        let _lease = self.block.lease(READERS)?;
        // SAFETY: as in `write_at`, in the other direction; any bytes are a valid T (Pod).
        unsafe {
            transfer(&self.block, Direction::FromDevice, range.start, items.as_mut_ptr().cast(), range.len())
        }
    }

    /// A copy of the whole contents.
    ///
    /// # Errors
    /// As [`Buffer::write`].
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let mut items = vec![T::zeroed(); self.len];
        self.read(&mut items)?;
        Ok(items)
    }

    /// Lets the host read the contents in place; kernels cannot get the buffer meanwhile.
    ///
    /// # Errors
    /// [`Error::BufferBusy`] as for [`Buffer::write`], [`Error::Range`] if the memory is on the GPU.
    pub fn map(&self) -> Result<Mapped<'_, T>> {
        self.check_host_visible()?;
        Ok(Mapped { lease: self.block.lease(READERS)?, len: self.len, items: PhantomData })
    }

    /// Lets the host read and write the contents in place; nobody else can get the buffer meanwhile.
    ///
    /// # Errors
    /// As [`Buffer::map`].
    pub fn map_mut(&self) -> Result<MappedMut<'_, T>> {
        self.check_host_visible()?;
        Ok(MappedMut { lease: self.block.lease(WRITER)?, len: self.len, items: PhantomData })
    }

    /// The part of the buffer from item `first` on, as a kernel argument.
    ///
    /// # Errors
    /// [`Error::Range`] if there is no such item.
    pub fn at(&self, first: usize) -> Result<BufferRef> {
        let range = self.range(first, 1)?;
        Ok(BufferRef { block: self.block.clone(), offset: range.start })
    }

    fn check_host_visible(&self) -> Result<()> {
        if self.block.is_host_visible() {
            return Ok(());
        }
        Err(Error::Range(
            "this buffer is on the GPU and cannot be mapped: use read, write or to_vec, or alloc_host".into(),
        ))
    }

    fn range(&self, first: usize, len: usize) -> Result<Range<usize>> {
        let end = first.checked_add(len).filter(|&end| end <= self.len);
        let end = end.ok_or_else(|| {
            Error::Range(format!(
                "items {first} to {first} + {len} are outside a buffer of {} items",
                self.len
            ))
        })?;
        Ok(first * size_of::<T>()..end * size_of::<T>())
    }
}

impl<T> Clone for Buffer<T> {
    /// Another handle to the same memory.
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), len: self.len, items: PhantomData }
    }
}

impl<T> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.block.is_host_visible() { "host" } else { "device" };
        write!(f, "Buffer({} x {} bytes at {:p}, {place})", self.len, size_of::<T>(), self.block.address())
    }
}

/// A buffer, or the rest of one, as a kernel argument.
#[derive(Clone)]
pub struct BufferRef {
    pub(crate) block: Arc<Block>,
    offset: usize,
}

impl BufferRef {
    /// The address that the kernel gets.
    pub fn address(&self) -> u64 {
        self.block.address() as u64 + self.offset as u64
    }
}

impl<T> From<&Buffer<T>> for BufferRef {
    fn from(buffer: &Buffer<T>) -> Self {
        Self { block: buffer.block.clone(), offset: 0 }
    }
}

impl std::fmt::Debug for BufferRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BufferRef({:#x})", self.address())
    }
}

/// Shared host access to a buffer, until dropped.
pub struct Mapped<'a, T> {
    lease: Lease<'a>,
    len: usize,
    items: PhantomData<T>,
}

/// Exclusive host access to a buffer, until dropped.
pub struct MappedMut<'a, T> {
    lease: Lease<'a>,
    len: usize,
    items: PhantomData<T>,
}

impl<T: Pod> Deref for Mapped<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: host-visible memory of `len` items, initialised when it was allocated; the lease keeps writers away.
        unsafe { std::slice::from_raw_parts(self.lease.address().cast(), self.len) }
    }
}

impl<T: Pod> Deref for MappedMut<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: as for Mapped; the lease is exclusive.
        unsafe { std::slice::from_raw_parts(self.lease.address().cast(), self.len) }
    }
}

impl<T: Pod> DerefMut for MappedMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this borrow of the exclusive lease is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lease.address().cast(), self.len) }
    }
}

fn byte_size<T>(len: usize) -> Result<usize> {
    const { assert!(size_of::<T>() > 0, "a buffer of a type without size") };
    // ROCr allocates whole pages.
    const { assert!(align_of::<T>() <= 4096, "a buffer of a type that is aligned to more than a page") };
    if len == 0 {
        return Err(Error::Range(
            "a buffer of no items: HSA cannot allocate it, and a kernel cannot use it".into(),
        ));
    }
    // ROCr rounds up to pages; leave room for that.
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize - (1 << 21));
    bytes.ok_or_else(|| {
        Error::Range(format!("{len} items of {} bytes are more than an address space", size_of::<T>()))
    })
}
