//! Finding and loading ROCr: what is found, and what the error says when it is not.

use std::env;
use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

use hsa_sys::{Functions, HSA_STATUS_ERROR_OUT_OF_RESOURCES, Hsa, LIBRARY_VARIABLE, Problem, hsa_status_t};

/// The installed ROCr, which the test set-up provides.
fn installed() -> Hsa {
    Hsa::load().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn installed_runtime_loads_with_its_path() {
    let hsa = installed();
    let path = hsa.path().expect("a loaded runtime has a path");
    assert!(path.is_absolute() && path.exists(), "{}", path.display());
    let again = Hsa::load_from(path).unwrap();
    assert_eq!(hsa.hsa_init as usize, again.hsa_init as usize, "the same library is found twice");
}

#[test]
fn functions_work_after_the_last_handle_is_dropped() {
    let functions: Functions = *installed();
    let mut text = std::ptr::null();
    // SAFETY: needs no initialised runtime to be sound, and writes one pointer.
    let status = unsafe { (functions.hsa_status_string)(HSA_STATUS_ERROR_OUT_OF_RESOURCES, &mut text) };
    // ROCr before `hsa_init` says so or answers; either way the code was still there to run.
    assert!(status == hsa_sys::HSA_STATUS_SUCCESS || status == hsa_sys::HSA_STATUS_ERROR_NOT_INITIALIZED);
}

#[test]
fn replaced_function_is_the_one_called() {
    unsafe extern "C" fn no_resources() -> hsa_status_t {
        HSA_STATUS_ERROR_OUT_OF_RESOURCES
    }
    let real = installed();
    let mut functions: Functions = *real;
    functions.hsa_init = no_resources;
    // SAFETY: all functions are ROCr's but `hsa_init`, which only returns an error it may return.
    let hsa = unsafe { Hsa::from_functions(functions) };
    assert_eq!(hsa.path(), None);
    // SAFETY: `no_resources` has no requirement.
    assert_eq!(unsafe { (hsa.clone().hsa_init)() }, HSA_STATUS_ERROR_OUT_OF_RESOURCES);
    assert_eq!(hsa.hsa_shut_down as usize, real.hsa_shut_down as usize);
}

#[test]
fn handle_crosses_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&installed());
}

#[test]
fn missing_file_is_named_with_the_loaders_reason() {
    let error = Hsa::load_from("/nonexistent/libhsa-runtime64.so.1").unwrap_err();
    let [attempt] = error.attempts() else { panic!("one place was asked for: {error}") };
    assert_eq!(attempt.library, Path::new("/nonexistent/libhsa-runtime64.so.1"));
    let Problem::NotOpened(reason) = &attempt.problem else { panic!("{error}") };
    assert!(reason.contains("No such file"), "{reason}");
    assert!(!error.found_unusable_library());
    let text = error.to_string();
    assert!(
        text.contains("/nonexistent/libhsa-runtime64.so.1") && text.contains("libhsa-runtime64-1"),
        "{text}"
    );
}

#[test]
fn file_that_is_no_library_is_named_with_the_loaders_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not an ELF file, but longer than its header would have to be to be read")
        .unwrap();
    let text = Hsa::load_from(file.path()).unwrap_err().to_string();
    assert!(text.contains(file.path().to_str().unwrap()) && text.contains("invalid ELF header"), "{text}");
}

#[test]
fn library_without_the_functions_names_every_missing_one() {
    let error = Hsa::load_from("libc.so.6").unwrap_err();
    assert!(error.found_unusable_library());
    let Problem::MissingSymbols { file, symbols } = &error.attempts()[0].problem else { panic!("{error}") };
    assert!(file.ends_with("libc.so.6"));
    let mut required = Vec::new();
    // SAFETY: nothing is found, so nothing is ever called.
    let missing = unsafe {
        Functions::resolve(|name: &CStr| {
            required.push(name.to_owned());
            None
        })
    }
    .unwrap_err();
    assert_eq!(required.len(), Functions::COUNT, "every name is asked for");
    assert_eq!(symbols.len(), missing.len());
    assert!(symbols.contains(&"hsa_init") && symbols.contains(&"hsa_amd_queue_cu_set_mask"), "{symbols:?}");
    assert!(!symbols.contains(&"hsa_amd_queue_get_info"), "newer functions are not required");
    assert!(error.to_string().contains("hsa_amd_queue_cu_set_mask"), "{error}");
}

#[test]
fn one_missing_function_is_named_alone_and_optional_ones_may_lack() {
    let real = installed();
    let any = real.hsa_init as *const ();
    let optional = c"hsa_amd_queue_get_info";
    let find = |name: &CStr| (name != c"hsa_signal_create" && name != optional).then_some(any);
    // SAFETY: the table is refused, so nothing in it is ever called.
    assert_eq!(unsafe { Functions::resolve(find) }.unwrap_err(), [c"hsa_signal_create"]);
    // SAFETY: nothing in the table is called.
    let table = unsafe { Functions::resolve(|name: &CStr| (name != optional).then_some(any)) }.unwrap();
    assert!(table.hsa_amd_queue_get_info.is_none());
    assert!(table.hsa_amd_queue_cu_get_mask.is_some());
}

/// The variable is read from the process's environment, so this test runs itself again with it set.
#[test]
fn library_variable_is_followed_and_final() {
    const CHILD: &str = "HSA_SYS_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        match Hsa::load() {
            Ok(hsa) => println!("loaded {}", hsa.path().unwrap().display()),
            Err(error) => println!("refused {error}"),
        }
        return;
    }
    let run = |library: &str| {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "library_variable_is_followed_and_final", "--nocapture"])
            .env(CHILD, "1")
            .env(LIBRARY_VARIABLE, library)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let path = installed().path().unwrap().to_str().unwrap().to_owned();
    assert!(run(&path).contains(&format!("loaded {path}")));
    assert!(run("").contains("loaded "), "an empty variable is as none");
    let refused = run("/nonexistent/rocr.so");
    assert!(refused.contains("refused") && refused.contains("/nonexistent/rocr.so"), "{refused}");
    assert!(!refused.contains("/opt/rocm/lib/"), "no other place is tried: {refused}");
}
