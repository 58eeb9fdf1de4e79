"""conv against relu taps: does it matter on which side of the ReLU one looks?

    python launch.py --config=configs/app_taps.py

The photograph reconstructed from noise at layers 0 to 4, each tapped once before and
once after its ReLU. The page says how far apart the two are, beside how far apart the
layers are. A layer's tap and number are fields of this config's own, so that they are
axes of their own. (In the app itself PyTorch's ReLU works in place, so that its "conv"
features are those after it.) Three minutes on two CPU cores.
"""

import dataclasses

import nst_jax


@dataclasses.dataclass
class Tapped(nst_jax.Experiment):
    """An experiment whose layers are named by their tap and their number."""

    tap: str = "relu"
    content_layer: int = 0

    def resolved(self) -> nst_jax.Experiment:
        if self.tap not in ("conv", "relu") or not 0 <= self.content_layer < 5:
            raise nst_jax.RequestError(
                "tap must be 'conv' or 'relu' and content_layer from 0 to 4, got "
                f"{self.tap!r} and {self.content_layer}"
            )
        layers = tuple(f"{self.tap}{block}_1" for block in range(1, 6))
        return self.with_field("terms.content.layers", (layers[self.content_layer],))


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = Tapped(
        content="samples/chelsea.png",
        styles=(),
        terms=(nst_jax.Content(convention="app"),),
        size=96,
        steps=100,
        canvas=nst_jax.Canvas("noise"),
        solver=nst_jax.SolverOptions("lbfgs_fixed"),
        axes=(
            nst_jax.Vary("tap", ("conv", "relu")),
            nst_jax.Vary("content_layer", tuple(range(5))),
        ),
    )
    return nst_jax.variant(config, arg)
