//! A model is used only if everything about it is right, and both backends say the same.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it must be")]

use std::path::PathBuf;

use ids_agent::{
    config::{DetectSettings, InferenceBackend},
    detect::model::{Inference, Manifest, Model, ModelError, ModelFiles, ModelForm},
    features::{FEATURES, SCHEMA, schema_hash},
    models,
};
use ids_tests::{
    archive,
    onnx::{Graph, Place},
};

/// Names of the outputs of the little classifier.
const CLASSES: [&str; 2] = ["benign", "flood"];

/// A good little model, part by part, so that each part can be spoiled.
#[derive(Clone)]
struct Parts {
    graph: Graph,
    manifest: toml::Table,
    golden: String,
}

impl Parts {
    fn good() -> Self {
        let names: Vec<&str> = SCHEMA.iter().map(|spec| spec.name).collect();
        let mut golden = format!("{},{}\n", names.join(","), CLASSES.join(","));
        for row in 0..16 {
            let values: Vec<String> = (0..FEATURES).map(|at| ((row * 7 + at) % 13 + 1).to_string()).collect();
            golden += &format!("{},0.5,0.5\n", values.join(","));
        }
        let mut text = format!(
            "format = 1\nname = 'little'\nversion = '1'\nkind = 'classifier'\nschema_hash = '{}'\nsha256 = ''\n\
             golden_sha256 = ''\ntolerance = 0.001\n[training]\nseed = 1\ndata_sha256 = ''\ncaptures = 1\nflows = 1\n\
             sources = 1\n",
            schema_hash()
        );
        for class in CLASSES {
            text += &format!("[[class]]\nname = '{class}'\nthreshold = 0.9\n");
        }
        for name in names {
            text += &format!("[[feature]]\nname = '{name}'\nlow = 0.0\nmedian = 1.0\nhigh = 2.0\n");
        }
        Self { graph: Graph::undecided(FEATURES, CLASSES.len()), manifest: text.parse().unwrap(), golden }
    }

    fn set(&mut self, name: &str, value: impl Into<toml::Value>) {
        self.manifest.insert(name.to_owned(), value.into());
    }

    /// The files with hashes that fit them, so that only the spoiled part is wrong.
    fn files(&self) -> ModelFiles {
        signed(&self.manifest, self.graph.bytes(), self.golden.clone())
    }

    fn refusal(&self) -> ModelError {
        refusal(&self.files())
    }
}

