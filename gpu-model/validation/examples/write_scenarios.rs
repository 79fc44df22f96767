//! Writes the scenario files anew: `cargo run -p gpu-model-validation --example write_scenarios -- gpu-model/scenarios`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gpu-model/scenarios".to_owned()));
    std::fs::create_dir_all(folder.join("traces"))?;
    for (path, text) in gpu_model_validation::files::all() {
        std::fs::write(folder.join(path), text)?;
    }
    Ok(())
}
