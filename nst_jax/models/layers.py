"""Networks as tables of layers: convolutions, ReLUs and poolings.

Layers have the names of VGG-19. A shallower network of the family lacks some of them.
"""

import re
from collections.abc import Iterable

from nst_jax.core.errors import RequestError, did_you_mean

#: Name of a network -> number of convolutions in each block: configurations E and D of
#: Simonyan & Zisserman 2015 (arXiv 1409.1556). No block is deeper than VGG-19's.
TRUNKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
#: Channels of each block.
_WIDTHS = (64, 128, 256, 512, 512)


def conv_shapes(trunk: str = "vgg19") -> dict[str, tuple[int, int]]:
    """Return (inputs, outputs) of each 3×3 convolution of a network, in order."""
    shapes, channels = {}, 3
    for block, (width, depth) in enumerate(
        zip(_WIDTHS, TRUNKS[trunk], strict=True), start=1
    ):
        for conv in range(1, depth + 1):
            shapes[f"conv{block}_{conv}"] = (channels, width)
            channels = width
    return shapes


def trunk_layers(trunk: str) -> tuple[str, ...]:
    """Return the layers of a network in order: conv1_1, relu1_1, … relu5_4, pool5."""
    names: list[str] = []
    for block, depth in enumerate(TRUNKS[trunk], start=1):
        for conv in range(1, depth + 1):
            names += [f"conv{block}_{conv}", f"relu{block}_{conv}"]
        names.append(f"pool{block}")
    return tuple(names)


#: Canonical names in the order of computation, of every network.
LAYERS = trunk_layers("vgg19")
CONVS = tuple(conv_shapes())


def find_trunk(convs: Iterable[str]) -> str:
    """Return the smallest network that has these convolutions.

    Raises:
      RequestError: no network has them.
    """
    names = set(convs)
    trunks = [trunk for trunk in TRUNKS if names <= conv_shapes(trunk).keys()]
    if not trunks:
        raise RequestError(
            f"params must hold the convolutions of {' or '.join(TRUNKS)}, got "
            f"{', '.join(sorted(names))}"
        )
    return min(trunks, key=lambda trunk: sum(TRUNKS[trunk]))


def check_layers(layers: Iterable[str], trunk: str) -> None:
    """Raise RequestError if a network lacks one of the layers (canonical)."""
    known = trunk_layers(trunk)
    for layer in layers:
        if layer not in known:
            kind = layer[:4]
            alike = ", ".join(name for name in known if name.startswith(kind))
            raise RequestError(f"{trunk} has no layer {layer!r}; it has {alike}")


def canonical_layer(name: str | int) -> str:
    """Return the canonical name of a layer.

    Accepted: `relu4_2`, `conv4_2`, `pool4`; Keras' `block4_conv2` (its
    convolutions include the ReLU, so this is `relu4_2`) and `block4_pool`;
    `conv_9` and `relu_9`, the ninth of VGG-19's sixteen convolutions counted from 1;
    and a bare index into VGG-19's list of 37 layers, as torchvision's `features[21]`.

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


def computed_layers(layers: Iterable[str], trunk: str = "vgg19") -> tuple[str, ...]:
    """Return the layers that a network computes to reach `layers` (canonical)."""
    known = trunk_layers(trunk)
    return known[: known.index(deepest_layer(layers)) + 1]


def channels(layer: str) -> int:
    """Return the number of channels of a layer (canonical), such as 512 of relu4_2."""
    block = int(layer.removeprefix(layer.rstrip("0123456789_"))[0])
    return _WIDTHS[block - 1]


def smallest_side(layers: Iterable[str]) -> int:
    """Return the least height and width, in pixels, of an image that reaches `layers`.

    It equals the stride of the deepest layer. A smaller image has no position there
    ("floor") or none that covers the layer's whole window ("ceil").
    """
    return 2 ** sum(layer.startswith("pool") for layer in computed_layers(layers))
