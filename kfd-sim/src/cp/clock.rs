//! GPU time: host time that stops when the simulation cannot keep up.
//!
//! GPU time runs with the host's raw monotonic clock, but never past the *limit*: the earliest GPU time at which
//! something may happen that the command processor has not worked out yet. When the host reaches the limit first, the GPU
//! clock stands still there, and the lost time is counted as a stall. So what happens inside the GPU happens at exact GPU
//! times, whatever the host's speed and jitter. The GPU counter and the system counter are derived from this one clock and
//! stop together, or the runtime's translation of ticks would undo the stall.
//!
//! Any thread may read; only the command processor moves the limit.

use std::sync::Mutex;
use std::time::Duration;

#[derive(Debug)]
struct Pace {
    /// Host time (ns, raw monotonic) lost so far.
    stalled: u64,
    /// GPU time that must not be passed.
    limit: u64,
}

/// The clock of one simulated GPU. Times named `ns` are nanoseconds of GPU time since the clock was made.
#[derive(Debug)]
pub struct GpuClock {
    counter_hz: u64,
    host_base: u64,
    system_base: u64,
    pace: Mutex<Pace>,
}

fn host_clock(id: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec for the duration of the call.
    let rc = unsafe { libc::clock_gettime(id, &mut t) };
    assert_eq!(rc, 0, "clock_gettime({id}) failed: {}", std::io::Error::last_os_error());
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

impl GpuClock {
    /// A clock that starts now, with a counter of `counter_hz` (25 MHz on gfx9).
    pub fn new(counter_hz: u64) -> Self {
        Self {
            counter_hz,
            host_base: host_clock(libc::CLOCK_MONOTONIC_RAW),
            system_base: host_clock(libc::CLOCK_BOOTTIME),
            pace: Mutex::new(Pace { stalled: 0, limit: u64::MAX }),
        }
    }

    fn host_ns(&self) -> u64 {
        host_clock(libc::CLOCK_MONOTONIC_RAW).saturating_sub(self.host_base)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// GPU time, ns since the clock was made.
    pub fn now_ns(&self) -> u64 {
        let pace = self.pace();
        self.host_ns().saturating_sub(pace.stalled).min(pace.limit)
    }

    /// The GPU's timestamp counter, as profiling and `s_memrealtime` show it.
    pub fn counter(&self) -> u64 {
        self.counter_at(self.now_ns())
    }

    /// The system counter that the kernel interface shows: boot time in ns, less the GPU's stalls.
    pub fn system_ns(&self) -> u64 {
        self.system_base + self.now_ns()
    }

    /// GPU counter and system counter of one instant.
    pub fn read(&self) -> (u64, u64) {
        let now = self.now_ns();
        (self.counter_at(now), self.system_base + now)
    }

    /// Counter value at a GPU time.
    pub fn counter_at(&self, gpu_ns: u64) -> u64 {
        ((u128::from(self.host_base) + u128::from(gpu_ns)) * u128::from(self.counter_hz) / 1_000_000_000)
            as u64
    }

    /// Host time by which the GPU clock lags because the simulation could not keep up, ns.
    pub fn stall_ns(&self) -> u64 {
        let pace = self.pace();
        pace.stalled + self.host_ns().saturating_sub(pace.stalled).saturating_sub(pace.limit)
    }

    /// Moves the limit; `u64::MAX` lets the clock run freely. A limit in the past stops the clock where it is.
    pub(crate) fn set_limit(&self, limit: u64) {
        let mut pace = self.pace();
        let unlimited = self.host_ns().saturating_sub(pace.stalled);
        let now = unlimited.min(pace.limit);
        pace.stalled += unlimited - now;
        pace.limit = limit.max(now);
    }

    /// Host time until GPU time `gpu_ns`, if the clock does not stall on the way.
    pub(crate) fn until(&self, gpu_ns: u64) -> Duration {
        Duration::from_nanos(gpu_ns.saturating_sub(self.now_ns()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stops_at_its_limit_and_counts_the_stall() {
        let clock = GpuClock::new(25_000_000);
        let limit = clock.now_ns() + 1_000_000;
        clock.set_limit(limit);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now_ns(), limit);
        assert_eq!(clock.counter(), clock.counter_at(limit));
        let stalled = clock.stall_ns();
        assert!(stalled >= 3_000_000, "{stalled}");
        clock.set_limit(u64::MAX);
        let now = clock.now_ns();
        assert!(
            now >= limit && now < limit + 2_000_000_000,
            "time does not jump over the stall: {now} {limit}"
        );
        assert!(clock.stall_ns() >= stalled);
    }

    #[test]
    fn both_counters_move_together() {
        let clock = GpuClock::new(25_000_000);
        let (gpu0, sys0) = clock.read();
        std::thread::sleep(Duration::from_millis(3));
        let (gpu1, sys1) = clock.read();
        let (gpu_ns, sys_ns) = ((gpu1 - gpu0) * 40, sys1 - sys0);
        assert!(sys_ns >= 3_000_000 && gpu_ns.abs_diff(sys_ns) <= 40, "{gpu_ns} {sys_ns}");
    }

    #[test]
    fn time_never_goes_back() {
        let clock = GpuClock::new(25_000_000);
        let mut last = 0;
        for i in 0..1000u64 {
            clock.set_limit(if i % 3 == 0 { 0 } else { last + 500 });
            let now = clock.now_ns();
            assert!(now >= last);
            last = now;
        }
    }
}
