"""Published tools with their own defaults: loss, weights, start and solver.

    nst_jax.preset("johnson", content="me.jpg", styles=("painting.jpg",), size=512)

The presets of `OWN` are this project's; docs/quality.md compares them. Noise and
learning rates are converted to pictures in [0, 1]. docs/conventions.md has a table of
the presets and their differences from the tools.
"""

import copy
import functools
from typing import Any

import optax

from nst_jax.config.experiment import Experiment
from nst_jax.config.ladder import Ladder
from nst_jax.config.options import SolverOptions
from nst_jax.core.image_array import PictureSource
from nst_jax.core.validation import check_choice
from nst_jax.images.initialise import Canvas
from nst_jax.losses import (
    Content,
    Covariance,
    Gram,
    NearestFeatures,
    RelaxedEMD,
    SelfSimilarity,
    TotalVariation,
)

#: A tool's defaults. The tools' losses were compared with pool_rounding="floor".
_tool = functools.partial(Experiment, "", (), pool_rounding="floor")
#: PyTorch's L-BFGS, with its default history.
_TORCH_LBFGS = SolverOptions("lbfgs_fixed", history_size=100)
_LBFGS = SolverOptions("lbfgs", history_size=100)
#: PyTorch's RMSprop, with its default decay and ε.
_RMSPROP = optax.rmsprop(2e-3, decay=0.99, eps=1e-8, eps_in_sqrt=False)

#: What "nst_jax" and "nst_jax_fast" share.
_OWN: dict[str, Any] = {
    "padding": "replicate",
    "pooling": "avg",
    "colour": "match_content",
    "solver": SolverOptions("lbfgs_fixed"),
}

