//! The scenario files are what the measurements give, and they run.

use std::path::Path;

use gpu_model::Scenario;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios"))
}

#[test]
fn files_are_up_to_date() {
    for (path, text) in gpu_model_validation::files::all() {
        let shipped = std::fs::read_to_string(folder().join(&path)).unwrap_or_default();
        assert!(
            shipped == text,
            "{path} differs: cargo run -p gpu-model-validation --example write_scenarios -- gpu-model/scenarios"
        );
    }
}

#[test]
fn every_file_is_a_scenario() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let read =
                |file: &str| std::fs::read_to_string(folder().join(file)).map_err(|error| error.to_string());
            let scenario = Scenario::parse(&path.display().to_string(), &text, read).unwrap();
            scenario.check(&scenario.device().unwrap()).unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}
