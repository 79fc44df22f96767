//! What can be chosen about the simulated machine: by environment, by the launcher's flags, or by a program that links it in.
//!
//! Read once, when the process's device is made. A value that makes no sense is reported on standard error and left out: a
//! preloaded library must not end its program. [`VARIABLES`] lists all of them.

use crate::caches::MemoryModel;
use crate::plan::FaultPlan;
use std::ffi::CStr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every environment variable of the simulated machine, and what it does.
pub const VARIABLES: &[(&str, &str)] = &[
    ("ECLIP_DEVICE", "sim: always simulated; real: never; unset: simulated if the host has no /dev/kfd"),
    ("ECLIP_KFD_SIM", "the library that the launcher preloads"),
    ("KFD_SIM_MEMORY", "coherent (unset), caches or strict: whether missing fences show"),
    (
        "KFD_SIM_KFD_VERSION",
        "the driver interface's version, such as 1.14; unset or auto: what the loaded runtime needs",
    ),
    ("KFD_SIM_RACES", "1: report two dispatches that touch the same bytes without order between them"),
    ("KFD_SIM_THREADS", "host threads that run the workgroups of a dispatch; unset: one for each processor"),
    ("KFD_SIM_LOG", "1: write every ioctl to standard error"),
    (
        "KFD_SIM_EVENTS",
        "file that every event is appended to, one JSON object a line; %p becomes the process id",
    ),
    ("KFD_SIM_TRACE", "file that a trace for Perfetto is written to at exit; %p becomes the process id"),
    ("KFD_SIM_PLAN", "file with a fault plan, in TOML"),
    ("KFD_SIM_FAIL", "makes calls fail: SET_CU_MASK=EINVAL:once,CREATE_QUEUE=ENOMEM:3,OPEN=EACCES"),
];

/// Version of the driver interface that KFD reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KfdVersion {
    /// What the runtime needs that is loaded when it asks: [`runtime_needs`].
    #[default]
    Auto,
    /// This one: major and minor.
    Fixed(u32, u32),
}

/// The oldest version at which gfx906 runs, and the newest that this device was written for.
const RANGE: std::ops::RangeInclusive<u32> = 4..=18;
/// For ROCr 5.2.3, and where no runtime is found.
const OLDEST_IN_USE: (u32, u32) = (1, 11);

impl FromStr for KfdVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "auto" {
            return Ok(Self::Auto);
        }
        let numbers = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match numbers {
            Some((1, minor)) if RANGE.contains(&minor) => Ok(Self::Fixed(1, minor)),
            _ => Err(format!(
                "{text:?} is no KFD version: expected auto, or 1.{} to 1.{}",
                RANGE.start(),
                RANGE.end()
            )),
        }
    }
}

impl KfdVersion {
    /// The version to report now: major and minor.
    pub fn resolve(self) -> (u32, u32) {
        match self {
            Self::Fixed(major, minor) => (major, minor),
            Self::Auto => runtime_needs(),
        }
    }
}

/// The driver interface that fits the runtime in this process, judged by the release number in the name of its library file:
/// `libhsa-runtime64.so.1.N` belongs to ROCm 5.x up to N = 11 (KFD 1.11), 6.0 to 6.3 up to 14 (1.14), 6.4 up to 17 (1.17), later ones
/// (1.18). All of them also run on 1.11; what a newer one adds is used only when it is reported (assumed from the runtimes' sources; 5.2.3 was run).
pub fn runtime_needs() -> (u32, u32) {
    match loaded_runtime().as_deref().and_then(release) {
        None | Some(0..=11) => OLDEST_IN_USE,
        Some(12..=14) => (1, 14),
        Some(15..=17) => (1, 17),
        Some(_) => (1, 18),
    }
}

/// The `N` of `libhsa-runtime64.so.1.N...`.
fn release(file: &str) -> Option<u32> {
    let (_, numbers) = file.rsplit_once("libhsa-runtime64.so.1.")?;
    numbers.split('.').next()?.parse().ok()
}

