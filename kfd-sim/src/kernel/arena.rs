//! Backing store: sparse memfds that the caller maps through the device files, and the device's own mappings of them.
//!
//! The caller's mappings come from plain `mmap` on dups of these descriptors. The device's mappings live as long as the
//! arena, so a stale GPU access after a free reads zeroes and never faults in the host. Any thread.

use super::uapi::Errno;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Page size of the simulated GPU and of the offsets in its files.
pub const PAGE: u64 = 4096;

fn last_errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// A sparse memory file.
#[derive(Debug)]
pub struct MemFile {
    fd: OwnedFd,
    identity: (u64, u64),
}

impl MemFile {
    /// Creates an empty file of `len` bytes.
    pub fn new(name: &CStr, len: u64) -> Result<Self, Errno> {
        // SAFETY: the name is NUL-terminated; a non-negative result is a new descriptor that we own.
        let fd = unsafe {
            let raw = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
            if raw < 0 {
                return Err(last_errno());
            }
            OwnedFd::from_raw_fd(raw)
        };
        // SAFETY: plain system calls on our descriptor; `stat` is valid for any bytes.
        let identity = unsafe {
            if libc::ftruncate(fd.as_raw_fd(), len as i64) != 0 {
                return Err(last_errno());
            }
            // Its size stays: a caller that truncates its device file must not take memory away below the device.
            libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW);
            fd_identity(fd.as_raw_fd()).ok_or_else(last_errno)?
        };
        Ok(Self { fd, identity })
    }

    /// Device and inode: how a dup of this file is recognised.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// A new descriptor of the file for the caller.
    pub fn duplicate(&self, close_on_exec: bool) -> Result<RawFd, Errno> {
        let command = if close_on_exec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
        // SAFETY: fcntl on our own descriptor; 3 keeps clear of the standard streams.
        let fd = unsafe { libc::fcntl(self.fd.as_raw_fd(), command, 3) };
        if fd < 0 { Err(last_errno()) } else { Ok(fd) }
    }

    /// Maps part of the file into the device.
    pub fn map(&self, offset: u64, len: u64) -> Result<Mapping, Errno> {
        // SAFETY: a new shared mapping of our own file at an address that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                self.fd.as_raw_fd(),
                offset as i64,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_errno());
        }
        // SAFETY: the range was mapped just now. A forked child has no device, so it needs no copy of the mapping.
        unsafe { libc::madvise(base, len as usize, libc::MADV_DONTFORK) };
        Ok(Mapping { base: base.cast(), len: len as usize })
    }

    /// Gives the pages of a range back to the system; they read as zero afterwards.
    pub fn discard(&self, offset: u64, len: u64) {
        // SAFETY: a system call on our own descriptor.
        unsafe {
            libc::fallocate(
                self.fd.as_raw_fd(),
                libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                offset as i64,
                len as i64,
            )
        };
    }
}

/// Device and inode of an open descriptor, asked of the kernel directly (our own `fstat` hook would answer for it).
pub fn fd_identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: `statx` is filled by the kernel; all-zero is a valid value of it; the empty path is NUL-terminated.
    unsafe {
        let mut stat: libc::statx = std::mem::zeroed();
        let done = libc::syscall(
            libc::SYS_statx,
            fd,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_INO,
            &raw mut stat,
        );
        let device = (u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor);
        (done == 0).then_some((device, stat.stx_ino))
    }
}

/// A mapping of a memory file, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: a mapping is an address range; access through it is the business of whoever holds a pointer.
unsafe impl Send for Mapping {}
// SAFETY: as for Send.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Host address of `offset` bytes into the mapping.
    pub fn at(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < self.len as u64);
        self.base.wrapping_add(offset as usize)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours from `MemFile::map`.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// First-fit allocator of page ranges in `[start, end)`.
#[derive(Debug)]
pub struct RangeAllocator {
    free: Mutex<BTreeMap<u64, u64>>,
}

impl RangeAllocator {
    /// Everything free.
    pub fn new(start: u64, end: u64) -> Self {
        Self { free: Mutex::new(BTreeMap::from([(start, end - start)])) }
    }

    /// Takes `len` bytes, rounded up to pages.
    pub fn allocate(&self, len: u64) -> Option<u64> {
        let len = len.checked_next_multiple_of(PAGE)?;
        let mut free = self.free.lock().unwrap();
        let (&at, &size) = free.iter().find(|(_, size)| **size >= len)?;
        free.remove(&at);
        if size > len {
            free.insert(at + len, size - len);
        }
        Some(at)
    }

    /// Gives back what `allocate` returned for the same `len`.
    pub fn release(&self, at: u64, len: u64) {
        let mut len = len.next_multiple_of(PAGE);
        let mut at = at;
        let mut free = self.free.lock().unwrap();
        if let Some(after) = free.remove(&(at + len)) {
            len += after;
        }
        if let Some((&before, &size)) = free.range(..at).next_back()
            && before + size == at
        {
            free.remove(&before);
            at = before;
            len += size;
        }
        free.insert(at, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_reused_and_coalesced() {
        let ranges = RangeAllocator::new(0, 4 * PAGE);
        let a = ranges.allocate(1).unwrap();
        let b = ranges.allocate(2 * PAGE).unwrap();
        let c = ranges.allocate(PAGE).unwrap();
        assert_eq!((a, b, c), (0, PAGE, 3 * PAGE));
        assert_eq!(ranges.allocate(1), None);
        ranges.release(a, 1);
        ranges.release(c, PAGE);
        assert_eq!(ranges.allocate(2 * PAGE), None);
        ranges.release(b, 2 * PAGE);
        assert_eq!(ranges.allocate(4 * PAGE), Some(0));
        assert_eq!(ranges.allocate(u64::MAX), None);
    }

    #[test]
    fn device_and_caller_see_the_same_bytes_and_discard_clears_them() {
        let file = MemFile::new(c"arena-test", 1 << 40).unwrap();
        let fd = file.duplicate(true).unwrap();
        assert_eq!(fd_identity(fd), Some(file.identity()));
        let (device, caller) = (file.map(1 << 39, PAGE).unwrap(), file.map(1 << 39, PAGE).unwrap());
        // SAFETY: both mappings are live and hold a page.
        unsafe {
            device.at(8).write(7);
            assert_eq!(caller.at(8).read(), 7);
            file.discard(1 << 39, PAGE);
            assert_eq!(caller.at(8).read(), 0);
            libc::close(fd);
        }
    }
}
