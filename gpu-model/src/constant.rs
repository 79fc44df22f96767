//! A constant of a device with where it comes from. Plain data.

use serde::{Deserialize, Serialize};

/// A number and its source: a document, a measurement, or "assumed".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// In the unit that the constant's own documentation gives.
    pub value: f64,
    /// Where the value is from; begins with "assumed" if it is from nowhere.
    pub source: String,
}

impl Constant {
    /// Whether nothing but a guess stands behind it.
    pub fn is_assumed(&self) -> bool {
        self.source.starts_with("assumed")
    }

    /// The value as a count.
    pub fn count(&self) -> u32 {
        self.value as u32
    }
}
