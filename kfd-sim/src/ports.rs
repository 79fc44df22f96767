//! What the command processor needs from the kernel side and from whoever watches or disturbs it, as a trait, so that each is tested without the other.

use crate::journal::Event;
use crate::memory::MemoryFault;
use crate::plan::Fault;

/// Where the GPU's interrupts go. Called from the device's own thread; must not block.
pub trait Interrupts: Send + Sync {
    /// A signal's event id was written to its mailbox: set that event.
    fn event(&self, event_id: u32);
    /// A wavefront or the command processor touched memory that is not mapped.
    fn memory_fault(&self, queue_id: u32, fault: MemoryFault);
    /// Something happened that is worth a line in the journal.
    fn note(&self, _event: Event) {}
    /// Whether every packet is worth one.
    fn wants_packets(&self) -> bool {
        false
    }
    /// What shall go wrong with a dispatch that is about to start.
    fn planned(&self, _queue_id: u32, _kernel: Option<&str>) -> Option<Fault> {
        None
    }
}
