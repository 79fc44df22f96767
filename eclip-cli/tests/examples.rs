//! Every numbered example, unchanged, on the simulated GPU.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use support::{eclip, run};

/// Each example, and a text that it prints when all is well.
const EXAMPLES: &[(&str, &str)] = &[
    ("01_list_agents", "60 CUs = 4 SE x 1 SH x 15 CU"),
    ("02_one_dispatch", "0 wrong"),
    ("03_masked_pool", "last engine: asked for 0x888888888888888 (15 CUs: 0+0+0+15), saw 15 CUs"),
    ("04_cross_queue_dependency", "Fibonacci number 22 is 17711; 0 lanes disagree"),
    ("05_kernel_groups", "rounds of four groups give 393162; 0 lanes disagree"),
    ("06_two_workers_under_a_plan", "W2: 0 numbers wrong"),
    ("07_replay", "50 replays, 0 of 102400 numbers wrong"),
    ("08_surviving_a_fault", "queues replaced, 1024 of 1024 counters at 4"),
    // On a machine without HIP it says so.
    ("09_beside_hip", "beside HIP: "),
    ("10_completions", "three tasks took [10, 9, 4] steps"),
    ("11_adopted_queue", "their signal was told: true; their queue goes on: true"),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a workspace")
}

/// The newest file below a path.
fn newest(path: &Path) -> SystemTime {
    let own = fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(entries) = fs::read_dir(path) else { return own };
    entries.flatten().map(|entry| newest(&entry.path())).fold(own, SystemTime::max)
}

/// The built example; builds it if it is not there or older than what it is made of.
fn built(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_eclip")).parent().expect("the program is in a folder");
    let program = folder.join("examples").join(name);
    let sources =
        ["examples/examples", "eclip-hsa/src", "hsa-sys/src", "peers/src", "kernels/src", "kernels/bin"];
    let changed = sources.iter().map(|source| newest(&workspace().join(source))).max();
    let age = fs::metadata(&program).and_then(|data| data.modified()).ok();
    if age < changed {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(workspace()).args(["build", "--package", "eclip-examples", "--examples"]);
        build.arg("--target-dir").arg(folder.parent().expect("a target folder"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let ended = run(&mut build);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
    program
}

#[test]
fn each_example_runs_and_is_right() {
    for (name, text) in EXAMPLES {
        let program = built(name);
        let ended = run(eclip(["sim", "--"]).arg(program)).expect(0).prints(text);
        assert!(ended.out.contains("(simulated)"), "{name} does not name its device:\n{}", ended.out);
    }
}

#[test]
fn no_example_is_left_out_and_each_is_short() {
    let folder = workspace().join("examples/examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 60, "{} has 60 lines or more", path.display());
        assert!(text.starts_with("//! "), "{} does not say what it shows", path.display());
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    names.sort_unstable();
    let expected: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_readme_shows_files_as_they_are() {
    let file = |name: &str| fs::read_to_string(workspace().join(name)).unwrap();
    let readme = file("README.md");
    let example = file("examples/examples/04_cross_queue_dependency.rs");
    // All but what is said of it on top.
    let code = example.trim_start_matches(|c| c != '\n').split_once("\n\n").expect("an empty line").1;
    assert!(readme.contains(&format!("```rust\n{code}```\n")), "README.md does not show\n{code}");
    let plan =
        readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```\n")).expect("a plan").0;
    let plan = eclip_hsa::Plan::parse("README.md", plan).unwrap();
    eclip_hsa::Policy::Eclip.place(&plan, 0).unwrap();
    for (name, _) in EXAMPLES {
        assert!(readme.contains(name), "README.md does not name {name}");
    }
}