/// File name of the HSA runtime that is loaded in this process, links followed.
fn loaded_runtime() -> Option<String> {
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, into: *mut libc::c_void) -> i32 {
        // SAFETY: the loader passes a valid record with a NUL-terminated name or null; `into` is the caller's Option.
        unsafe {
            if (*info).dlpi_name.is_null() {
                return 0;
            }
            let name = CStr::from_ptr((*info).dlpi_name).to_string_lossy();
            if name.contains("libhsa-runtime64.so") {
                *into.cast::<Option<String>>() = Some(name.into_owned());
                return 1;
            }
        }
        0
    }
    let mut found: Option<String> = None;
    // SAFETY: the callback's contract is met: `found` lives for the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
    let file = found?;
    Some(std::fs::canonicalize(&file).map_or(file, |path| path.to_string_lossy().into_owned()))
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Version of the driver interface.
    pub kfd_version: KfdVersion,
    /// Whether missing fences show.
    pub memory: MemoryModel,
    /// Whether unordered dispatches on the same bytes are reported.
    pub races: bool,
    /// Where events go, one JSON object a line.
    pub events: Option<PathBuf>,
    /// Where the Perfetto trace goes at exit.
    pub trace: Option<PathBuf>,
    /// What goes wrong on purpose.
    pub plan: Option<FaultPlan>,
}

impl Settings {
    /// As the environment has them.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name).and_then(|value| value.into_string().ok()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| given(name).map(|text| with_process_id(&text));
        let plan = given("KFD_SIM_PLAN")
            .and_then(|file| FaultPlan::read(file.as_ref()).map_err(|why| report("KFD_SIM_PLAN", &why)).ok());
        Self {
            kfd_version: parse("KFD_SIM_KFD_VERSION", given("KFD_SIM_KFD_VERSION")),
            memory: parse("KFD_SIM_MEMORY", given("KFD_SIM_MEMORY")),
            races: given("KFD_SIM_RACES").is_some_and(|value| value != "0"),
            events: path("KFD_SIM_EVENTS"),
            trace: path("KFD_SIM_TRACE"),
            plan,
        }
    }
}

fn parse<T: FromStr<Err: std::fmt::Display> + Default>(name: &str, value: Option<String>) -> T {
    value.map_or_else(T::default, |text| {
        text.parse().unwrap_or_else(|why| {
            report(name, &why);
            T::default()
        })
    })
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether reports of stopped queues and the like on standard error are left out. For the whole process; they are in the
/// journal all the same.
pub fn set_quiet(quiet: bool) {
    // Relaxed: what is reported at the same time may go either way.
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Says something about the simulated GPU on standard error.
pub(crate) fn say(what: impl std::fmt::Display) {
    // Relaxed: as above.
    if !QUIET.load(Ordering::Relaxed) {
        eprintln!("kfd-sim: {what}");
    }
}

fn report(name: &str, why: &dyn std::fmt::Display) {
    eprintln!("kfd-sim: {name}: {why}; it is ignored");
}

/// A path in which `%p` stands for the process id: children of a program that is preloaded must not share a file.
fn with_process_id(text: &str) -> PathBuf {
    text.replace("%p", &std::process::id().to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_bad_ones_say_what_is_possible() {
        assert_eq!("auto".parse(), Ok(KfdVersion::Auto));
        assert_eq!("1.14".parse(), Ok(KfdVersion::Fixed(1, 14)));
        for bad in ["1.3", "2.0", "1.19", "14", "1.x"] {
            assert!(bad.parse::<KfdVersion>().unwrap_err().contains("1.4 to 1.18"), "{bad}");
        }
    }

    #[test]
    fn the_library_file_tells_the_release() {
        assert_eq!(release("/usr/lib/x86_64-linux-gnu/libhsa-runtime64.so.1.5.0"), Some(5));
        assert_eq!(release("/opt/rocm/lib/libhsa-runtime64.so.1.14.60300"), Some(14));
        assert_eq!(release("/opt/rocm/lib/libhsa-runtime64.so.1"), None);
    }

    #[test]
    fn the_environment_is_read_and_nonsense_is_left_out() {
        let variables = |name: &str| {
            let value = match name {
                "KFD_SIM_MEMORY" => "strict",
                "KFD_SIM_RACES" => "1",
                "KFD_SIM_KFD_VERSION" => "7",
                "KFD_SIM_TRACE" => "/tmp/trace-%p.json",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let settings = Settings::from_variables(variables);
        assert_eq!((settings.memory, settings.races), (MemoryModel::Strict, true));
        assert_eq!(settings.kfd_version, KfdVersion::Auto);
        let trace = format!("/tmp/trace-{}.json", std::process::id());
        assert_eq!(settings.trace.unwrap().to_str(), Some(&*trace));
        assert!(settings.events.is_none() && settings.plan.is_none());
    }
}
