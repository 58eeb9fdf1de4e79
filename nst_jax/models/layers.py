"""Names of VGG-19's layers: convolutions, ReLUs and poolings."""

import re
from collections.abc import Iterable

from nst_jax.core.errors import RequestError, did_you_mean

#: Channels and number of convolutions of each block.
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def conv_shapes() -> dict[str, tuple[int, int]]:
    """Return (inputs, outputs) of each of VGG-19's sixteen convolutions, in order."""
    shapes, channels = {}, 3
    for block, (width, depth) in enumerate(_BLOCKS, start=1):
        for conv in range(1, depth + 1):
            shapes[f"conv{block}_{conv}"] = (channels, width)
            channels = width
    return shapes


def _layer_table() -> tuple[str, ...]:
    names: list[str] = []
    for block, (_, depth) in enumerate(_BLOCKS, start=1):
        for conv in range(1, depth + 1):
            names += [f"conv{block}_{conv}", f"relu{block}_{conv}"]
        names.append(f"pool{block}")
    return tuple(names)


#: Canonical names in the order of computation: conv1_1, relu1_1, … relu5_4, pool5.
LAYERS = _layer_table()
CONVS = tuple(conv_shapes())


def canonical_layer(name: str | int) -> str:
    """Return the canonical name of a layer.

    Accepted: `relu4_2`, `conv4_2`, `pool4`; Keras' `block4_conv2` (its
    convolutions include the ReLU, so this is `relu4_2`) and `block4_pool`;
    `conv_9` and `relu_9`, the ninth of the sixteen convolutions counted from 1;
    and a bare index into the list of 37 layers, as torchvision's `features[21]`.

    Raises:
      RequestError: no layer has this name; the message suggests the nearest one.
    """
    text = str(name)
    if text in LAYERS:
        return text
    if text.isdecimal() and int(text) < len(LAYERS):
        return LAYERS[int(text)]
    if match := re.fullmatch(r"(conv|relu)_(\d+)", text):
        kind, count = match[1], int(match[2])
        if 1 <= count <= len(CONVS):
            return CONVS[count - 1].replace("conv", kind)
    if match := re.fullmatch(r"block(\d)_(?:conv|relu)(\d)", text):
        text = f"relu{match[1]}_{match[2]}"
    elif match := re.fullmatch(r"block(\d)_pool", text):
        text = f"pool{match[1]}"
    if text in LAYERS:
        return text
    raise RequestError(
        f"unknown layer {str(name)!r}{did_you_mean(text, LAYERS)} (layers are "
        "conv1_1 … conv5_4, relu1_1 … relu5_4, pool1 … pool5)"
    )


def canonical_layers(names: Iterable[str | int]) -> tuple[str, ...]:
    """Return the canonical name of each layer; a single string is one layer.

    Raises:
      RequestError: a name is unknown, or a layer is named twice.
    """
    if isinstance(names, str):
        names = (names,)
    layers = tuple(canonical_layer(name) for name in names)
    for layer in layers:
        if layers.count(layer) > 1:
            raise RequestError(f"layer {layer!r} is named twice in {tuple(names)}")
    return layers


def deepest_layer(layers: Iterable[str]) -> str:
    """Return the layer (canonical) that is computed last."""
    return max(layers, key=LAYERS.index)


def channels(layer: str) -> int:
    """Return the number of channels of a layer (canonical), such as 512 of relu4_2."""
    block = int(layer.removeprefix(layer.rstrip("0123456789_"))[0])
    return _BLOCKS[block - 1][0]


def smallest_side(layers: Iterable[str]) -> int:
    """Return the least height and width, in pixels, of an image that reaches `layers`.

    It equals the stride of the deepest layer. A smaller image has no position there
    ("floor") or none that covers the layer's whole window ("ceil").
    """
    computed = LAYERS[: LAYERS.index(deepest_layer(layers)) + 1]
    return 2 ** sum(layer.startswith("pool") for layer in computed)
