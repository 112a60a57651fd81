//! Microseconds a flow takes in each model, on each backend, by batch size; and in the two that the agent runs by default together.

use std::{hint::black_box, path::PathBuf};

use ids_agent::{
    detect::model::{Inference, Model},
    features::FEATURES,
    models,
};
use serde_json::{Map, Value, json};

use crate::rounds::{bounded, secs, spread};

const BATCHES: [usize; 3] = [1, 32, 256];
const ROUNDS: usize = 15;
const ROWS_PER_ROUND: usize = 4_096;
/// Classifier and autoencoder together, a flow of a batch of 256.
const BOTH_US_MAX: f64 = 3.0;

struct Case {
    backend: &'static str,
    name: &'static str,
    model: Model,
    rows: Vec<f32>,
    batch: usize,
    us: Vec<f64>,
}

pub(crate) fn run() -> Value {
    let dir = models::find(None).expect("models");
    let mut cases: Vec<Case> = Vec::new();
    for inference in backends() {
        for name in ["classifier", "autoencoder"] {
            let files = models::read(&dir.join(name)).expect("a model");
            for batch in BATCHES {
                let model = Model::new(&files, &inference, 256).expect("a sound model");
                let backend = model.info().backend;
                // Trees are walked by the agent itself, whatever runs graphs.
                if cases.iter().any(|case| (case.backend, case.name, case.batch) == (backend, name, batch)) {
                    continue;
                }
                let rows = unlike_rows(&files.golden);
                cases.push(Case { backend, name, model, rows, batch, us: Vec::new() });
            }
        }
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let us = us_per_row(case);
            case.us.push(us);
        }
    }
    let mut ratios = Map::new();
    for case in &cases {
        let name = format!("{}_{}_us_per_flow_at_{}", case.backend, case.name, case.batch);
        ratios.insert(name, spread(case.us.clone()));
    }
    // What the agent runs unless it is told otherwise: trees walked by itself, and tract.
    let at_256 = |name: &str| cases.iter().find(|case| case.name == name && case.batch == 256).unwrap();
    let both = at_256("classifier").us.iter().zip(&at_256("autoencoder").us).map(|(one, other)| one + other);
    ratios.insert("us_b256".to_owned(), bounded(both.collect(), BOTH_US_MAX));
    json!({ "features": FEATURES, "ratios": ratios })
}

/// tract, and onnxruntime where `IDS_ORT_LIBRARY` names its library.
fn backends() -> Vec<Inference> {
    let mut backends = vec![Inference::Tract];
    match std::env::var_os("IDS_ORT_LIBRARY").map(PathBuf::from) {
        Some(path) => backends.push(models::onnxruntime(&path).expect("onnxruntime")),
        None => eprintln!("onnxruntime is left out: IDS_ORT_LIBRARY does not name its library"),
    }
    backends
}

/// The vectors a model was shipped with, of every class, and odd ones, over and over; no two alike, for a model works rows that are
/// alike out once. How long trees take depends on the way through them.
fn unlike_rows(golden: &str) -> Vec<f32> {
    let fields = golden.lines().skip(1).flat_map(|line| line.split(',').take(FEATURES));
    let golden: Vec<f32> = fields.filter_map(|field| field.parse().ok()).collect();
    let mut random = 0x2545_f491_u32;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        // Within a hundredth of what it was.
        1.0 + (random >> 8) as f32 / (1 << 24) as f32 / 100.0
    };
    let values = golden.iter().copied().cycle().take(ROWS_PER_ROUND * FEATURES);
    values.map(|value| value * next()).collect()
}

fn us_per_row(case: &mut Case) -> f64 {
    let mut out = Vec::new();
    let taken = secs(|| {
        for rows in case.rows.chunks(case.batch * FEATURES) {
            case.model.infer(black_box(rows), &mut out).expect("inference");
        }
    });
    taken * 1e6 / ROWS_PER_ROUND as f64
}
