"""A weight file with an eighth of VGG-19's channels, whose programs compile fast."""

import numpy as np

from nst_jax.models import layers, vgg, weights
from nst_jax.models.preprocessing import CAFFE


def use_narrow_weights(monkeypatch, folder):
    """Narrow the network of this process; return the path of its random weights.

    No convolution is wide enough for Winograd's form, which needs many operations.
    """
    shapes = {
        name: (inputs if inputs == 3 else inputs // 8, outputs // 8)
        for name, (inputs, outputs) in layers.conv_shapes().items()
    }
    for module in (vgg, weights):
        monkeypatch.setattr(module, "conv_shapes", lambda trunk="vgg19": shapes)
    rng = np.random.default_rng(0)
    tensors = {}
    for name, (inputs, outputs) in shapes.items():
        kernel = rng.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, inputs, 3, 3))
        tensors[f"{name}/kernel"] = kernel.astype(np.float32)
        tensors[f"{name}/bias"] = np.zeros(outputs, np.float32)
    path = folder / "narrow.safetensors"
    weights.save_weights(path, tensors, CAFFE, source="random", licence="none")
    return path
