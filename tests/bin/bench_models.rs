//! Microseconds a flow takes in each model, on each backend, by batch size; prints JSON.

use std::{error::Error, hint::black_box, path::PathBuf, time::Instant};

use ids_agent::{
    detect::model::{Inference, Model},
    features::FEATURES,
    models,
};

const BATCHES: [usize; 3] = [1, 32, 256];
/// The median of so many rounds is told.
const ROUNDS: usize = 15;
const ROWS_PER_ROUND: usize = 8_192;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = models::find(None)?;
    let mut measured = Vec::new();
    let mut largest = serde_json::Map::new();
    for inference in backends()? {
        for name in ["classifier", "autoencoder"] {
            let files = models::read(&dir.join(name))?;
            let mut model = Model::new(&files, &inference, 256)?;
            // Trees are walked by the agent itself, whatever runs graphs.
            let backend = model.info().backend;
            if largest.contains_key(&told(backend, name)) {
                continue;
            }
            let rows = golden_rows(&files.golden);
            for batch in BATCHES {
                let us = us_per_row(&mut model, &rows, batch)?;
                if batch == 256 {
                    largest.insert(told(backend, name), us.into());
                }
                measured
                    .push(serde_json::json!({"backend": backend, "model": name, "batch": batch, "us_per_flow": us}));
            }
        }
    }
    let told = serde_json::json!({"features": FEATURES, "inference": measured, "ratios": largest});
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(())
}

/// tract, and onnxruntime where `IDS_ORT_LIBRARY` names its library.
fn backends() -> Result<Vec<Inference>, Box<dyn Error>> {
    let mut backends = vec![Inference::Tract];
    match std::env::var_os("IDS_ORT_LIBRARY").map(PathBuf::from) {
        Some(path) => backends.push(models::onnxruntime(&path)?),
        None => eprintln!("onnxruntime is left out: IDS_ORT_LIBRARY does not name its library"),
    }
    Ok(backends)
}

/// Name of the figure that is compared from run to run.
fn told(backend: &str, model: &str) -> String {
    format!("{backend}_{model}_us_per_flow_at_256")
}

/// The vectors a model was shipped with: of every class, and odd ones. How long trees take depends on the way through them.
fn golden_rows(golden: &str) -> Vec<f32> {
    let fields = golden.lines().skip(1).flat_map(|line| line.split(',').take(FEATURES));
    fields.filter_map(|field| field.parse().ok()).collect()
}

fn us_per_row(model: &mut Model, golden: &[f32], batch: usize) -> Result<f64, Box<dyn Error>> {
    let rows: Vec<f32> = golden.iter().copied().cycle().take(batch * FEATURES).collect();
    let mut out = Vec::new();
    let calls = ROWS_PER_ROUND / batch;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..calls {
            model.infer(black_box(&rows), &mut out)?;
        }
        rounds.push(begin.elapsed().as_secs_f64() * 1e6 / (calls * batch) as f64);
    }
    rounds.sort_by(f64::total_cmp);
    Ok((rounds[ROUNDS / 2] * 1_000.0).round() / 1_000.0)
}
