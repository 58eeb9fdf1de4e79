"""Published tools, each with its own defaults: loss, weights, start, solver.

    nst_jax.preset("johnson", content="me.jpg", styles=("painting.jpg",), size=512)

And one of this project's own, "nst_jax"; docs/quality.md has how it compares. Numbers
are converted to this project's units: noise and learning rates to pictures in [0, 1].
Published tools have `pool_rounding="floor"`, with which their losses were compared.
docs/conventions.md has the table, and what is not the same.
"""

from collections.abc import Callable
from typing import Any

from nst_jax.config.experiment import Experiment
from nst_jax.config.ladder import Ladder
from nst_jax.config.options import SolverOptions
from nst_jax.core.errors import RequestError, nearest
from nst_jax.images.initialise import Canvas
from nst_jax.losses import Content, Gram, MeanStd, TotalVariation
from nst_jax.losses.style import STYLE_LAYERS

#: Torch's default, and so most tools'.
_HISTORY = 100


def _torch_lbfgs() -> SolverOptions:
    return SolverOptions("lbfgs_fixed", history_size=_HISTORY)


def paper(content: str, styles: tuple[str, ...]) -> Experiment:
    """Gatys, Ecker & Bethge 2016: α/β = 1e-3, wₗ = 1/5, from noise, mean pooling.

    The paper's network was rescaled to unit mean activations, so that its ratio
    is another one here; the convention "paper_normalised" makes up for it where
    pooling is by the maximum. 500 steps are its authors' notebook's.
    """
    return Experiment(
        content,
        styles,
        terms=(
            Content(1e-3, convention="paper"),
            Gram(1.0, layer_weights=(0.2,) * 5, convention="paper"),
        ),
        size=512,
        steps=500,
        pooling="avg",
        canvas=Canvas("noise"),
        solver=SolverOptions("lbfgs", history_size=_HISTORY),
        pool_rounding="floor",
    )


def gatys(content: str, styles: tuple[str, ...]) -> Experiment:
    """leongatys/PytorchNeuralStyleTransfer, the notebook's first pass."""
    return Experiment(
        content,
        styles,
        terms=(Content(1.0, convention="gatys"), Gram(1.0, convention="gatys")),
        size=512,
        fit="short",
        steps=500,
        solver=_torch_lbfgs(),
        resample="bilinear",
        pool_rounding="floor",
    )


def johnson(content: str, styles: tuple[str, ...]) -> Experiment:
    """jcjohnson/neural-style: 5, 100, 1e-3, from next to nothing around the mean.

    White is 256 there, so noise of 0.001 is 0.001/256, and the input 256/255.
    """
    return Experiment(
        content,
        styles,
        terms=(
            Content(5.0, convention="johnson"),
            Gram(100.0, convention="johnson"),
            TotalVariation(1e-3, convention="johnson"),
        ),
        size=512,
        steps=1000,
        canvas=Canvas("noise", noise="normal", amplitude=1e-3 / 256, centre="mean"),
        solver=_torch_lbfgs(),
        input_scale=256 / 255,
        resample="bilinear",
        pool_rounding="floor",
    )


def keras(content: str, styles: tuple[str, ...]) -> Experiment:
    """keras-io's neural_style_transfer.py: 2.5e-8, 1e-6, 1e-6, gradient descent."""
    return Experiment(
        content,
        styles,
        terms=(
            Content(2.5e-8, layers=("relu5_2",), convention="keras"),
            Gram(1e-6, convention="keras"),
            TotalVariation(1e-6, convention="keras"),
        ),
        size=400,
        steps=4000,
        solver=SolverOptions("sgd"),
        resample="nearest",
        pool_rounding="floor",
    )


def pastiche(content: str, styles: tuple[str, ...]) -> Experiment:
    """dstein64/pastiche 1.6."""
    return Experiment(
        content,
        styles,
        terms=(Content(1.0, convention="pastiche"), Gram(1.0, convention="pastiche")),
        size=500,
        fit="area",
        steps=1000,
        solver=SolverOptions("lbfgs_fixed", history_size=_HISTORY),
        resample="bilinear",
        pool_rounding="floor",
    )


def app(content: str, styles: tuple[str, ...]) -> Experiment:
    """priyam314/NeuralStyleTransfer-App: 5, 7000, 1.2, from noise that fills [−3, 3].

    Its content layer has no default; relu2_1 is that of most of its README.
    It feeds pictures as they are, 0.226 of the contrast torchvision trained with.
    """
    return Experiment(
        content,
        styles,
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
        solver=_torch_lbfgs(),
        input_scale=0.226,
        input_centred=False,
        resample="bilinear",
        pool_rounding="floor",
    )


def gordicaleksa(content: str, styles: tuple[str, ...]) -> Experiment:
    """gordicaleksa/pytorch-neural-style-transfer: 1e5, 3e4, 1, from the content.

    Its network is torchvision's, fed with 0–255 less the mean, which is what the
    bundled weights were trained on; with converted ones set `input_scale=255 * 0.226`.
    """
    return Experiment(
        content,
        styles,
        terms=(
            Content(1e5, convention="gordicaleksa"),
            Gram(3e4, convention="gordicaleksa"),
            TotalVariation(1.0, convention="gordicaleksa"),
        ),
        size=400,
        steps=1000,
        solver=SolverOptions("lbfgs", history_size=_HISTORY),
        resample="bicubic",
        pool_rounding="floor",
    )


def nst_jax(content: str, styles: tuple[str, ...]) -> Experiment:
    """Content at two depths, style by means and deviations at seven, coarse to fine.

    Moments as by Li et al. 2017 (arXiv 1701.01036). More layers than Gatys', in the
    manner of Novak & Nikulin 2016 (arXiv 1605.04603). The style's weight is what trades
    one for the other; times 10 or through 10 is much. Below a `size` of 129 the ladder
    has to begin lower or go.
    """
    deeper = ("relu3_3", "relu4_3")
    return Experiment(
        content,
        styles,
        terms=(
            Content(1000.0, layers=("relu3_1", "relu4_2")),
            MeanStd(28.0, layers=tuple(sorted((*STYLE_LAYERS, *deeper)))),
        ),
        size=512,
        steps=100,
        ladder=Ladder(start=128, factor=2.0),
        solver=SolverOptions("lbfgs_fixed"),
    )


#: Name -> (content, styles) -> experiment.
PRESETS: dict[str, Callable[[str, tuple[str, ...]], Experiment]] = {
    tool.__name__: tool
    for tool in (paper, gatys, johnson, keras, pastiche, app, gordicaleksa, nst_jax)
}


def preset(
    name: str, *, content: str, styles: tuple[str, ...], **overrides: Any
) -> Experiment:
    """What a published tool, or this one by itself, would do with these pictures.

    Args:
      name: a key of `PRESETS`.
      content: path of the content picture.
      styles: paths of the style pictures.
      **overrides: fields of `Experiment` that shall differ from the tool's.

    Raises:
      RequestError: there is no such preset, or no such field.
    """
    if name not in PRESETS:
        raise RequestError(
            f"unknown preset {name!r}{nearest(name, PRESETS)} "
            f"(presets are {', '.join(PRESETS)})"
        )
    experiment = PRESETS[name](content, styles)
    for field, value in overrides.items():
        setattr(experiment, field, value)
    return experiment
