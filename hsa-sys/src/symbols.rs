//! Collects the addresses of functions by name, and every required name that has none.
//!
//! Used by the generated `Functions::resolve` only. No memory of its own outlives the call.

use core::ffi::CStr;

/// Addresses found so far through a caller's look-up.
pub(crate) struct Symbols<F> {
    find: F,
    missing: Vec<&'static CStr>,
}

impl<F: FnMut(&CStr) -> Option<*const ()>> Symbols<F> {
    pub(crate) fn new(find: F) -> Self {
        Symbols { find, missing: Vec::new() }
    }

    /// The address of `name`; null and remembered as missing if there is none.
    pub(crate) fn required(&mut self, name: &'static CStr) -> *const () {
        let address = self.optional(name);
        if address.is_null() {
            self.missing.push(name);
        }
        address
    }

    /// The address of `name`, or null.
    pub(crate) fn optional(&mut self, name: &'static CStr) -> *const () {
        (self.find)(name).unwrap_or(core::ptr::null())
    }

    /// All required names that were not found, as an error.
    pub(crate) fn finish(self) -> Result<(), Vec<&'static CStr>> {
        if self.missing.is_empty() { Ok(()) } else { Err(self.missing) }
    }
}

/// Reads an address as a function pointer type, or as an `Option` of one (null is `None`).
///
/// # Safety
/// `F` must be a function pointer type and `address` not null, or `F` an `Option` of one; what is at `address` must
/// be a function of that signature.
pub(crate) unsafe fn cast<F: Copy>(address: *const ()) -> F {
    const { assert!(size_of::<F>() == size_of::<*const ()>()) };
    // SAFETY: the sizes are equal (asserted above), and the caller promises that the bits are a valid `F`.
    unsafe { core::mem::transmute_copy(&address) }
}
