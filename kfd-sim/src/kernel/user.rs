//! Access to the caller's memory as a kernel has it: a bad pointer is EFAULT, never a crash.
//!
//! The caller is this very process, so the copies go through `process_vm_readv`/`process_vm_writev` on ourselves, which
//! check every page. Where a sandbox forbids these calls, plain copies are used: then a bad pointer faults. Any thread.

use super::uapi::Errno;
use bytemuck::Pod;

/// Most bytes that an array argument may have: a bound on what a hostile count can make us allocate.
const LARGEST_ARRAY: usize = 16 << 20;

fn vectored(user: u64, local: *mut u8, len: usize, write: bool) -> Result<(), Errno> {
    if len == 0 {
        return Ok(());
    }
    if user == 0 || user.checked_add(len as u64).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno(libc::EFAULT));
    }
    let ours = libc::iovec { iov_base: local.cast(), iov_len: len };
    let theirs = libc::iovec { iov_base: user as *mut libc::c_void, iov_len: len };
    // SAFETY: `ours` is a live local buffer of `len` bytes; the kernel checks `theirs` page by page.
    let done = unsafe {
        let pid = libc::getpid();
        if write {
            libc::process_vm_writev(pid, &ours, 1, &theirs, 1, 0)
        } else {
            libc::process_vm_readv(pid, &ours, 1, &theirs, 1, 0)
        }
    };
    if done == len as isize {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    if done < 0 && (errno == libc::EPERM || errno == libc::ENOSYS) {
        // SAFETY: forbidden by a sandbox: trust the caller's pointer, as any libc function does.
        unsafe {
            if write {
                std::ptr::copy(local, user as *mut u8, len);
            } else {
                std::ptr::copy(user as *const u8, local, len);
            }
        }
        return Ok(());
    }
    Err(Errno(libc::EFAULT))
}

/// Copies bytes from the caller.
pub fn read_bytes(user: u64, into: &mut [u8]) -> Result<(), Errno> {
    vectored(user, into.as_mut_ptr(), into.len(), false)
}

/// Copies bytes to the caller.
pub fn write_bytes(user: u64, from: &[u8]) -> Result<(), Errno> {
    vectored(user, from.as_ptr().cast_mut(), from.len(), true)
}

/// Copies `count` values from the caller; EINVAL if that is absurdly many.
pub fn read_array<T: Pod>(user: u64, count: usize) -> Result<Vec<T>, Errno> {
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > LARGEST_ARRAY) {
        return Err(Errno(libc::EINVAL));
    }
    let mut values = vec![T::zeroed(); count];
    read_bytes(user, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

/// Copies values to the caller.
pub fn write_array<T: Pod>(user: u64, values: &[T]) -> Result<(), Errno> {
    write_bytes(user, bytemuck::cast_slice(values))
}

/// Whether every page of the range is mapped in this process (a cheap stand-in for pinning the pages).
pub fn is_mapped(address: u64, len: u64) -> bool {
    let page = 4096u64;
    let (Some(end), start) = (address.checked_add(len), address & !(page - 1)) else { return false };
    let mut residency = vec![0u8; 16 << 10];
    let step = residency.len() as u64 * page;
    let mut at = start;
    while at < end {
        let bytes = step.min(end - at);
        // SAFETY: mincore reads no memory; `residency` has one byte for each page asked about.
        if unsafe { libc::mincore(at as *mut libc::c_void, bytes as usize, residency.as_mut_ptr()) } != 0 {
            return false;
        }
        at += bytes;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_pointers_are_efault() {
        let mut bytes = [0u8; 16];
        assert_eq!(read_bytes(0, &mut bytes), Err(Errno(libc::EFAULT)));
        assert_eq!(read_bytes(0x10, &mut bytes), Err(Errno(libc::EFAULT)));
        assert_eq!(write_bytes(u64::MAX - 4, &bytes), Err(Errno(libc::EFAULT)));
        assert_eq!(read_array::<u64>(0x1000, usize::MAX).unwrap_err(), Errno(libc::EINVAL));
        assert!(!is_mapped(0x1000, 64));
        assert!(is_mapped(bytes.as_ptr() as u64, 16));
    }

    #[test]
    fn copies_both_ways() {
        let source = [1u32, 2, 3];
        let copy: Vec<u32> = read_array(source.as_ptr() as u64, 3).unwrap();
        assert_eq!(copy, source);
        let mut target = [0u32; 3];
        write_array(target.as_mut_ptr() as u64, &copy).unwrap();
        assert_eq!(target, source);
    }
}
