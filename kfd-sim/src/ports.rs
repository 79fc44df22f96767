//! What the command processor needs from the kernel side, as a trait, so that each is tested without the other.

use crate::memory::MemoryFault;

/// Where the GPU's interrupts go. Called from the device's own thread; must not block.
pub trait Interrupts: Send + Sync {
    /// A signal's event id was written to its mailbox: set that event.
    fn event(&self, event_id: u32);
    /// A wavefront or the command processor touched memory that is not mapped.
    fn memory_fault(&self, queue_id: u32, fault: MemoryFault);
}
