//! A kernel as the model sees it: how many workgroups, what each holds and what each must do. Pure data.

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::ModelError;

/// A kernel dispatch. All workgroups are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Workgroups of the grid.
    pub workgroups: u64,
    /// Waves (warps) of each workgroup.
    pub waves: u32,
    /// Vector registers of a lane; 0 = they do not limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub registers: u32,
    /// Scalar registers of a wave; 0 = they do not limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scalars: u32,
    /// Bytes of local memory of a workgroup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lds_bytes: u32,
    /// Issue time of each wave in ns: how long it takes when it has a SIMD unit to itself and never waits.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub issue_ns: f64,
    /// Bytes that a workgroup moves to and from memory.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub bytes: f64,
    /// A workgroup takes at least this long, whatever it is given, ns.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub latency_ns: f64,
    /// Waves that must sit on a SIMD unit to keep it busy; `None` = the device's constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturating_waves: Option<f64>,
    /// Launch and completion together, ns, half before the first workgroup and half after the last; `None` = the device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ns: Option<f64>,
    /// Workgroups that end together free their CU at once, so that the CU is filled up again before the next one; else
    /// they are spread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_together: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_nothing(value: &f64) -> bool {
    *value == 0.0
}

/// What one workgroup takes of its CU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub waves: u32,
    /// In shares of [`REGISTER_UNITS`] a SIMD unit.
    pub registers: u32,
    pub lds: u32,
    /// In units of which a CU has `workgroups_per_cu` x `barriers_per_cu`.
    pub workgroups: u32,
}

/// A SIMD unit's registers in units that 1 to 16 waves divide evenly.
pub(crate) const REGISTER_UNITS: u32 = 720_720;

impl Kernel {
    /// A kernel of `workgroups` x `waves` whose waves each issue for `issue_ns` and move no byte.
    pub fn compute(name: &str, workgroups: u64, waves: u32, issue_ns: f64) -> Self {
        Self {
            name: name.to_owned(),
            workgroups,
            waves,
            registers: 0,
            scalars: 0,
            lds_bytes: 0,
            issue_ns,
            bytes: 0.0,
            latency_ns: 0.0,
            saturating_waves: None,
            overhead_ns: None,
            ends_together: false,
        }
    }

    /// The cost of a workgroup on `device`, or why none of its CUs can ever hold one.
    pub(crate) fn cost(&self, device: &Device) -> Result<Cost, ModelError> {
        let wrong = |what: String| Err(ModelError::Kernel { name: self.name.clone(), what });
        let occupancy = &device.occupancy;
        if self.workgroups == 0 || self.waves == 0 {
            return wrong("has no workgroup, or workgroups of no wave: give at least 1 of each".to_owned());
        }
        let numbers = [
            ("issue_ns", Some(self.issue_ns)),
            ("bytes", Some(self.bytes)),
            ("latency_ns", Some(self.latency_ns)),
            ("overhead_ns", self.overhead_ns),
        ];
        for (name, value) in numbers {
            if value.is_some_and(|value| !value.is_finite() || !(0.0..=1e18).contains(&value)) {
                return wrong(format!("{name} is {value:?}: must be a number from 0 to 1e18"));
            }
        }
        if self.saturating_waves.is_some_and(|waves| !waves.is_finite() || waves < 1.0) {
            return wrong("saturating_waves must be 1 or more".to_owned());
        }
        let simds = device.shape.simds_per_cu.count();
        let most = occupancy.waves_per_simd.count();
        let align = |value: u32, granule: u32| u64::from(value).next_multiple_of(u64::from(granule.max(1)));
        let fit = |used: u32, granule: u32, all: u32| match align(used, granule) {
            0 => most,
            _ if all == 0 => most,
            used => most.min((u64::from(all) / used) as u32),
        };
        let vector =
            fit(self.registers, occupancy.register_granule.count(), occupancy.registers_per_simd.count());
        let scalar = fit(self.scalars, occupancy.scalar_granule.count(), occupancy.scalars_per_simd.count());
        let waves = vector.min(scalar);
        if waves * simds < self.waves {
            return wrong(format!(
                "a workgroup of {} waves with {} vector and {} scalar registers fits on no CU of {}, which holds {} of its waves",
                self.waves,
                self.registers,
                self.scalars,
                device.name,
                waves * simds
            ));
        }
        let lds =
            align(self.lds_bytes, occupancy.lds_granule.count()) + u64::from(occupancy.lds_overhead.count());
        if self.lds_bytes > 0 && lds > u64::from(occupancy.lds_bytes.count()) {
            return wrong(format!(
                "needs {} bytes of local memory; a CU of {} has {}",
                self.lds_bytes,
                device.name,
                occupancy.lds_bytes.count()
            ));
        }
        let workgroups =
            if self.waves > 1 { &occupancy.workgroups_per_cu } else { &occupancy.barriers_per_cu };
        let registers = REGISTER_UNITS / waves * self.waves;
        Ok(Cost { waves: self.waves, registers, lds: lds as u32, workgroups: workgroups.count() })
    }

    /// How many of its workgroups one empty CU of `device` holds.
    pub fn workgroups_per_cu(&self, device: &Device) -> Result<u32, ModelError> {
        Ok(crate::engine::Room::of(device).fits(&self.cost(device)?))
    }
}
