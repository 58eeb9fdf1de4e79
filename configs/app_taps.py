"""Reconstruction before and after the ReLU: does the side of the tap matter?

    python launch.py --config=configs/app_taps.py

The photograph is reconstructed from noise at layers 0 to 4, each tapped before and
after its ReLU. The page compares the distance between the two taps with the distance
between layers. The tap and the layer's number are this config's own fields and axes. In
the app itself, PyTorch's ReLU works in place, so its "conv" features are those after
the ReLU. Three minutes on two CPU cores.
"""

import dataclasses
from typing import Annotated, Literal

import nst_jax
from nst_jax.core.validation import Range


@dataclasses.dataclass
class Tapped(nst_jax.Experiment):
    """An experiment that derives the content layer from its tap and its number."""

    tap: Literal["conv", "relu"] = "relu"
    content_layer: Annotated[int, Range(0, 4)] = 0

    def resolved(self) -> nst_jax.Experiment:
        layer = f"{self.tap}{self.content_layer + 1}_1"
        return self.with_field("terms.content.layers", (layer,))


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
