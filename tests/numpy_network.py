"""A network written anew in NumPy."""

import numpy as np

PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}
#: Convolutions of each block in columns E and D of Simonyan & Zisserman's table 1.
VGG_19, VGG_16 = (2, 2, 4, 4, 4), (2, 2, 3, 3, 3)


def pooled_by_hand(x, pooling, rounding):
    """[H, W, C] window by window, each of what the picture has there.

    The mean is a quarter of the sum in a partial window too.
    """
    height, width, channels = x.shape
    if rounding == "floor":
        height, width = height // 2 * 2, width // 2 * 2
    found = np.zeros((-(-height // 2), -(-width // 2), channels), x.dtype)
    for i, j in np.ndindex(*found.shape[:2]):
        window = x[2 * i : min(2 * i + 2, height), 2 * j : min(2 * j + 2, width)]
        found[i, j] = window.max((0, 1)) if pooling == "max" else window.sum((0, 1)) / 4
    return found


def caffe_input(image):
    """BGR from 0 to 255, less Caffe's means, which are written out here."""
    return 255 * np.asarray(image, np.float64)[..., ::-1] - [103.939, 116.779, 123.68]


def reference(
    convs,
    image,
    pooling="max",
    padding="zeros",
    deepest="pool5",
    rounding="ceil",
    depths=VGG_19,
    network_input=caffe_input,
):
    """VGG in float64 by Simonyan & Zisserman's table 1: name -> [h, w, c].

    A convolution is nine shifted matrix products, a pooling a loop over windows.
    Nothing of the package is used.
    """
    x = network_input(image)
    taps = {}
    for block, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            conv = f"conv{block}_{number}"
            kernel, bias = convs[conv]
            height, width, _ = x.shape
            wide = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode=PAD_MODES[padding])
            x = bias + sum(
                wide[i : i + height, j : j + width] @ kernel[i, j]
                for i in range(3)
                for j in range(3)
            )
            taps[conv] = x
            taps[f"relu{block}_{number}"] = x = np.where(x > 0, x, 0)
            if deepest in taps:
                return taps
        taps[f"pool{block}"] = x = pooled_by_hand(x, pooling, rounding)
    return taps


def assert_taps_agree(found, expected):
    """Within 2e-5 of the largest value of each tap.

    On a CPU the distance is 1e-6 at most; TF32 or bfloat16 would be at 1e-3.
    """
    assert found.keys() == expected.keys()
    for layer, value in expected.items():
        assert found[layer].shape == value.shape
        error = np.abs(np.asarray(found[layer], np.float64) - value).max()
        assert error <= 2e-5 * np.abs(value).max(), layer
