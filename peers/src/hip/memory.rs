//! Memory on the GPU that HIP allocated.

use std::ffi::{c_int, c_void};

use super::{Error, Hip, Result};

const HOST_TO_DEVICE: c_int = 1;
const DEVICE_TO_HOST: c_int = 2;

/// `hipMalloc`'s memory; freed when dropped.
#[derive(Debug)]
pub struct Memory {
    hip: Hip,
    address: *mut c_void,
    bytes: usize,
}

// SAFETY: only an address; HIP's calls on it may be made from any thread.
unsafe impl Send for Memory {}
// SAFETY: as for Send.
unsafe impl Sync for Memory {}

impl Hip {
    /// Allocates memory on the GPU. Its contents are undefined.
    ///
    /// # Errors
    /// [`Error::Call`] if there is not that much.
    pub fn malloc(&self, bytes: usize) -> Result<Memory> {
        let mut address = std::ptr::null_mut();
        // SAFETY: the address is written on success.
        self.check("hipMalloc", unsafe { (self.functions.hipMalloc)(&raw mut address, bytes) })?;
        Ok(Memory { hip: self.clone(), address, bytes })
    }
}

impl Memory {
    /// The address that kernels see.
    pub fn address(&self) -> u64 {
        self.address as u64
    }

    /// Copies words to the beginning of the memory (`hipMemcpy`), after everything on HIP's null stream.
    ///
    /// # Errors
    /// [`Error::Range`] for too many, [`Error::Call`].
    pub fn write(&self, items: &[u32]) -> Result<()> {
        let bytes = self.fits(items)?;
        // SAFETY: both sides have that many bytes.
        let code = unsafe {
            (self.hip.functions.hipMemcpy)(self.address, items.as_ptr().cast(), bytes, HOST_TO_DEVICE)
        };
        self.hip.check("hipMemcpy", code)
    }

    /// Copies words from the beginning of the memory (`hipMemcpy`), after everything on HIP's null stream.
    ///
    /// # Errors
    /// As [`Memory::write`].
    pub fn read(&self, items: &mut [u32]) -> Result<()> {
        let bytes = self.fits(items)?;
        // SAFETY: both sides have that many bytes; any bytes are a u32.
        let code = unsafe {
            (self.hip.functions.hipMemcpy)(items.as_mut_ptr().cast(), self.address, bytes, DEVICE_TO_HOST)
        };
        self.hip.check("hipMemcpy", code)
    }

    fn fits(&self, items: &[u32]) -> Result<usize> {
        let asked = size_of_val(items);
        if asked > self.bytes { Err(Error::Range { asked, available: self.bytes }) } else { Ok(asked) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the memory is ours. hipFree waits for HIP's own work; other users are the owner's business.
        unsafe { (self.hip.functions.hipFree)(self.address) };
    }
}
