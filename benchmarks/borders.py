"""What the network sees wrongly at a border, by its padding.

    python -m benchmarks.borders

Each picture is seen whole and without a margin; the figures are how far features on
the border of the inner part are from those of the whole, over the size of these, at
each layer that `Gram` and `Content` look at by default.
"""

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from nst_jax.metrics.padding_error import padding_error
from nst_jax.models.vgg import PADDINGS

_PICTURES = flags.DEFINE_list(
    "pictures",
    [f"samples/{name}.png" for name in ("astronaut", "chelsea", "coffee")],
    "Photographs.",
)
_SIZE = flags.DEFINE_integer("size", 512, "The longer side in pixels.", lower_bound=32)
_MARGIN = flags.DEFINE_integer(
    "margin", 96, "What is cut off on each side.", lower_bound=0
)


def main() -> None:
    layers = sorted({*nst_jax.Gram().layers, *nst_jax.Content().layers})
    print(" ".join(("mean of layers", *layers, "")))
    means: dict[str, list[float]] = {padding: [] for padding in PADDINGS}
    for path in _PICTURES.value:
        picture = nst_jax.read_image(path, _SIZE.value)
        # Of whole positions at every layer, or the last ones would see less.
        picture = picture[: len(picture) // 16 * 16, : picture.shape[1] // 16 * 16]
        for padding in PADDINGS:
            network = nst_jax.load_network(padding=padding)
            found = padding_error(network, picture, _MARGIN.value, layers)
            means[padding].append(float(np.mean([*found.values()])))
            figures = [means[padding][-1], *(found[layer] for layer in layers)]
            print(f"{path} {padding}:", *(f"{figure:.2f}" for figure in figures))
    zeros = np.mean(means["zeros"])
    for padding, own in means.items():
        print(f"{padding}: {np.mean(own):.2f}, {np.mean(own) / zeros:.2f} of zeros")


if __name__ == "__main__":
    script.run(main)
