"""The knobs of a web service, translated into the terms of the loss.

    python launch.py --config=configs/deep_style.py --config.style_weight=70

The service "Deep Style" has six knobs and documents them little. A possible meaning:

* `resolution`, in megapixels: area of content and style; 0 for `size`;
* `depth`, 1 to 5: style layers relu1_1 to relu`depth`_1; deeper layers bring larger
  patterns and cost more time;
* `style_weight`, in percent: share s of the style term, and 100 − s of the content
  term; 0 is the photograph, 100 a texture;
* `style_scale`: size of the style picture relative to the content, which scales its
  patterns;
* `preserve_colors`: transfer on luma alone, with the photograph's chroma
  (`colour="luminance"`);
* `enhance`, 0 to 100: detail. relu1_1 and relu2_1, which hold strokes and edges, get up
  to a hundred times their weight in the style term: crisper, with less large structure.

All other fields exist too, but `terms` and `colour` are derived from the knobs. About a
minute on two CPU cores.
"""

import dataclasses
from typing import Annotated

import nst_jax
from nst_jax.core.validation import Range


@dataclasses.dataclass
class DeepStyle(nst_jax.Experiment):
    """An experiment with the fields of the module's docstring."""

    resolution: Annotated[float, Range(0, 100)] = 0.0
    depth: Annotated[int, Range(1, 5)] = 5
    style_weight: Annotated[float, Range(0, 100)] = 50.0
    preserve_colors: bool = False
    enhance: Annotated[float, Range(0, 100)] = 0.0

    def resolved(self) -> "DeepStyle":
        size, fit = self.size, self.fit
        if self.resolution:
            size, fit = max(1, round((self.resolution * 1e6) ** 0.5)), "area"
        share = self.style_weight / 100
        detail = 100 ** (self.enhance / 100)
        weights = (detail, detail, 1.0, 1.0, 1.0)[: self.depth]
        return dataclasses.replace(
            self,
            size=size,
            fit=fit,
            colour="luminance" if self.preserve_colors else "style",
            terms=(
                nst_jax.Content(weight=40 * (1 - share)),
                nst_jax.Gram(
                    weight=2 * share,
                    layers=tuple(f"relu{i + 1}_1" for i in range(self.depth)),
                    layer_weights=weights,
                ),
            ),
        )


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = DeepStyle(
        content="samples/coffee.png",
        styles=("samples/mosaic.jpg",),
        terms=(nst_jax.Content(), nst_jax.Gram()),
        size=224,
        steps=100,
    )
    return nst_jax.variant(config, arg)
