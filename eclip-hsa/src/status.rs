//! HSA statuses in words.

use hsa_sys::{HSA_STATUS_SUCCESS, Hsa, hsa_status_t};

use crate::error::{Error, Result};

/// ROCr's words for a status.
pub(crate) fn status_text(hsa: &Hsa, status: hsa_status_t) -> String {
    let mut text = std::ptr::null();
    // SAFETY: HSA writes a pointer to a static string, or fails.
    let found = unsafe { (hsa.hsa_status_string)(status, &raw mut text) };
    if found != HSA_STATUS_SUCCESS || text.is_null() {
        return "unknown status".into();
    }
    // SAFETY: on success HSA gives a NUL-terminated string that lives as long as the runtime.
    let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
    // ROCr's texts begin with the constant's name.
    text.trim().trim_end_matches('.').to_owned()
}

/// Turns a status into an error that names the call.
pub(crate) fn check_with(hsa: &Hsa, call: &'static str, status: hsa_status_t) -> Result<()> {
    match status {
        HSA_STATUS_SUCCESS => Ok(()),
        status => Err(Error::Hsa { call, status, text: status_text(hsa, status), context: String::new() }),
    }
}
