"""VGG-19 and the loss of configs/pastiche.py in PyTorch, as a careful user writes them.

No parameter gradients, cached targets, in-place ReLU; contiguous or channels last,
eager or compiled for fixed shapes. On a GPU kernels are autotuned and launched as one
graph. bfloat16 uses bfloat16 parameters and `torch.autocast`.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping

import jax
import numpy as np
import torch

from benchmarks.evaluation import inner
from nst_jax.losses.style import STYLE_LAYERS
from nst_jax.models.layers import LAYERS
from nst_jax.models.preprocessing import CAFFE
from nst_jax.models.weights import load_weights

# Both frameworks share a GPU's memory; JAX would allocate three quarters of it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

Features = dict[str, torch.Tensor]
Kernels = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
CONTENT_LAYER = "relu4_2"


@functools.cache
def convolutions() -> Kernels:
    """Return (kernel [O, I, 3, 3], bias [O]) by layer, of the bundled weights."""
    return {
        name: (
            torch.from_numpy(np.asarray(conv["kernel"]).transpose(3, 2, 0, 1).copy()),
            torch.from_numpy(np.asarray(conv["bias"]).copy()),
        )
        for name, conv in load_weights().params.items()
    }


def network(x: torch.Tensor, kernels: Kernels, *, ceil_mode: bool = True) -> Features:
    """Return the taps [N, C, h, w] of preprocessed images in BGR, [N, 3, H, W].

    `ceil_mode` False drops an odd last row or column at a pooling, as
    `pool_rounding="floor"` does.
    """
    taps = {}
    for layer in LAYERS[: LAYERS.index("relu5_1") + 1]:
        if layer.startswith("conv"):
            x = torch.nn.functional.conv2d(x, *kernels[layer], padding=1)
        elif layer.startswith("relu"):
            x = torch.nn.functional.relu(x, inplace=True)
        else:
            x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=ceil_mode)
        if layer in STYLE_LAYERS or layer == CONTENT_LAYER:
            taps[layer] = x
    return taps


def evaluation(
    content: np.ndarray,
    style: np.ndarray,
    canvas: np.ndarray,
    *,
    arithmetic: str = "float32",
    channels_last: bool = False,
    compiled: bool = False,
) -> Callable[[], float]:
    """Return the same call as `benchmarks.evaluation.ours`, on JAX's default device."""
    device = {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend())
    if device is None or (device == "cuda" and not torch.cuda.is_available()):
        sys.exit(f"PyTorch does not support this {jax.default_backend()}")
    torch.backends.cuda.matmul.allow_tf32 = arithmetic == "tf32"
    torch.backends.cudnn.allow_tf32 = arithmetic == "tf32"
    torch.backends.cudnn.benchmark = True
    dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
    memory = torch.channels_last if channels_last else torch.contiguous_format
    kernels = {
        name: (kernel.to(device, dtype, memory_format=memory), bias.to(device, dtype))
        for name, (kernel, bias) in convolutions().items()
    }

    def tensor(images: np.ndarray) -> torch.Tensor:
        bgr = images.reshape(-1, *images.shape[-3:])[..., ::-1] * np.float32(255)
        centred = (bgr - np.asarray(CAFFE.mean, np.float32)).transpose(0, 3, 1, 2)
        on_host = torch.from_numpy(np.ascontiguousarray(centred))
        return on_host.to(device, memory_format=memory)

    def gram(features: torch.Tensor) -> torch.Tensor:
        flat = features.flatten(2)
        return flat @ flat.mT / flat.shape[2]

    mixed = torch.autocast(device, torch.bfloat16, enabled=arithmetic == "bfloat16")
    with torch.no_grad(), mixed:
        content_target = network(tensor(content), kernels)[CONTENT_LAYER]
        style_features = network(tensor(style), kernels)
        grams = {layer: gram(style_features[layer]) for layer in STYLE_LAYERS}

    def objective(picture: torch.Tensor) -> torch.Tensor:
        features = network(picture, kernels)
        mse = torch.nn.functional.mse_loss
        members = len(picture)  # mse is a mean; the losses of a batch are added.
        content_tap = features[CONTENT_LAYER]
        target = content_target.expand_as(content_tap)
        loss = 0.01 * members * mse(content_tap, target)
        for layer in STYLE_LAYERS:
            statistic = gram(features[layer])
            weight = 10 * members / statistic.shape[1] ** 2
            loss = loss + weight * mse(statistic, grams[layer].expand_as(statistic))
        return loss

    run = objective
    if compiled:
        mode = "reduce-overhead" if device == "cuda" else None
        run = torch.compile(objective, dynamic=False, mode=mode)
    start = tensor(canvas)

    def evaluate() -> float:
        for _ in range(inner()):
            picture = start.clone().requires_grad_()
            with mixed:
                loss = run(picture)
            loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return float(loss.detach())

    return evaluate
