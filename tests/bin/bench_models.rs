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
    for (backend, inference) in backends()? {
        for name in ["classifier", "autoencoder"] {
            let files = models::read(&dir.join(name))?;
            let mut model = Model::new(&files, &inference, 256)?;
            for batch in BATCHES {
                let us = us_per_row(&mut model, batch)?;
                if batch == 256 {
                    largest.insert(format!("{backend}_{name}_us_per_flow_at_256"), us.into());
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
fn backends() -> Result<Vec<(&'static str, Inference)>, Box<dyn Error>> {
    let mut backends = vec![("tract", Inference::Tract)];
    match std::env::var_os("IDS_ORT_LIBRARY").map(PathBuf::from) {
        Some(path) => backends.push(("onnxruntime", models::onnxruntime(&path)?)),
        None => eprintln!("onnxruntime is left out: IDS_ORT_LIBRARY does not name its library"),
    }
    Ok(backends)
}

fn us_per_row(model: &mut Model, batch: usize) -> Result<f64, Box<dyn Error>> {
    let rows: Vec<f32> = (0..batch * FEATURES).map(|at| (at % 97) as f32).collect();
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
