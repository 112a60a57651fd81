"""Scales features and fits the autoencoder. Knows no files."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

# Scaled values beyond this say "very much"; how much more is another network's habit.
CLIP = 4.0


@dataclass
class Scale:
    """z = clip(factor * x[sees] + shift, -CLIP, CLIP). What spans orders of magnitude comes as a logarithm already."""

    features: int  # columns of x
    sees: list  # those of them that are looked at
    factor: np.ndarray
    shift: np.ndarray

    def __call__(self, x):
        return np.clip(x[:, self.sees] * self.factor + self.shift, -CLIP, CLIP)


@dataclass
class Network:
    """Dense layers with ReLU between them, behind a scale."""

    scale: Scale
    layers: list  # of (weights [in, out], bias [out])


def fit_scale(x, weight, sees) -> Scale:
    told = x[:, sees].astype(np.float64)
    mean = np.average(told, axis=0, weights=weight)
    std = np.sqrt(np.average((told - mean) ** 2, axis=0, weights=weight))
    # What hardly varies in training tells nothing; it must not explode elsewhere.
    factor = np.where(std > 1e-3, 1.0 / np.maximum(std, 1e-3), 0.0)
    return Scale(x.shape[1], sees, factor.astype(np.float32), (-mean * factor).astype(np.float32))


def fit_autoencoder(x, weight, sees, params, seed) -> Network:
    scale = fit_scale(x, weight, sees)
    rng = np.random.default_rng(seed)
    # Rows are drawn by weight: MLPRegressor then needs none, and sees rare protocols often enough.
    drawn = rng.choice(len(x), params["rows"], p=weight / weight.sum())
    z = scale(x[drawn])
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
        network.fit(z, z)
    layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(network.coefs_, network.intercepts_)]
    return Network(scale, layers)


def forward(network: Network, x):
    z = network.scale(x)
    for w, b in network.layers[:-1]:
        z = np.maximum(z @ w + b, 0)
    w, b = network.layers[-1]
    return z @ w + b


def errors(network: Network, x):
    return ((forward(network, x) - network.scale(x)) ** 2).mean(axis=1)
