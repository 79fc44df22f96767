//! Which paths the simulated machine answers for. Pure.
//!
//! Everything about the GPU, and the few files about the host that the runtimes read, so that a run does not depend on
//! the host. All other paths go to the real machine.

use std::path::Path;

/// Minor number of the render node: `/dev/dri/renderD128`.
pub const RENDER_MINOR: u32 = 128;
/// Path of KFD's device file.
pub const KFD: &str = "/dev/kfd";
/// Path of the render node.
pub const RENDER_NODE: &str = "/dev/dri/renderD128";

/// Trees that come from the fixture, whole: what is not in it does not exist.
const TREES: &[&str] = &[
    "/dev/dri",
    "/sys/devices/virtual/kfd",
    "/sys/class/kfd",
    "/sys/class/drm",
    "/sys/module/amdgpu",
    "/sys/devices/system/node",
    "/proc/modules",
    "/proc/cpuinfo",
];

/// libdrm's table of marketing names, in distributions and in AMD's own packages.
pub const NAMES_OF_GPUS: &[&str] = &["/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids"];

/// Who answers for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The real machine.
    Host,
    /// The simulated KFD device file.
    Kfd,
    /// The simulated render node.
    RenderNode,
    /// The fixture tree, under the same path.
    Fixture,
}

/// Whether a path can only be the host's: a cheap first look, for every file that a program opens.
pub fn surely_host(path: &[u8]) -> bool {
    let roots: [&[u8]; 3] = [b"/dev/", b"/sys/", b"/proc/"];
    !roots.iter().any(|root| path.starts_with(root))
        && !NAMES_OF_GPUS.iter().any(|names| path == names.as_bytes())
}

/// Who answers for an absolute path.
pub fn place(path: &[u8]) -> Place {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if surely_host(path) {
        return Place::Host;
    }
    let Ok(path) = std::str::from_utf8(path) else { return Place::Host };
    match path {
        KFD => return Place::Kfd,
        RENDER_NODE => return Place::RenderNode,
        _ => {}
    }
    let path = Path::new(path);
    let drm_device = path.to_str().is_some_and(|p| p.starts_with("/sys/dev/char/226:"));
    let ours = drm_device
        || TREES.iter().any(|tree| path.starts_with(tree))
        || NAMES_OF_GPUS.iter().any(|names| path == Path::new(names))
        || cpu_cache(path);
    if ours { Place::Fixture } else { Place::Host }
}

/// `/sys/devices/system/cpu/cpuN/cache/...`
fn cpu_cache(path: &Path) -> bool {
    let Ok(rest) = path.strip_prefix("/sys/devices/system/cpu") else { return false };
    let mut parts = rest.iter();
    let cpu = parts.next().and_then(|p| p.to_str()).and_then(|p| p.strip_prefix("cpu"));
    cpu.is_some_and(|n| n.parse::<u32>().is_ok()) && parts.next().is_some_and(|p| p == "cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, expected) in [
            ("/dev/kfd", Place::Kfd),
            ("/dev/dri/renderD128", Place::RenderNode),
            ("/dev/dri", Place::Fixture),
            ("/dev/dri/", Place::Fixture),
            ("/dev/dri/renderD129", Place::Fixture),
            ("/dev/kfd2", Place::Host),
            ("/dev/null", Place::Host),
            ("/sys/devices/virtual/kfd/kfd/topology/nodes/1/gpu_id", Place::Fixture),
            ("/sys/devices/virtual/kfdx", Place::Host),
            ("/sys/dev/char/226:128/device/vendor", Place::Fixture),
            ("/sys/dev/char/1:3", Place::Host),
            ("/sys/devices/system/cpu/cpu0/cache/index0/size", Place::Fixture),
            ("/sys/devices/system/cpu/cpu7/cache", Place::Fixture),
            ("/sys/devices/system/cpu/cpu0/online", Place::Host),
            ("/sys/devices/system/cpu/online", Place::Host),
            ("/sys/devices/system/node/node0/meminfo", Place::Fixture),
            ("/proc/cpuinfo", Place::Fixture),
            ("/proc/modules", Place::Fixture),
            ("/proc/self/maps", Place::Host),
            ("/usr/share/libdrm/amdgpu.ids", Place::Fixture),
            ("/tmp/usr/share/libdrm/amdgpu.ids", Place::Host),
            ("/home/someone/dev/kfd", Place::Host),
            ("dev/kfd", Place::Host),
            ("", Place::Host),
        ] {
            assert_eq!(place(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(place(b"/sys/\xff"), Place::Host);
    }
}
