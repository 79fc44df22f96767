//! A queue of the device, of either kind.

use super::aql_queue::{self, AqlQueue};
use super::common::{Common, Device, Stop, What};
use super::sdma::SdmaQueue;
use crate::memory::AddressSpace;

/// The part that depends on the queue's kind.
pub(crate) enum Body {
    Aql(AqlQueue),
    Sdma(SdmaQueue),
}

/// A queue of the device.
pub(crate) struct Queue {
    pub common: Common,
    pub body: Body,
}

impl Queue {
    /// Whether there is anything to look at even without a ring or an event.
    pub fn wants_attention(&self) -> bool {
        !self.common.failed
            && !self.common.paused()
            && self.common.permits != Some(0)
            && match &self.body {
                Body::Aql(aql) => aql.wants_attention(&self.common),
                Body::Sdma(sdma) => sdma.wants_attention(&self.common),
            }
    }

    /// Looks at packets as far as that is possible at GPU time `now`. Returns whether anything moved.
    pub fn step(&mut self, device: &mut Device, now: u64) -> Result<bool, Stop> {
        if self.common.failed || self.common.paused() {
            return Ok(false);
        }
        match &mut self.body {
            Body::Aql(aql) => aql.step(&mut self.common, device, now),
            Body::Sdma(sdma) => sdma.step(&mut self.common, device, now),
        }
    }

    /// An event of this queue came due.
    pub fn event(&mut self, device: &mut Device, what: What, now: u64) -> Result<(), Stop> {
        if self.common.failed {
            return Ok(());
        }
        if self.common.paused() {
            self.common.held.push(what);
            return Ok(());
        }
        match (what, &mut self.body) {
            (What::Done(index), Body::Aql(aql)) => aql.complete(&self.common, device, index, now),
            // Wake: `step` follows every event.
            _ => Ok(()),
        }
    }

    /// Whether there is anything to do if it gets its turn.
    pub fn has_work(&self) -> bool {
        !self.common.failed
            && match &self.body {
                Body::Aql(aql) => aql.has_work(&self.common),
                Body::Sdma(sdma) => sdma.wants_attention(&self.common),
            }
    }

    /// Race detection: the write index was read.
    pub fn published(&mut self, device: &Device) {
        if let (Body::Aql(aql), Some(races)) = (&mut self.body, &device.races) {
            aql.published(races, &self.common);
        }
    }

    pub fn is_aql(&self) -> bool {
        matches!(self.body, Body::Aql(_))
    }

    /// The signal through which the queue's errors go, if it has one.
    pub fn inactive_signal(&self, mem: &AddressSpace) -> Option<u64> {
        match &self.body {
            Body::Aql(_) => aql_queue::inactive_signal(&self.common, mem).ok().filter(|&s| s != 0),
            Body::Sdma(_) => None,
        }
    }
}
