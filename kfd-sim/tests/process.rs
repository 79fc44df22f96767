//! The simulated machine as a process sees it through libc: off and on, device files, paths, fork and exit.
//!
//! The switch belongs to the process, so one test goes through the steps in order.

use bytemuck::Zeroable;
use kfd_sim::control::{self, Node};
use kfd_sim::kernel::GPU_ID;
use kfd_sim::kernel::uapi::{GetVersion, Request};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

const TOPOLOGY: &str = "/sys/devices/virtual/kfd/kfd/topology";

fn trees() -> Vec<PathBuf> {
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("kfd-sim-"));
    fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|e| e.path()).filter(ours).collect()
}

fn version(fd: RawFd) -> Result<(u32, u32), i32> {
    let mut args = GetVersion::zeroed();
    // SAFETY: GET_VERSION with its struct.
    let done = unsafe { libc::ioctl(fd, Request::word(b'K', 1, 8), &raw mut args) };
    if done == 0 {
        Ok((args.major, args.minor))
    } else {
        Err(io::Error::last_os_error().raw_os_error().unwrap())
    }
}

#[test]
fn a_process_on_the_simulated_machine() {
    // The temporary directory of this test alone, so that its tree is the only one there.
    let temporary = tempfile::tempdir().unwrap();
    // SAFETY: the only test of this program; no other thread reads the environment.
    unsafe { std::env::set_var("TMPDIR", temporary.path()) };
    off_it_is_the_host();
    control::switch_on();
    device_files();
    paths();
    a_forked_child_has_a_machine_of_its_own();
    let [tree] = &trees()[..] else { panic!("one tree: {:?}", trees()) };
    assert!(tree.join("proc/cpuinfo").is_file());
}

fn off_it_is_the_host() {
    control::switch_off();
    assert!(!control::is_on());
    let host_has_one = fs::exists("/dev/dri/renderD128").unwrap();
    assert_eq!(File::open("/dev/dri/renderD128").is_ok(), host_has_one);
    assert!(!fs::read_to_string("/proc/cpuinfo").unwrap().contains("kfd-sim"));
    assert!(trees().is_empty(), "nothing is written before it is needed");
}

fn device_files() {
    let kfd = File::options().read(true).write(true).open("/dev/kfd").unwrap();
    assert_eq!(version(kfd.as_raw_fd()), Ok((1, 11)));
    let render = File::open("/dev/dri/renderD128").unwrap();
    assert_eq!(version(render.as_raw_fd()), Err(libc::ENOTTY));
    for metadata in [render.metadata().unwrap(), fs::metadata("/dev/dri/renderD128").unwrap()] {
        assert!(metadata.file_type().is_char_device());
        assert_eq!((libc::major(metadata.rdev()), libc::minor(metadata.rdev())), (226, 128));
    }
    // SAFETY: all-zero is a valid stat; the descriptor is open.
    let mode = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(kfd.as_raw_fd(), &raw mut stat), 0);
        stat.st_mode
    };
    assert_eq!(mode & libc::S_IFMT, libc::S_IFCHR);
    let device = control::device().unwrap();
    assert_eq!(device.node_of(kfd.as_raw_fd()), Some(Node::Kfd));
    assert_eq!(device.node_of(0), None);
    // A dup is the same file; a closed one is the caller's mistake, as ever.
    let dup = kfd.try_clone().unwrap();
    assert_eq!(version(dup.as_raw_fd()), Ok((1, 11)));
    assert_eq!(version(-1), Err(libc::EBADF));
    // SAFETY: fcntl of an open descriptor.
    assert_eq!(unsafe { libc::fcntl(kfd.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    assert_eq!(File::open("/dev/dri/renderD129").unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

fn paths() {
    let gpu_id = fs::read_to_string(format!("{TOPOLOGY}/nodes/1/gpu_id")).unwrap();
    assert_eq!(gpu_id.trim().parse(), Ok(GPU_ID));
    assert_eq!(fs::read_dir(format!("{TOPOLOGY}/nodes")).unwrap().count(), 2);
    assert!(fs::read_to_string("/proc/modules").unwrap().starts_with("amdgpu "));
    assert!(fs::read_to_string("/proc/self/maps").is_ok(), "other paths are the host's");
    let link = fs::read_link("/sys/dev/char/226:128/device/subsystem").unwrap();
    assert!(link.ends_with("bus/pci"));
    let resolved = fs::canonicalize("/sys/dev/char/226:128/device").unwrap();
    assert_eq!(resolved.to_str(), Some("/sys/dev/char/226:128/device"), "the tree's own place is not seen");
    let path = CString::new("/sys/module/amdgpu/initstate").unwrap();
    // SAFETY: a NUL-terminated path.
    unsafe {
        assert_eq!(libc::access(path.as_ptr(), libc::R_OK), 0);
        assert!(libc::open(std::ptr::null(), libc::O_RDONLY) < 0, "a null path is libc's business");
    }
}

fn a_forked_child_has_a_machine_of_its_own() {
    let kfd = File::open("/dev/kfd").unwrap();
    let before = trees();
    // SAFETY: the child only opens files, asks for a version and leaves without running destructors.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let inherited = version(kfd.as_raw_fd());
        let own = File::open("/dev/kfd").map(|fd| version(fd.as_raw_fd()));
        let files = fs::read_to_string(format!("{TOPOLOGY}/nodes/1/gpu_id")).is_ok();
        let right = inherited == Err(libc::EBADF) && own.is_ok_and(|v| v == Ok((1, 11))) && files;
        // SAFETY: `exit` runs the handlers, as a forked worker's would; no other thread exists here.
        unsafe { libc::exit(if right { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "inherited descriptors answer EBADF, new ones work");
    assert_eq!(trees(), before, "the child's tree is gone, the parent's is not");
    assert_eq!(version(kfd.as_raw_fd()), Ok((1, 11)));
}
