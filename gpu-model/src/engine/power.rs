//! Energy, integrated exactly: power is constant between two events.

use crate::device::Device;

/// What draws power at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Activity {
    /// SIMD units' worth of issue slots in use.
    pub issue: f64,
    /// Bytes a ns.
    pub bytes: f64,
    /// CUs that hold a workgroup.
    pub awake: u32,
}

/// Joules by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Energy {
    /// Idle power x time.
    pub idle: f64,
    /// Instructions issued.
    pub issue: f64,
    /// Bytes moved, and memory kept awake for it.
    pub memory: f64,
    /// CUs kept awake.
    pub cus: f64,
    /// Bytes moved, for checks and reports.
    pub bytes: f64,
    /// SIMD-ns of issue, for checks and reports.
    pub issued_ns: f64,
}

impl Energy {
    /// All joules.
    pub fn joules(&self) -> f64 {
        self.idle + self.issue + self.memory + self.cus
    }

    /// What was spent since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            idle: self.idle - earlier.idle,
            issue: self.issue - earlier.issue,
            memory: self.memory - earlier.memory,
            cus: self.cus - earlier.cus,
            bytes: self.bytes - earlier.bytes,
            issued_ns: self.issued_ns - earlier.issued_ns,
        }
    }

    pub(crate) fn add(&mut self, power: &Watts, activity: &Activity, ns: f64) {
        let seconds = ns * 1e-9;
        self.idle += power.idle * seconds;
        self.issue += power.issue * activity.issue * seconds;
        // pJ per byte x bytes per ns = mW.
        let awake = if activity.bytes > 0.0 { power.memory_awake } else { 0.0 };
        self.memory += (power.byte_pj * activity.bytes * 1e-3 + awake) * seconds;
        self.cus += power.cu_awake * f64::from(activity.awake) * seconds;
        self.bytes += activity.bytes * ns;
        self.issued_ns += activity.issue * ns;
    }
}

/// The device's constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watts {
    idle: f64,
    issue: f64,
    byte_pj: f64,
    memory_awake: f64,
    cu_awake: f64,
}

impl Watts {
    pub fn of(device: &Device) -> Self {
        let power = &device.power;
        Self {
            idle: power.idle_w.value,
            issue: power.issue_w.value,
            byte_pj: power.byte_pj.value,
            memory_awake: power.memory_awake_w.value,
            cu_awake: power.cu_awake_w.value,
        }
    }

    /// Watts at `activity`.
    pub fn at(&self, activity: &Activity) -> f64 {
        let mut energy = Energy::default();
        energy.add(self, activity, 1e9);
        energy.joules()
    }
}