fn signed(manifest: &toml::Table, model: Vec<u8>, golden: String) -> ModelFiles {
    let mut manifest = manifest.clone();
    manifest.insert("sha256".to_owned(), sha256(&model).into());
    manifest.insert("golden_sha256".to_owned(), sha256(golden.as_bytes()).into());
    ModelFiles { model, golden, manifest: manifest.to_string() }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refusal(files: &ModelFiles) -> ModelError {
    match Model::new(files, &Inference::Tract, 64) {
        Ok(_) => panic!("the model was taken"),
        Err(error) => error,
    }
}

#[test]
fn a_good_model_is_taken() {
    let mut model = Model::new(&Parts::good().files(), &Inference::Tract, 4).unwrap();
    let mut out = Vec::new();
    model.infer(&vec![1.0; FEATURES * 9], &mut out).unwrap();
    assert_eq!(out, [0.5; 18]);
}

#[test]
fn a_changed_file_is_refused_by_its_hash() {
    let mut files = Parts::good().files();
    files.model.pop();
    assert!(matches!(refusal(&files), ModelError::Hash { file: "model.onnx", .. }));
    let mut files = Parts::good().files();
    files.golden.push('\n');
    assert!(matches!(refusal(&files), ModelError::Hash { file: "golden.csv", .. }));
}

#[test]
fn a_file_cut_off_anywhere_is_refused_and_never_panics() {
    let good = Parts::good();
    let whole = good.graph.bytes();
    for length in 0..whole.len() {
        let files = signed(&good.manifest, whole[..length].to_vec(), good.golden.clone());
        let error = refusal(&files);
        assert!(
            matches!(error, ModelError::Graph { .. } | ModelError::Shape { .. } | ModelError::Backend { .. }),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_model_for_another_schema_is_refused_with_both_hashes() {
    let mut parts = Parts::good();
    parts.set("schema_hash", "ab".repeat(32));
    let error = parts.refusal().to_string();
    assert!(error.contains(&"ab".repeat(32)) && error.contains(schema_hash()), "{error}");
}

#[test]
fn wrong_shapes_are_refused() {
    let mut parts = Parts::good();
    parts.graph = Graph::undecided(FEATURES + 1, CLASSES.len());
    assert!(matches!(parts.refusal(), ModelError::Shape { columns: FEATURES, .. }));
    parts.graph = Graph::undecided(FEATURES, CLASSES.len() + 1);
    assert!(matches!(parts.refusal(), ModelError::Shape { columns: 2, .. }));
    // The declared shape is right, the weights are not.
    parts.graph = Graph { weights: vec![0.0; FEATURES * 3], ..Graph::undecided(FEATURES, 2) };
    assert!(matches!(parts.refusal(), ModelError::Backend { .. }));
}

#[test]
fn weights_outside_the_file_are_refused() {
    let mut parts = Parts::good();
    parts.graph.place = Place::Outside;
    assert!(matches!(parts.refusal(), ModelError::ExternalData { .. }));
}

#[test]
fn weights_and_outputs_that_are_no_numbers_are_refused() {
    let mut parts = Parts::good();
    parts.graph.weights[1] = f32::NAN;
    assert!(matches!(parts.refusal(), ModelError::Weights { .. }));
    // Finite weights whose logarithm is not.
    let mut parts = Parts::good();
    parts.graph.weights.fill(-1.0);
    parts.graph.ops = vec!["Log"];
    assert!(matches!(parts.refusal(), ModelError::NotFinite { .. }));
}

#[test]
fn golden_vectors_that_do_not_come_out_are_refused() {
    let mut parts = Parts::good();
    parts.golden = parts.golden.replacen("0.5,0.5", "0.51,0.49", 1);
    assert!(matches!(parts.refusal(), ModelError::Reproduction { row: 0, column: 0, .. }));
    let mut parts = Parts::good();
    parts.golden = parts.golden.lines().take(9).map(|line| format!("{line}\n")).collect();
    assert!(matches!(parts.refusal(), ModelError::Golden { .. }));
    let mut parts = Parts::good();
    parts.golden = parts.golden.replacen("0.5,0.5", "0.5,nan", 1);
    assert!(matches!(parts.refusal(), ModelError::Golden { .. }));
}

#[test]
fn manifests_that_cannot_be_meant_are_refused() {
    let spoiled: [(&str, toml::Value); 5] = [
        ("format", 2.into()),
        ("tolerance", 1.0.into()),
        ("kind", "forest".into()),
        ("class", toml::Value::Array(Vec::new())),
        ("surprise", true.into()),
    ];
    for (name, value) in spoiled {
        let mut parts = Parts::good();
        parts.set(name, value);
        assert!(matches!(parts.refusal(), ModelError::Manifest { .. }), "{name}");
    }
}

#[test]
fn a_file_with_any_byte_changed_never_panics() {
    let good = Parts::good();
    let whole = good.graph.bytes();
    for at in 0..whole.len() {
        // The weights are many and alike.
        if whole[at] == 0 && at % 31 != 0 {
            continue;
        }
        for change in [0x01, 0x80, 0xff] {
            let mut model = whole.clone();
            model[at] ^= change;
            let _taken_or_refused =
                Model::new(&signed(&good.manifest, model, good.golden.clone()), &Inference::Tract, 64);
        }
    }
}

#[test]
fn a_threshold_for_unnamed_attacks_below_a_half_is_refused() {
    let mut parts = Parts::good();
    parts.set("attack_threshold", 0.4);
    assert!(matches!(parts.refusal(), ModelError::Manifest { .. }));
    parts.set("attack_threshold", 0.9);
    Model::new(&parts.files(), &Inference::Tract, 64).unwrap();
}

#[test]
fn trees_and_graphs_are_told_apart_by_the_manifest_alone() {
    let mut parts = Parts::good();
    parts.set("form", "trees");
    assert!(matches!(parts.refusal(), ModelError::Trees { .. }));
    let [(_, mut files), _] = shipped();
    assert_eq!(Manifest::form_of(&files.manifest), ModelForm::Trees);
    files.manifest = files.manifest.replacen("form = \"trees\"", "form = \"onnx\"", 1);
    assert!(matches!(refusal(&files), ModelError::Graph { .. }));
}

/// The models of this checkout, by folder.
fn shipped() -> [(&'static str, ModelFiles); 2] {
    ["classifier", "autoencoder"].map(|name| (name, models::read(&archive::root().join("models").join(name)).unwrap()))
}

#[test]
fn the_shipped_models_load_and_are_small() {
    for (name, files) in shipped() {
        assert!(files.model.len() <= 1 << 20, "{name}");
        assert!(files.golden.lines().count() > 64, "{name}");
        Model::new(&files, &Inference::Tract, 256).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let detectors = models::load(&settings(InferenceBackend::Tract)).unwrap();
    assert_eq!(detectors.iter().filter_map(|detector| detector.model()).count(), 2);
}

fn settings(backend: InferenceBackend) -> DetectSettings {
    DetectSettings { models_dir: Some(archive::root().join("models")), backend, ..DetectSettings::default() }
}

/// `IDS_ORT_LIBRARY`, or the library that `cargo xtask train` brought with its Python packages.
fn onnxruntime() -> Option<Inference> {
    let named = std::env::var_os("IDS_ORT_LIBRARY").map(PathBuf::from);
    let found = named.or_else(|| {
        let venv = archive::root().join("target/train/venv/lib");
        let lib = std::fs::read_dir(venv).ok()?.flatten().next()?.path().join("site-packages/onnxruntime/capi");
        let files = std::fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path());
        files.filter(|path| path.to_string_lossy().contains("libonnxruntime.so")).min()
    });
    match found {
        Some(path) => Some(models::onnxruntime(&path).unwrap()),
        None => {
            eprintln!("skipped: no onnxruntime; set IDS_ORT_LIBRARY to libonnxruntime.so, or run cargo xtask train");
            None
        }
    }
}

#[test]
fn both_backends_give_the_golden_vectors_the_same_labels() {
    let Some(inference) = onnxruntime() else { return };
    // The classifier is trees, which need no backend.
    for (name, files) in shipped().into_iter().filter(|(name, _)| *name == "autoencoder") {
        let mut tract = Model::new(&files, &Inference::Tract, 256).unwrap();
        let mut ort = Model::new(&files, &inference, 256).unwrap();
        assert_eq!(ort.info().backend, "onnxruntime");
        let outputs = tract.manifest().outputs();
        let rows: Vec<f32> = files
            .golden
            .lines()
            .skip(1)
            .flat_map(|line| line.split(',').take(FEATURES))
            .map(|field| field.parse().unwrap())
            .collect();
        let (mut by_tract, mut by_ort) = (Vec::new(), Vec::new());
        tract.infer(&rows, &mut by_tract).unwrap();
        ort.infer(&rows, &mut by_ort).unwrap();
        assert_eq!(by_tract.len(), by_ort.len());
        let label = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
        for (a, b) in by_tract.chunks(outputs).zip(by_ort.chunks(outputs)) {
            assert_eq!(label(a), label(b), "{name}");
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{name}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_missing_onnxruntime_is_a_clear_error() {
    let mut settings = settings(InferenceBackend::Ort);
    let error = models::load(&settings).err().unwrap().to_string();
    assert!(error.contains("detect.onnxruntime"), "{error}");
    settings.onnxruntime = Some(PathBuf::from("/nowhere/libonnxruntime.so"));
    let error = models::load(&settings).err().unwrap().to_string();
    assert!(error.contains("/nowhere/libonnxruntime.so") && error.contains("tract"), "{error}");
}

#[test]
fn a_missing_folder_names_itself() {
    let settings = DetectSettings { models_dir: Some(PathBuf::from("/nowhere")), ..DetectSettings::default() };
    let error = models::load(&settings).err().unwrap().to_string();
    assert!(error.contains("/nowhere") && error.contains("detect.models_dir"), "{error}");
}
