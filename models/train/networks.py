"""Scales features and fits the two networks. Knows no files."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

# Scaled values beyond this say "very much"; how much more is another network's habit.
CLIP = 4.0


@dataclass
class Scale:
    """z = clip(factor * x + shift, -CLIP, CLIP). What spans orders of magnitude comes as a logarithm already."""

    factor: np.ndarray
    shift: np.ndarray

    def __call__(self, x):
        return np.clip(x * self.factor + self.shift, -CLIP, CLIP)


@dataclass
class Network:
    """Dense layers with ReLU between them, behind a scale."""

    scale: Scale
    layers: list  # of (weights [in, out], bias [out])


def fit_scale(x, weight) -> Scale:
    told = x.astype(np.float64)
    mean = np.average(told, axis=0, weights=weight)
    std = np.sqrt(np.average((told - mean) ** 2, axis=0, weights=weight))
    # What hardly varies in training tells nothing; it must not explode elsewhere.
    factor = np.where(std > 1e-3, 1.0 / np.maximum(std, 1e-3), 0.0)
    return Scale(factor.astype(np.float32), (-mean * factor).astype(np.float32))


def fit_classifier(x, y, weight, classes, params, seed) -> Network:
    """The mean of several MLPs over the classes `0..classes`, as one network.

    A class without rows gets an output that stays low.
    """
    scale = fit_scale(x, weight)
    z = scale(x)
    members = [fit_member(z, y, weight, classes, params, seed * 1000 + at) for at in range(params["members"])]
    return Network(scale, side_by_side(members))


def fit_member(z, y, weight, classes, params, seed):
    rng = np.random.default_rng(seed)
    z, y, weight = disguise(z, y, weight, params, rng)
    network = MLPClassifier(
        hidden_layer_sizes=tuple(params["hidden"]),
        alpha=params["alpha"],
        batch_size=256,
        learning_rate_init=1e-3,
        max_iter=params["epochs"],
        tol=0.0,
        n_iter_no_change=params["epochs"],
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(z, y, sample_weight=weight)
    layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(network.coefs_, network.intercepts_)]
    layers[-1] = spread(layers[-1], network.classes_, classes, binary=len(network.classes_) == 2)
    return layers


def side_by_side(members):
    """One network whose outputs are the means of the members' outputs."""
    layers = []
    for at, parts in enumerate(zip(*members)):
        first, last = at == 0, at + 1 == len(members[0])
        if first:
            w = np.concatenate([w for w, _ in parts], axis=1)
        elif last:
            w = np.concatenate([w for w, _ in parts], axis=0)
        else:
            w = block_diag(*[w for w, _ in parts])
        b = sum(b for _, b in parts) / len(parts) if last else np.concatenate([b for _, b in parts])
        layers.append(((w / len(parts) if last else w).astype(np.float32), b.astype(np.float32)))
    return layers


def disguise(z, y, weight, params, rng):
    """The rows, and copies of them that are blurred and lack some features, so that no few values decide."""
    rows, copies = [z], params["copies"]
    for _ in range(copies):
        kept = rng.random(z.shape, dtype=np.float32) >= params["dropped"]
        blur = rng.standard_normal(z.shape, dtype=np.float32) * np.float32(params["blur"])
        rows.append((z + blur) * kept)
    return np.concatenate(rows), np.tile(y, copies + 1), np.tile(weight, copies + 1)


def spread(layer, known, classes, binary):
    """The last layer with one output for each of all classes."""
    w, b = layer
    if binary:
        # scikit-learn fits one logit for two classes.
        w, b = np.concatenate([-w / 2, w / 2], axis=1), np.concatenate([-b / 2, b / 2])
    full_w = np.zeros((w.shape[0], classes), dtype=np.float32)
    full_b = np.full(classes, -30.0, dtype=np.float32)
    full_w[:, known], full_b[known] = w, b
    return full_w, full_b


def fit_autoencoder(x, weight, params, seed) -> Network:
    scale = fit_scale(x, weight)
    z = scale(x)
    rng = np.random.default_rng(seed)
    # Rows are drawn by weight: MLPRegressor then needs none, and sees rare protocols often enough.
    drawn = rng.choice(len(z), params["rows"], p=weight / weight.sum())
    network = MLPRegressor(
        hidden_layer_sizes=tuple(params["hidden"]),
        alpha=params["alpha"],
        batch_size=256,
        learning_rate_init=1e-3,
        max_iter=params["epochs"],
        tol=0.0,
        n_iter_no_change=params["epochs"],
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(z[drawn], z[drawn])
    layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(network.coefs_, network.intercepts_)]
    return Network(scale, layers)


def forward(network: Network, x):
    z = network.scale(x)
    for w, b in network.layers[:-1]:
        z = np.maximum(z @ w + b, 0)
    w, b = network.layers[-1]
    return z @ w + b


def probabilities(network: Network, x):
    told = forward(network, x)
    told = np.exp(told - told.max(axis=1, keepdims=True))
    return told / told.sum(axis=1, keepdims=True)


def errors(network: Network, x):
    return ((forward(network, x) - network.scale(x)) ** 2).mean(axis=1)
