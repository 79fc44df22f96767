#!/usr/bin/env python3
"""Trains the digits model 64 -> 128 -> 64 -> 10 (ReLU between layers) and writes its weights.

    python3 train.py                  train; write weights.f32 and accuracy.txt
    python3 train.py --evaluate       recompute the figures of accuracy.txt from weights.f32
    python3 train.py --import FILE    make images.u8 and labels.u8 from a CSV of 64 pixels and a label a line
                                      (optdigits.tes of UCI, or scikit-learn's digits.csv.gz)

Needs Python 3 and numpy. The first TRAIN images (in the order of the data set) are for training, the others only measure.
Everything random comes from one fixed seed. A machine with another BLAS may round the last bits of the
weights differently.
"""

import gzip
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
IMAGES, PIXELS, CLASSES, TRAIN = 1797, 64, 10, 1200
SIZES = [PIXELS, 128, 64, CLASSES]
SEED = 20210704
EPOCHS, BATCH, RATE, DECAY = 300, 50, 2e-3, 1e-2


def read_data():
    """Pixels as value / 16 (0..1), and labels."""
    x = np.fromfile(HERE / "images.u8", np.uint8).reshape(IMAGES, PIXELS) / 16.0
    return x, np.fromfile(HERE / "labels.u8", np.uint8)


def import_csv(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as f:
        table = np.loadtxt(f, delimiter=",")
    assert table.shape == (IMAGES, PIXELS + 1), table.shape
    assert table.min() >= 0 and table[:, :PIXELS].max() <= 16 and table[:, PIXELS].max() < CLASSES
    table.astype(np.uint8)[:, :PIXELS].tofile(HERE / "images.u8")
    table.astype(np.uint8)[:, PIXELS].tofile(HERE / "labels.u8")


def forward(layers, x):
    """Activations of every layer, the input first; the last are the logits."""
    activations = [x]
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i + 1 < len(layers):
            x = np.maximum(x, 0)
        activations.append(x)
    return activations


def distort(x, random):
    """Turns, slants, scales and shifts each image a little, and adds noise: other hands than those in the data."""
    n = len(x)
    at = np.indices((8, 8)).reshape(2, PIXELS) - 3.5
    angle, slant = random.normal(0, 0.12, n), random.normal(0, 0.15, n)
    scale = random.normal(1, 0.08, (2, n))
    shift = random.normal(0, 0.4, (2, n, 1))
    rows = (np.outer(np.cos(angle) * scale[0], at[0]) - np.outer(np.sin(angle), at[1])) + shift[0] + 4.5
    columns = np.outer(np.sin(angle) + slant, at[0]) + np.outer(np.cos(angle) * scale[1], at[1]) + shift[1] + 4.5
    rows, columns = np.clip(rows, 0, 8.999), np.clip(columns, 0, 8.999)
    # Bilinear samples of the image with a border of one empty pixel.
    padded = np.pad(x.reshape(n, 8, 8), ((0, 0), (1, 1), (1, 1)))
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = rows - r, columns - c
    i = np.arange(n)[:, None]
    out = (padded[i, r, c] * (1 - fc) + padded[i, r, c + 1] * fc) * (1 - fr)
    out += (padded[i, r + 1, c] * (1 - fc) + padded[i, r + 1, c + 1] * fc) * fr
    return np.clip(out + random.normal(0, 0.05, out.shape), 0, 1)


def train(x, labels):
    random = np.random.default_rng(SEED)
    layers = [
        (random.normal(0, np.sqrt(2 / i), (i, o)), np.zeros(o)) for i, o in zip(SIZES, SIZES[1:])
    ]
    parameters = [p for layer in layers for p in layer]
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    wanted = np.eye(CLASSES)[labels]
    steps, total = 0, EPOCHS * len(x) // BATCH
    for _ in range(EPOCHS):
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            activations = forward(layers, distort(x[batch], random))
            logits = activations[-1] - activations[-1].max(axis=1, keepdims=True)
            p = np.exp(logits)
            p /= p.sum(axis=1, keepdims=True)
            delta = (p - wanted[batch]) / len(batch)
            gradients = []
            for i in reversed(range(len(layers))):
                gradients = [activations[i].T @ delta, delta.sum(axis=0)] + gradients
                delta = delta @ layers[i][0].T * (activations[i] > 0)
            # Adam with decoupled weight decay; the rate falls to 0 along half a cosine.
            steps += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * steps / total))
            for q, g, m, v in zip(parameters, gradients, first, second):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                q -= rate * (m / (1 - 0.9**steps) / (np.sqrt(v / (1 - 0.999**steps)) + 1e-8) + DECAY * q)
    return layers


def read_weights():
    flat = np.fromfile(HERE / "weights.f32", "<f4").astype(np.float64)
    layers = []
    for i, o in zip(SIZES, SIZES[1:]):
        w, b, flat = flat[: i * o].reshape(i, o), flat[i * o : i * o + o], flat[i * o + o :]
        layers.append((w, b))
    assert flat.size == 0
    return layers


def report(x, labels):
    """Correct predictions of the weights as written, that is rounded to f32."""
    right = forward(read_weights(), x)[-1].argmax(axis=1) == labels
    parts = [("train", right[:TRAIN]), ("held_out", right[TRAIN:]), ("all", right)]
    return "".join(f"{name} {part.sum()} {part.size}\n" for name, part in parts)


def main(arguments):
    if arguments[:1] == ["--import"] and len(arguments) == 2:
        import_csv(arguments[1])
        return
    x, labels = read_data()
    if not arguments:
        layers = train(x[:TRAIN], labels[:TRAIN])
        np.concatenate([p.ravel() for layer in layers for p in layer]).astype("<f4").tofile(HERE / "weights.f32")
        (HERE / "accuracy.txt").write_text(report(x, labels))
    elif arguments != ["--evaluate"]:
        sys.exit(__doc__)
    print(report(x, labels), end="")
    if report(x, labels) != (HERE / "accuracy.txt").read_text():
        sys.exit("accuracy.txt says otherwise")


main(sys.argv[1:])
