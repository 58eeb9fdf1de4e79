"""The knobs of a web service, in a person's words, and what each does to the loss.

    python launch.py --config=configs/deep_style.py --config.style_weight=70

The service "Deep Style" has six knobs and says little about them. Here is what they
can mean:

* `resolution`, in megapixels: the area that content and style are resized to; 0 for
  what `size` says;
* `depth`, 1 to 5: style layers relu1_1 to relu`depth`_1; deeper ones bring larger
  patterns, and cost more time;
* `style_weight`, in percent: the style term has this share s, the content term
  100 − s; 0 is the photograph, 100 a texture;
* `style_scale`: the style picture's size against the content's; its patterns are as
  much larger or smaller, for the network sees them so;
* `preserve_colors`: the transfer runs on luma alone, and the photograph's chroma is
  put back (`colour="luminance"`);
* `enhance`, 0 to 100: detail. The layers relu1_1 and relu2_1, which hold strokes and
  edges, count for up to a hundred times as much in the style term, and its deeper ones
  for the same as before: crisper, with less of the large structure.

All other fields are there too, but `terms` and `colour` follow from the words. About a
minute on two CPU cores.
"""

import dataclasses

import nst_jax


@dataclasses.dataclass
class DeepStyle(nst_jax.Experiment):
    """An experiment that is asked for in these words; see the module's docstring."""

    resolution: float = 0.0
    depth: int = 5
    style_weight: float = 50.0
    preserve_colors: bool = False
    enhance: float = 0.0

    def resolved(self) -> "DeepStyle":
        for name, value, low, high in (
            ("resolution", self.resolution, 0, 100),
            ("depth", self.depth, 1, 5),
            ("style_weight", self.style_weight, 0, 100),
            ("enhance", self.enhance, 0, 100),
        ):
            if not low <= value <= high:
                raise nst_jax.RequestError(
                    f"{name} must be from {low:g} to {high:g}, got {value}"
                )
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
