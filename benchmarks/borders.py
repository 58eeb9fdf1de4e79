"""Error of the network's features at a border, by padding.

    python -m benchmarks.borders

Each image is seen whole and without a margin. The figures compare features on the
border of the inner part with those of the whole, relative to the latter, at each
default layer of `Gram` and `Content`.
"""

import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.padding_error import padding_error
from nst_jax.models.vgg import PADDINGS

_PICTURES = flags.DEFINE_list(
    "pictures",
    [f"samples/{name}.png" for name in ("astronaut", "chelsea", "coffee")],
    "Photographs.",
)
_SIZE = script.size_flag(512)
_MARGIN = script.count_flag("margin", 96, "Pixels cut off on each side.", least=0)


def main() -> None:
    layers = sorted({*nst_jax.Gram().layers, *nst_jax.Content().layers})
    print(" ".join(("mean of layers", *layers, "")))
    means: dict[str, list[float]] = {padding: [] for padding in PADDINGS}
    for path in _PICTURES.value:
        picture = nst_jax.read_image(path, _SIZE.value)
        # Whole positions at every layer; the last ones would see less otherwise.
        picture = picture[: len(picture) // 16 * 16, : picture.shape[1] // 16 * 16]
        for padding in PADDINGS:
            network = nst_jax.load_network(padding=padding)
            errors = padding_error(network, picture, _MARGIN.value, layers)
            means[padding].append(float(np.mean([*errors.values()])))
            figures = [means[padding][-1], *(errors[layer] for layer in layers)]
            print(f"{path} {padding}:", *(f"{figure:.2f}" for figure in figures))
    zeros = np.mean(means["zeros"])
    for padding, values in means.items():
        mean = np.mean(values)
        print(f"{padding}: {mean:.2f}, {mean / zeros:.2f} relative to zeros")


if __name__ == "__main__":
    script.run(main)
