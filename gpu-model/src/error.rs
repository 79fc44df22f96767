//! What can be wrong with a device, a kernel, a mask or a scenario.

use thiserror::Error;

/// Why the model cannot be asked this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// The text is no device description.
    #[error("device {name}: {what}")]
    Device {
        /// The device's name, or the file's.
        name: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The kernel can never run on this device.
    #[error("kernel {name}: {what}")]
    Kernel {
        /// The kernel's name.
        name: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The mask is no mask of this device.
    #[error("mask {mask}: {what}")]
    Mask {
        /// The mask as it was given.
        mask: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The scenario contradicts itself.
    #[error("scenario: {0}")]
    Scenario(String),
    /// No such queue, or it was removed.
    #[error("queue {0} does not exist: it was never added, or was removed")]
    NoQueue(u32),
    /// No such packet, or it has ended.
    #[error("packet {0} is not in flight: it was never submitted, or has ended")]
    NoPacket(u64),
    /// A constant that the device has not.
    #[error("constant {name} does not exist; the device has: {known}")]
    NoConstant {
        /// As it was asked for.
        name: String,
        /// All names.
        known: String,
    },
}
