//! HIP's streams and events: work in order, and order between streams.

use std::ffi::c_void;

use super::{Hip, Result};

/// `hipEventDisableTiming`: the cheapest kind of event.
const DISABLE_TIMING: u32 = 2;

/// A stream; destroyed when dropped.
#[derive(Debug)]
pub struct Stream {
    hip: Hip,
    handle: *mut c_void,
}

/// An event; destroyed when dropped. It records no times.
#[derive(Debug)]
pub struct Event {
    hip: Hip,
    handle: *mut c_void,
}

// SAFETY: HIP's streams and events may be used from any thread.
unsafe impl Send for Stream {}
// SAFETY: as for Send.
unsafe impl Sync for Stream {}
// SAFETY: as for Stream.
unsafe impl Send for Event {}
// SAFETY: as for Stream.
unsafe impl Sync for Event {}

impl Hip {
    /// A stream that may use the whole GPU.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn stream(&self) -> Result<Stream> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is written on success.
        self.check("hipStreamCreate", unsafe { (self.functions.hipStreamCreate)(&raw mut handle) })?;
        Ok(Stream { hip: self.clone(), handle })
    }

    /// A stream on the compute units of a mask, lowest bit first.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn masked_stream(&self, mask: &[u32]) -> Result<Stream> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: HIP reads as many words as are given; the handle is written on success.
        let code = unsafe {
            (self.functions.hipExtStreamCreateWithCUMask)(&raw mut handle, mask.len() as u32, mask.as_ptr())
        };
        self.check("hipExtStreamCreateWithCUMask", code)?;
        Ok(Stream { hip: self.clone(), handle })
    }

    /// An event.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn event(&self) -> Result<Event> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is written on success.
        let code = unsafe { (self.functions.hipEventCreateWithFlags)(&raw mut handle, DISABLE_TIMING) };
        self.check("hipEventCreateWithFlags", code)?;
        Ok(Event { hip: self.clone(), handle })
    }
}

impl Stream {
    pub(super) fn handle(&self) -> *mut c_void {
        self.handle
    }

    /// Waits until everything on the stream is complete. HIP waits without a limit.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream is alive.
        let code = unsafe { (self.hip.functions.hipStreamSynchronize)(self.handle) };
        self.hip.check("hipStreamSynchronize", code)
    }

    /// Lets `event` stand for what is on the stream by now: `hipEventRecord` and nothing else.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn record(&self, event: &Event) -> Result<()> {
        // SAFETY: both are alive.
        let code = unsafe { (self.hip.functions.hipEventRecord)(event.handle, self.handle) };
        self.hip.check("hipEventRecord", code)
    }

    /// Holds up what is put on the stream later until `event` has happened: `hipStreamWaitEvent` and nothing else.
    ///
    /// # Errors
    /// [`super::Error::Call`].
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        // SAFETY: both are alive; the flags must be 0.
        let code = unsafe { (self.hip.functions.hipStreamWaitEvent)(self.handle, event.handle, 0) };
        self.hip.check("hipStreamWaitEvent", code)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is ours.
        unsafe { (self.hip.functions.hipStreamDestroy)(self.handle) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours.
        unsafe { (self.hip.functions.hipEventDestroy)(self.handle) };
    }
}