#: Name of a tool -> its defaults, without pictures.
PRESETS: dict[str, Experiment] = {
    # Gatys, Ecker & Bethge 2016: α/β = 1e-3, wₗ = 1/5, 500 steps as in the authors'
    # notebook. The paper's network was rescaled to unit mean activations, which changes
    # the ratio; with maximum pooling, the convention "paper_normalised" corrects it.
    "paper": _tool(
        terms=(
            Content(1e-3, convention="paper"),
            Gram(1.0, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=512,
        steps=500,
        pooling="avg",
        canvas=Canvas("noise"),
        solver=_LBFGS,
    ),
    # leongatys/PytorchNeuralStyleTransfer, the first pass of the notebook.
    "gatys": _tool(
        terms=(Content(1.0, convention="gatys"), Gram(1.0, convention="gatys")),
        size=512,
        fit="short",
        steps=500,
        solver=_TORCH_LBFGS,
        resample="bilinear",
    ),
    # jcjohnson/neural-style. White is 256 there: noise of 0.001 is 0.001/256 here.
    "johnson": _tool(
        terms=(
            Content(5.0, convention="johnson"),
            Gram(100.0, convention="johnson"),
            TotalVariation(1e-3, convention="johnson"),
        ),
        size=512,
        steps=1000,
        canvas=Canvas("noise", noise="normal", amplitude=1e-3 / 256, centre="mean"),
        solver=_TORCH_LBFGS,
        input_scale=256 / 255,
        resample="bilinear",
    ),
    # keras-io's neural_style_transfer.py, by gradient descent.
    "keras": _tool(
        terms=(
            Content(2.5e-8, layers=("relu5_2",), convention="keras"),
            Gram(1e-6, convention="keras"),
            TotalVariation(1e-6, convention="keras"),
        ),
        size=400,
        steps=4000,
        solver=SolverOptions("sgd"),
        resample="nearest",
    ),
    # dstein64/pastiche 1.6.
    "pastiche": _tool(
        terms=(Content(1.0, convention="pastiche"), Gram(1.0, convention="pastiche")),
        size=500,
        fit="area",
        steps=1000,
        solver=_TORCH_LBFGS,
        resample="bilinear",
    ),
    # priyam314/NeuralStyleTransfer-App. It has no default content layer; most of its
    # README uses relu2_1. It feeds the network 0.226 of the contrast of its training.
    "app": _tool(
        terms=(
            Content(5.0, layers=("relu2_1",), convention="app"),
            Gram(
                7000.0,
                layer_weights=tuple(1e3 / n**2 for n in (16, 32, 128, 256, 512)),
                convention="app",
            ),
            TotalVariation(1.2, convention="app"),
        ),
        size=128,
        steps=2500,
        canvas=Canvas("noise", noise="normal", amplitude=1.0, centre="black"),
        solver=_TORCH_LBFGS,
        input_scale=0.226,
        input_centred=False,
        resample="bilinear",
    ),
    # gordicaleksa/pytorch-neural-style-transfer. It feeds torchvision's network 0–255
    # less the mean, as the bundled weights expect; converted weights need
    # input_scale=255 * 0.226.
    "gordicaleksa": _tool(
        terms=(
            Content(1e5, convention="gordicaleksa"),
            Gram(3e4, convention="gordicaleksa"),
            TotalVariation(1.0, convention="gordicaleksa"),
        ),
        size=400,
        steps=1000,
        solver=_LBFGS,
        resample="bicubic",
    ),
    # nkolkin13/STROTSS (Kolkin, Salavon & Shakhnarovich 2019). α halves from 16 at 64
    # px to 2 at 512 px.
    "strotss": _tool(
        terms=(SelfSimilarity(2.0), RelaxedEMD(1.0, palette=1.0)),
        size=512,
        steps=250,
        canvas=Canvas("details"),
        parametrisation="pyramid",
        ladder=Ladder(
            sizes=(64, 128, 256),
            term_weights=((8.0, 1.0), (4.0, 1.0), (2.0, 1.0)),
            content_details=True,
        ),
        solver=SolverOptions(custom=_RMSPROP),
        resample="bilinear",
    ),
    # This project's own: docs/quality.md compares them. All losses are relative to the
    # energy of their targets, so that weights near 1 suit every pair and size.
    "nst_jax": Experiment(
        "",
        (),
        terms=(
            Content(1.0, normalise="target"),
            Covariance(1.0, mean_weight=1.0, normalise="target"),
            TotalVariation(1.0, kind="squared"),
            NearestFeatures(0.4),
        ),
        size=512,
        steps=45,
        ladder=Ladder(start=128, factor=2.0, content_mix=0.5),
        **_OWN,
    ),
    # Without nearest features, and with fewer steps at the full size.
    "nst_jax_fast": Experiment(
        "",
        (),
        terms=(
            Content(0.8, normalise="target"),
            Gram(1.0, layer_weights=(1.0, 1.0, 2.0, 2.0, 1.0), normalise="target"),
            TotalVariation(1.0, kind="squared"),
        ),
        size=512,
        steps=10,
        ladder=Ladder(start=128, factor=2.0, steps=(30,), content_mix=0.5),
        **_OWN,
    ),
    # The loss of Gatys, Ecker & Bethge 2016 at one size, in relative units.
    "classic": Experiment(
        "",
        (),
        terms=(Content(0.05, normalise="target"), Gram(1.0, normalise="target")),
        size=512,
        steps=200,
        solver=SolverOptions("lbfgs_fixed"),
    ),
}

#: Presets that are no published tool's.
OWN = ("classic", "nst_jax_fast", "nst_jax")


def preset(
    name: str,
    *,
    content: PictureSource,
    styles: tuple[PictureSource, ...],
    **fields: Any,
) -> Experiment:
    """Return the experiment that a tool would run with these pictures.

    Args:
      name: a key of `PRESETS`.
      content: the content picture.
      styles: the style pictures.
      **fields: fields of `Experiment` that replace the tool's defaults.

    Raises:
      RequestError: there is no such preset or field.
    """
    check_choice("preset", name, PRESETS)
    experiment = copy.deepcopy(PRESETS[name])
    for field, value in {"content": content, "styles": styles, **fields}.items():
        setattr(experiment, field, value)
    return experiment
