//! HSA signals as the device sees them: `amd_signal_t` in GPU memory, mailbox, event.

use super::aql::signal;
use super::gpu_memory::GpuMemory;
use crate::memory::{AddressSpace, MemoryFault};
use crate::ports::Interrupts;

/// Whether a dependency is met: its signal has the value 0.
pub(crate) fn is_zero(mem: &AddressSpace, handle: u64) -> Result<bool, MemoryFault> {
    Ok(mem.load64(handle.wrapping_add(signal::VALUE))? == 0)
}

/// The signal's value.
pub(crate) fn value(mem: &AddressSpace, handle: u64) -> Result<u64, MemoryFault> {
    mem.load64(handle.wrapping_add(signal::VALUE))
}

/// Completes a packet and returns its signal's new value: ticks first, then the decrement, then the mailbox and the event.
///
/// The host may destroy the signal as soon as it sees the new value, so everything that is read from it is read before.
pub(crate) fn complete(
    mem: &AddressSpace,
    handle: u64,
    ticks: Option<(u64, u64)>,
    interrupts: &dyn Interrupts,
) -> Result<u64, MemoryFault> {
    if let Some((start, end)) = ticks {
        mem.store64(handle.wrapping_add(signal::START_TS), start)?;
        mem.store64(handle.wrapping_add(signal::END_TS), end)?;
    }
    let event = event_of(mem, handle)?;
    let old = mem.add64(handle.wrapping_add(signal::VALUE), u64::MAX)?;
    raise(mem, event, interrupts)?;
    Ok(old.wrapping_sub(1))
}

/// Address of a signal's value.
pub(crate) fn value_va(handle: u64) -> u64 {
    handle.wrapping_add(signal::VALUE)
}

/// Loses every interrupt: a fault plan asks for that.
pub(crate) struct Deaf;

impl Interrupts for Deaf {
    fn event(&self, _: u32) {}
    fn memory_fault(&self, _: u32, _: MemoryFault) {}
}

/// Stores a value and raises the signal's event.
pub(crate) fn store(
    mem: &AddressSpace,
    handle: u64,
    value: u64,
    interrupts: &dyn Interrupts,
) -> Result<(), MemoryFault> {
    let event = event_of(mem, handle)?;
    mem.store64(handle.wrapping_add(signal::VALUE), value)?;
    raise(mem, event, interrupts)
}

fn event_of(mem: &AddressSpace, handle: u64) -> Result<Option<(u64, u32)>, MemoryFault> {
    match mem.load64(handle.wrapping_add(signal::MAILBOX))? {
        0 => Ok(None),
        mailbox => Ok(Some((mailbox, mem.load32(handle.wrapping_add(signal::EVENT_ID))?))),
    }
}

fn raise(
    mem: &AddressSpace,
    event: Option<(u64, u32)>,
    interrupts: &dyn Interrupts,
) -> Result<(), MemoryFault> {
    if let Some((mailbox, id)) = event {
        mem.store64(mailbox, u64::from(id))?;
        interrupts.event(id);
    }
    Ok(())
}
