"""The losses against the papers' formulas, their gradients against differences."""

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from pictures import smooth_picture

import nst_jax
from nst_jax import Content, Gram, Objective, RequestError, TotalVariation
from nst_jax.losses import LayerTerm, StyleTerm, Term, View


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def seen(features, image=None):
    """What a term sees of a picture with these features: name -> [h, w, c]."""
    return View(image, jax.tree.map(jnp.asarray, features))


@jax.jit
def loss_of(term, view, target):
    return term(view, target)


@jax.jit
def value_and_gradient(term, features, target):
    """A term's loss and its gradient in the features."""
    return jax.value_and_grad(lambda f: term(View(None, f), target))(features)


gram = jax.jit(nst_jax.losses.gram)


def assert_gradient_is_the_difference(function, point, step=1e-5, rtol=1e-6):
    """Central differences of `function` along four random directions, in float64."""
    flat, unravel = ravel_pytree(point)
    assert flat.dtype == jnp.float64
    evaluate = jax.jit(jax.value_and_grad(lambda flat: function(unravel(flat))))
    gradient = np.asarray(evaluate(flat)[1])
    for direction in normal(99, 4, flat.size):
        ahead, behind = (evaluate(flat + h * direction)[0] for h in (step, -step))
        expected = float(ahead - behind) / (2 * step)
        np.testing.assert_allclose(gradient @ direction, expected, rtol=rtol)


# The papers' formulas. F and P are [C, M], channels by positions, as in print.


def as_printed(features):
    return features.reshape(-1, features.shape[-1]).T


def printed_content(convention, features, target):
    squares = (as_printed(features) - as_printed(target)) ** 2
    if convention == "paper":  # Gatys et al. 2016, equation 1.
        return squares.sum() / 2
    # torch.nn.MSELoss; pastiche multiplies by 0.01.
    return {"gatys": 1, "pastiche": 0.01}[convention] * squares.mean()


def printed_style(convention, features, target):
    f, a = as_printed(features), as_printed(target)
    channels, positions = f.shape
    if convention == "paper":  # Equations 3 and 4, for a style of the same size.
        return ((f @ f.T - a @ a.T) ** 2).sum() / (4 * channels**2 * positions**2)
    # MSELoss between bmm(F, Fᵀ).div(h·w), weighted by 1e3/C² or 10/C².
    squares = (f @ f.T / positions - a @ a.T / a.shape[1]) ** 2
    return {"gatys": 1e3, "pastiche": 10}[convention] / channels**2 * squares.mean()


def printed_variation(kind, exponent, image):
    total = {"x": 0.0, "y": 0.0, "both": 0.0}
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                dx = image[y, x + 1, c] - image[y, x, c] if x + 1 < width else None
                dy = image[y + 1, x, c] - image[y, x, c] if y + 1 < height else None
                power = 1 if kind == "l1" else 2
                total["x"] += 0 if dx is None else abs(dx) ** power
                total["y"] += 0 if dy is None else abs(dy) ** power
                if dx is not None and dy is not None:
                    total["both"] += (dx**2 + dy**2) ** exponent
    if kind == "power":
        return total["both"] / ((height - 1) * (width - 1) * channels)
    return total["x"] / (height * (width - 1) * channels) + total["y"] / (
        (height - 1) * width * channels
    )


VARIATIONS = [
    {"kind": "l1"},
    {"kind": "squared"},
    {"kind": "power"},
    {"kind": "power", "exponent": 1.0},
    {"kind": "power", "exponent": 2.0},
]
variations = pytest.mark.parametrize(
    "kind", VARIATIONS, ids=lambda kind: "-".join(map(str, kind.values()))
)
#: The forms that differ; the tools' own formulas are in test_conventions.py.
conventions = pytest.mark.parametrize("convention", ["paper", "gatys", "pastiche"])


@pytest.mark.usefixtures("x64")
def test_gram_is_the_mean_outer_product():
    features = normal(0, 4, 7, 5)
    expected = np.zeros((5, 5))
    for row in features.reshape(-1, 5):
        expected += np.outer(row, row) / 28
    found = gram(jnp.asarray(features))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.usefixtures("x64")
@conventions
def test_content_is_as_printed(convention):
    """Over two layers, weighted, of different sizes."""
    layers = {"relu3_1": (4, 6, 3), "relu4_2": (2, 3, 5)}
    canvas = {k: normal(1, *shape) for k, shape in layers.items()}
    content = {k: normal(2, *shape) for k, shape in layers.items()}
    term = Content(
        layers=tuple(layers), layer_weights=(0.5, 3.0), convention=convention
    )
    target = term.target(seen(content), ())
    expected = 0.5 * printed_content(
        convention, canvas["relu3_1"], content["relu3_1"]
    ) + 3 * printed_content(convention, canvas["relu4_2"], content["relu4_2"])
    found = loss_of(term, seen(canvas), target)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("convention", "style_size"),
    [
        *((convention, (4, 6)) for convention in ("paper", "gatys", "pastiche")),
        ("gatys", (5, 3)),
        ("pastiche", (5, 3)),  # The paper's 1/(4C²M²) presumes one M.
    ],
)
def test_style_is_as_printed(convention, style_size):
    canvas, style = normal(3, 4, 6, 3), normal(4, *style_size, 3)
    term = Gram(layers=("relu2_1",), convention=convention)
    target = term.target(seen({}), [seen({"relu2_1": style})])
    found = loss_of(term, seen({"relu2_1": canvas}), target)
    expected = printed_style(convention, canvas, style)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@variations
def test_variation_is_as_defined(kind):
    image = normal(5, 5, 7, 3)
    term = TotalVariation(**kind)
    expected = printed_variation(term.kind, term.exponent, image)
    found = loss_of(term, View(image, {}), None)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Gradients.


@pytest.mark.usefixtures("x64")
@conventions
def test_gradient_of_content(convention):
    shapes = {"relu3_1": (3, 4, 5), "relu4_2": (2, 3, 7)}
    canvas = {k: jnp.asarray(normal(6, *shape)) for k, shape in shapes.items()}
    content = seen({k: normal(7, *shape) for k, shape in shapes.items()})
    term = Content(
        layers=tuple(shapes), layer_weights=(2.0, 1.0), convention=convention
    )
    target = term.target(content, ())
    assert_gradient_is_the_difference(lambda f: term(View(None, f), target), canvas)


@pytest.mark.usefixtures("x64")
@conventions
def test_gradient_of_gram(convention):
    """Of two layers and two styles of other sizes than the canvas."""
    canvas = {
        "relu1_1": jnp.asarray(normal(8, 5, 4, 3)),
        "relu2_1": jnp.asarray(normal(9, 3, 2, 4)),
    }
    styles = [
        seen({"relu1_1": normal(seed, h, w, 3), "relu2_1": normal(seed, h - 1, w, 4)})
        for seed, h, w in [(10, 3, 4), (11, 6, 2)]
    ]
    term = Gram(
        layers=tuple(canvas),
        layer_weights=(0.5, 2.0),
        blend=(0.3, 0.7),
        convention=convention,
    )
    target = term.target(seen({}), styles)
    assert_gradient_is_the_difference(lambda f: term(View(None, f), target), canvas)


@pytest.mark.usefixtures("x64")
@variations
def test_gradient_of_variation(kind):
    image = jnp.asarray(normal(12, 6, 5, 3))
    term = TotalVariation(**kind)
    assert_gradient_is_the_difference(lambda image: term(View(image, {}), None), image)


@pytest.mark.usefixtures("x64")
def test_gradient_through_the_network(network):
    """Of a whole objective in the canvas: deep content, deep and shallow style.

    The step of 1e-7 crosses next to no kink of the network.
    """
    network = dataclasses.replace(
        network,
        params=jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network.params),
        prepared=jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network.prepared),
        numerics=nst_jax.Numerics(feature_dtype="float64"),
    )
    objective = Objective(
        (
            Content(layers=("relu4_1",), convention="paper"),
            Gram(layers=("relu1_1", "relu4_1"), convention="gatys"),
            TotalVariation(kind="power"),
        )
    )
    content, style = (
        jnp.asarray(smooth_picture(seed, 16, 17), jnp.float64) for seed in (0, 1)
    )
    view = jax.jit(objective.view)
    views = view(network, content), [view(network, style)]
    targets = tuple(term.target(*views) for term in objective.terms)
    canvas = jnp.asarray(np.random.default_rng(2).uniform(size=(16, 17, 3)))

    @jax.jit
    def loss(objective, network, canvas):
        return jax.value_and_grad(lambda c: objective(network, c, targets)[0])(canvas)

    for only in range(3):  # The weights are leaves: one program for each term alone.
        terms = tuple(
            dataclasses.replace(term, weight=float(number == only))
            for number, term in enumerate(objective.terms)
        )
        gradient = loss(Objective(terms), network, canvas)[1]
        for direction in normal(3, 2, *canvas.shape):
            ahead, behind = (
                loss(Objective(terms), network, canvas + step * direction)[0]
                for step in (1e-7, -1e-7)
            )
            np.testing.assert_allclose(
                jnp.vdot(gradient, direction), (ahead - behind) / 2e-7, rtol=1e-5
            )


# Closed forms.


@pytest.mark.usefixtures("x64")
def test_gram_of_orthonormal_features_is_the_identity_over_positions():
    columns = np.linalg.qr(normal(13, 24, 5))[0]
    found = gram(jnp.asarray(columns.reshape(4, 6, 5)))
    np.testing.assert_allclose(found, np.eye(5) / 24, atol=1e-15)


@pytest.mark.usefixtures("x64")
def test_gram_is_positive_semidefinite_of_the_features_rank():
    """Three positions, five channels: symmetric, three eigenvalues above zero."""
    found = np.asarray(gram(jnp.asarray(normal(14, 1, 3, 5))))
    np.testing.assert_array_equal(found, found.T)
    eigenvalues = np.linalg.eigvalsh(found)
    assert (eigenvalues > -1e-14).all()
    assert (eigenvalues > 1e-3).sum() == 3


@pytest.mark.usefixtures("x64")
@variations
def test_variation_of_a_ramp(kind):
    """0.3 to the right and −0.2 downwards, everywhere."""
    y, x = np.mgrid[:6, :9]
    image = jnp.asarray(np.repeat((0.3 * x - 0.2 * y)[..., None], 3, axis=2))
    term = TotalVariation(**kind)
    expected = {"l1": 0.5, "squared": 0.13, "power": 0.13**term.exponent}[term.kind]
    found = loss_of(term, View(image, {}), None)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@variations
def test_variation_of_a_checkerboard(kind):
    y, x = np.mgrid[:5, :8]
    image = jnp.asarray(np.repeat(((x + y) % 2.0)[..., None], 3, axis=2))
    term = TotalVariation(**kind)
    expected = {"l1": 2, "squared": 2, "power": 2**term.exponent}[term.kind]
    found = loss_of(term, View(image, {}), None)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_variation_of_an_edge():
    """One step of 0.5 among the eight of each row of nine pixels."""
    image = jnp.zeros((6, 9, 3)).at[:, 4:].set(0.5)
    for kind, expected in [("l1", 0.5 / 8), ("squared", 0.25 / 8)]:
        found = loss_of(TotalVariation(kind=kind), View(image, {}), None)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@variations
def test_variation_of_flat_colour_is_zero(kind):
    """And so is its gradient, at the kink of |·| and of the power as well."""
    term = TotalVariation(**kind)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda image: term(View(image, {}), None))
    )(jnp.full((4, 5, 3), 0.7))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((4, 5, 3)))


@pytest.mark.usefixtures("x64")
@conventions
def test_own_target_is_a_minimum_of_zero(convention):
    """Loss and gradient vanish where the canvas is the content, or the style."""
    features = {"relu1_1": normal(15, 5, 6, 4)}
    moved = {"relu1_1": features["relu1_1"] + 0.1}
    for term in (
        Content(layers=("relu1_1",), convention=convention),
        Gram(layers=("relu1_1",), convention=convention),
    ):
        target = term.target(seen(features), [seen(features)])
        value, gradient = value_and_gradient(term, features, target)
        beside, slope = value_and_gradient(term, moved, target)
        assert beside > 1e-5
        assert value <= 1e-24 * beside
        assert jnp.abs(gradient["relu1_1"]).max() <= 1e-12 * slope["relu1_1"].max()


# Symmetries.


@pytest.mark.usefixtures("x64")
@conventions
def test_homogeneity(convention):
    """Features and targets three times as large: 3² the content loss, 3⁴ the style."""
    one, other = normal(16, 4, 5, 3), normal(17, 4, 5, 3)
    for term, power in (
        (Content(layers=("relu1_1",), convention=convention), 2),
        (Gram(layers=("relu1_1",), convention=convention), 4),
    ):
        small, large = (
            loss_of(term, canvas, term.target(picture, [picture]))
            for canvas, picture in (
                (seen({"relu1_1": scale * one}), seen({"relu1_1": scale * other}))
                for scale in (1, 3)
            )
        )
        np.testing.assert_allclose(large, 3**power * small, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@variations
def test_homogeneity_of_variation(kind):
    term, image = TotalVariation(**kind), normal(18, 4, 5, 3)
    power = {"l1": 1, "squared": 2, "power": 2 * term.exponent}[term.kind]
    small, large = (loss_of(term, View(scale * image, {}), None) for scale in (1, 3))
    np.testing.assert_allclose(large, 3**power * small, rtol=1e-12)
    shifted = loss_of(term, View(image + 7, {}), None)
    np.testing.assert_allclose(shifted, small, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "move",
    [
        lambda f: f[::-1],
        lambda f: f[:, ::-1],
        lambda f: np.roll(f, (1, 2), (0, 1)),
        lambda f: f.swapaxes(0, 1),
        lambda f: f.reshape(20, 3)[np.argsort(normal(0, 20))].reshape(f.shape),
        lambda f: np.tile(f, (1, 3, 1)),
    ],
    ids=["flip", "mirror", "roll", "transpose", "shuffle", "tile"],
)
def test_style_does_not_know_positions(move):
    """Gram matrices are those of a bag of positions; channels they do tell apart."""
    features = normal(19, 4, 5, 3)
    expected = gram(jnp.asarray(features))
    moved = gram(jnp.asarray(move(features)))
    np.testing.assert_allclose(moved, expected, rtol=1e-12)
    others = gram(jnp.asarray(move(features)[..., ::-1]))
    assert np.abs(others - expected).max() > 0.1


def test_content_knows_positions():
    features = normal(20, 4, 5, 3).astype(np.float32)
    term = Content(layers=("relu1_1",))
    target = term.target(seen({"relu1_1": features}), ())
    for moved in (features[::-1], features[:, ::-1], np.roll(features, 1, 0)):
        assert loss_of(term, seen({"relu1_1": moved}), target) > 0.001


# Several styles.


@pytest.fixture
def three_styles():
    return [seen({"relu1_1": normal(seed, 3, 4, 5)}) for seed in (21, 22, 23)]


@pytest.mark.usefixtures("x64")
def test_blend_is_the_weighted_sum_of_losses(three_styles):
    canvas = seen({"relu1_1": normal(24, 4, 4, 5)})
    blend = (0.2, 0.5, 1.5)
    one = Gram(layers=("relu1_1",))
    alone = [
        loss_of(one, canvas, one.target(seen({}), [style])) for style in three_styles
    ]
    term = Gram(layers=("relu1_1",), blend=blend)
    found = loss_of(term, canvas, term.target(seen({}), three_styles))
    np.testing.assert_allclose(found, np.dot(blend, alone), rtol=1e-12)
    equal = loss_of(one, canvas, one.target(seen({}), three_styles))
    np.testing.assert_allclose(equal, np.mean(alone), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_blend_pulls_towards_the_blended_gram(three_styles):
    """Σ wᵢ|G − Aᵢ|² = |G − Σ wᵢAᵢ|² + Σ wᵢ|Aᵢ|² − |Σ wᵢAᵢ|², if the wᵢ sum to 1.

    So the gradients are equal, and the losses differ by what does not move.
    """
    blend = (0.2, 0.5, 0.3)
    canvas = {"relu1_1": normal(25, 4, 4, 5)}
    term = Gram(layers=("relu1_1",), blend=blend, convention="paper")
    target = term.target(seen({}), three_styles)
    ((region,),) = target
    mixed = sum(w * a for w, a in zip(blend, region.statistics, strict=True))
    target_statistic = ((region._replace(statistics=(mixed,)),),)
    one = dataclasses.replace(term, blend=())
    found, gradient = value_and_gradient(term, canvas, target)
    expected, expected_gradient = value_and_gradient(one, canvas, target_statistic)
    np.testing.assert_allclose(
        gradient["relu1_1"], expected_gradient["relu1_1"], rtol=1e-10, atol=1e-13
    )
    grams = zip(blend, region.statistics, strict=True)
    spread = sum(w * (a**2).sum() for w, a in grams)
    spread = (spread - (mixed**2).sum()) / (4 * 5**2)
    assert spread > 1e-3
    np.testing.assert_allclose(found, expected + spread, rtol=1e-12)


def test_wrong_number_of_blends_is_refused(three_styles):
    with pytest.raises(RequestError, match=r"style\.blend has 2 entries for 3 style"):
        Gram(layers=("relu1_1",), blend=(0.5, 0.5)).target(seen({}), three_styles)


def test_no_style_is_refused():
    with pytest.raises(RequestError, match="style needs at least one style image"):
        Gram().target(seen({}), [])


# Leaves and programs.


@pytest.fixture
def task(network):
    """(objective, network, canvas, targets): two terms at shallow layers, and TV."""
    objective = Objective(
        (
            Content(0.5, layers=("conv1_1",)),
            Gram(2.0, layers=("relu1_1",), layer_weights=(3.0,)),
            TotalVariation(0.1),
        )
    )
    content, style, canvas = (
        jnp.asarray(smooth_picture(seed, 9, 11)) for seed in (3, 4, 5)
    )
    targets = objective.targets(network, content, [style])
    return objective, network, canvas, targets


def reweighted(objective, weights):
    return Objective(
        tuple(
            dataclasses.replace(term, weight=weight)
            for term, weight in zip(objective.terms, weights, strict=True)
        )
    )


def test_loss_is_linear_in_the_weights(task):
    """The gradient in the weights is each term's own loss, and vmap maps over them."""
    objective, network, canvas, targets = task

    @jax.jit
    def losses(weights):
        def loss(weights):
            return reweighted(objective, weights)(network, canvas, targets)[0]

        return jax.vmap(loss)(weights), jax.grad(loss)(weights[0])

    weights = jnp.asarray([[0.5, 2.0, 0.1], [0, 0, 0], [1, 0, 0], [7, 0.25, 3]])
    found, gradient = losses(weights)
    view = objective.view(network, canvas)
    alone = [*map(loss_of, objective.terms, [view] * 3, targets)]
    assert min(alone) > 1e-3
    np.testing.assert_allclose(gradient, alone, rtol=1e-5)
    np.testing.assert_allclose(found, weights @ jnp.asarray(alone), rtol=1e-5)


def test_other_numbers_are_the_same_program(task):
    """Weights, layer weights and blends trace once; another layer traces anew."""
    traces = []

    @jax.jit
    def loss(objective, network, canvas, targets):
        traces.append(1)
        return objective(network, canvas, targets)[0]

    objective, *rest = task
    values = set()
    for weight in (1, 2.5, 0):
        style = Gram(2.0, layers=("relu1_1",), layer_weights=(weight,))
        other = Objective(
            (Content(weight, layers=("conv1_1",)), style, TotalVariation())
        )
        values.add(float(loss(other, *rest)))
    assert len(values) == 3
    assert len(traces) == 1
    squared = Objective((*objective.terms[:2], TotalVariation(kind="squared")))
    loss(squared, *rest)
    assert len(traces) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Gram(layers=("relu1_1",)), Gram(layers=("relu2_1",))),
        (Gram(convention="paper"), Gram(convention="gatys")),
        (Gram(), Gram(blend=(0.5, 0.5))),
        (Gram(name="a"), Gram(name="b")),
        (Content(), Content(layers=("relu4_2",), layer_weights=(1.0,))),
        (TotalVariation(kind="l1"), TotalVariation(kind="squared")),
        (TotalVariation(exponent=1.25), TotalVariation(exponent=1.5)),
    ],
)
def test_what_selects_a_program_is_static(one, other):
    assert jax.tree.structure(one) != jax.tree.structure(other)


def test_leaves():
    """Weight, strength, the layers' and the blend: of several values one structure."""
    term = Gram(5, layers=("relu1_1", "relu2_1"), layer_weights=(1, 2), blend=(3, 4))
    assert sorted(jax.tree.leaves(term)) == [1, 1, 2, 3, 4, 5]
    assert all(type(leaf) is float for leaf in jax.tree.leaves(term))
    other = Gram(0, layers=(1, "block2_conv1"), layer_weights=(7, 8), blend=(9, 10))
    assert jax.tree.structure(term) == jax.tree.structure(other)
    assert jax.tree.leaves(TotalVariation(3.0)) == [3.0]


# The objective.


def test_parts_sum_to_the_loss(task):
    objective, network, canvas, targets = task
    loss, parts = objective(network, canvas, targets)
    assert list(parts) == ["content/conv1_1", "style/relu1_1", "total_variation"]
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)
    view = objective.view(network, canvas)
    content, style, variation = objective.terms
    expected = [
        0.5 * loss_of(content, view, targets[0]),
        6 * loss_of(dataclasses.replace(style, layer_weights=()), view, targets[1]),
        0.1 * loss_of(variation, view, None),
    ]
    np.testing.assert_allclose(list(parts.values()), expected, rtol=1e-5)


def test_layers_are_each_wanted_once():
    objective = Objective(
        (
            Gram(layers=("relu1_1", "relu2_1")),
            Content(layers=("block2_conv1",)),
            TotalVariation(),
            Content(layers=("relu1_2",)),
        )
    )
    assert objective.layers == ("relu1_1", "relu2_1", "relu1_2")


def test_terms_of_one_name_are_numbered(network):
    """`style_2/…` is the second style's, and no summand is lost to another's name."""
    terms = (
        Gram(1.0, layers=("relu1_1",)),
        Content(layers=("relu1_1",)),
        Gram(10.0, layers=("relu1_1",)),
        Gram(100.0, layers=("relu1_1",), name="style_2"),
    )
    objective = Objective(terms[:3])
    assert objective.names == ("style", "content", "style_2")
    assert len(set(Objective(terms).names)) == 4
    canvas, style = (jnp.asarray(smooth_picture(seed, 6, 7)) for seed in (6, 7))
    targets = objective.targets(network, canvas, [style])
    loss, parts = objective(network, canvas, targets)
    assert list(parts) == ["style/relu1_1", "content/relu1_1", "style_2/relu1_1"]
    np.testing.assert_allclose(
        parts["style_2/relu1_1"], 10 * parts["style/relu1_1"], rtol=1e-5
    )
    most = Objective(terms)(network, canvas, (*targets, targets[0]))[0]
    np.testing.assert_allclose(most, 111 / 11 * loss, rtol=1e-5)


@nst_jax.term
class Lightness(nst_jax.Term):
    """A term whose name is within the name of its part."""

    name: str = nst_jax.static(default="a")

    def target(self, content, styles):
        return ()

    def parts(self, view, target):
        return {"mean": view.image.mean()}


def test_a_part_is_numbered_by_whole_names(network):
    """A second term's own parts only: "mean" has an a in it, and is not "mea_2n"."""
    canvas = jnp.asarray(smooth_picture(6, 6, 7))
    objective = Objective((Lightness(), Lightness()))
    assert objective.names == ("a", "a_2")
    with pytest.raises(
        nst_jax.RequestError, match="two terms have a part named 'mean'"
    ):
        objective(network, canvas, [(), ()])


@nst_jax.term
class MeanColour(nst_jax.Term):
    """The example of nst_jax/losses/base.py."""

    weight: float = 1.0
    name: str = nst_jax.static(default="mean_colour")

    def target(self, content, styles):
        return styles[0].image.mean((0, 1))

    def __call__(self, view, target):
        return ((view.image.mean((0, 1)) - target) ** 2).sum()


def test_a_term_of_ones_own(network):
    """In an objective, under jit, vmap over pictures and weights, and grad."""
    content, style = (jnp.asarray(smooth_picture(seed, 8, 9)) for seed in (8, 9))
    canvases = jnp.stack([content, style, content[::-1] * 0.5])
    objective = Objective((MeanColour(4.0), Content(layers=("relu1_1",))))
    targets = objective.targets(network, content, [style])
    mean = np.asarray(style).mean((0, 1))

    @jax.jit
    @jax.vmap
    def run(canvas, weight):
        weighted = reweighted(objective, (weight, 0.0))
        (_, parts), gradient = jax.value_and_grad(
            lambda canvas: weighted(network, canvas, targets), has_aux=True
        )(canvas)
        return parts, gradient

    weights = np.float32([4, 5, 6])
    parts, gradients = run(canvases, weights)
    assert set(parts) == {"mean_colour", "content/relu1_1"}
    distance = np.asarray(canvases).mean((1, 2)) - mean
    expected = weights * (distance**2).sum(-1)
    np.testing.assert_allclose(parts["mean_colour"], expected, rtol=1e-4, atol=1e-12)
    slope = (2 * weights[:, None] * distance / (8 * 9))[:, None, None]
    expected = np.broadcast_to(slope, gradients.shape)
    np.testing.assert_allclose(gradients, expected, rtol=1e-4, atol=1e-8)


@nst_jax.term
class MeanStyle(StyleTerm):
    """A statistic of one's own: the mean feature."""

    name: str = nst_jax.static(default="mean")

    def statistic(self, features):
        return features.mean((0, 1))

    def distance(self, statistic, target):
        return ((statistic - target) ** 2).sum()


def test_a_statistic_of_ones_own(three_styles):
    """Blend and layers' weights come with `StyleTerm`."""
    term = MeanStyle(layers=("relu1_1",), layer_weights=(2.0,), blend=(1.0, 2.0, 0.0))
    canvas = normal(26, 4, 4, 5)
    parts = term.parts(seen({"relu1_1": canvas}), term.target(seen({}), three_styles))
    means = [
        np.asarray(style.features["relu1_1"]).mean((0, 1)) for style in three_styles
    ]
    first, second, _ = (((canvas.mean((0, 1)) - mean) ** 2).sum() for mean in means)
    assert list(parts) == ["mean/relu1_1"]
    np.testing.assert_allclose(
        parts["mean/relu1_1"], 2 * (first + 2 * second), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (lambda: Term()(None, None), "Term has no __call__"),
        (
            lambda: LayerTerm(layers=("relu1_1",))(View(None, {"relu1_1": 0}), (0,)),
            "LayerTerm has no layer_loss",
        ),
        (
            lambda: StyleTerm(layers=("relu1_1",)).target(
                seen({}), [View(None, {"relu1_1": 0})]
            ),
            "StyleTerm has no statistic",
        ),
        (lambda: StyleTerm().distance(0, 0), "StyleTerm has no distance"),
    ],
)
def test_what_a_subclass_has_to_write(call, missing):
    with pytest.raises(NotImplementedError, match=missing):
        call()


# Bad values.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Content(-1.0), r"content\.weight must be at least 0 .*, got -1"),
        (lambda: Gram(float("nan")), r"style\.weight must be .*, got nan"),
        (lambda: TotalVariation(float("inf")), r"total_variation\.weight .* got inf"),
        (
            lambda: Gram(layers=("relu1_1", "relu2_1"), layer_weights=(1.0, -2.0)),
            r"style\.layer_weights must be at least 0 .*, got -2",
        ),
        (
            lambda: Gram(layers=("relu1_1", "relu2_1"), layer_weights=(1.0,)),
            r"style\.layer_weights has 1 entries for the 2 layers",
        ),
        (lambda: Gram(blend=(0.5, float("nan"))), r"style\.blend must be .*, got nan"),
        (lambda: Gram(layers=()), r"style\.layers is empty; name at least one"),
        (lambda: Content(layers=()), r"content\.layers is empty; name at least one"),
        (lambda: Content(layers=("relu4_9",)), "unknown layer 'relu4_9'; did you mean"),
        (
            lambda: Gram(layers=("relu4_2", "block4_conv2")),
            "layer 'relu4_2' is named twice",
        ),
        (
            lambda: Content(convention="pastich"),
            "convention must be .*'paper_normalised'.*'pastich'; did you mean",
        ),
        (lambda: Gram(convention="Gatys"), "'Gatys'; did you mean 'gatys'"),
        (
            lambda: TotalVariation(kind="l2"),
            r"total_variation\.kind must be one of \('l1', .*, got 'l2'",
        ),
        (
            lambda: TotalVariation(exponent=0.5),
            r"total_variation\.exponent must be at least 1 and finite, got 0\.5",
        ),
        (lambda: TotalVariation(exponent=float("nan")), r"exponent must .* got nan"),
    ],
)
def test_bad_value_is_one_sentence(make, message):
    with pytest.raises(RequestError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


# Half precision and flat pictures.


def test_gram_of_float16_does_not_overflow():
    """Features of 300: their squares, 90 000, are beyond float16's 65 504."""
    features = jnp.full((5, 8, 3), 300, jnp.float16)
    naive = jnp.einsum("hwc,hwd->cd", features, features) / 40
    assert jnp.isinf(naive).all()
    found = gram(features)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.full((3, 3), 90_000))


def test_gram_of_bfloat16_does_not_saturate():
    """1000 ones: a sum in bfloat16 stays at 256, as 256 + 1 rounds to 256 there."""
    ones = jnp.ones((25, 40, 2), jnp.bfloat16)
    total = functools.reduce(operator.add, np.asarray(ones)[..., 0].ravel())
    assert total == 256
    np.testing.assert_array_equal(gram(ones), np.ones((2, 2)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_statistics_of_half_precision_are_in_float32(dtype):
    """They are those of the rounded features, to seven digits; bfloat16 has two."""
    features, style = (jnp.asarray(normal(s, 30, 40, 4), dtype) for s in (27, 28))
    exact, exact_style = (np.asarray(x, np.float64) for x in (features, style))
    f = as_printed(exact)
    np.testing.assert_allclose(gram(features), f @ f.T / 1200, rtol=1e-4, atol=1e-6)
    term = Gram(layers=("relu1_1",), convention="paper")
    target = term.target(seen({}), [seen({"relu1_1": style})])
    found = loss_of(term, seen({"relu1_1": features}), target)
    assert found.dtype == jnp.float32
    expected = printed_style("paper", exact, exact_style)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_content_of_float16_does_not_overflow():
    """Σ (F − P)² of 400 · 30² is beyond float16; its summands are not."""
    features = {"relu1_1": jnp.full((10, 10, 4), 30, jnp.float16)}
    term = Content(layers=("relu1_1",), convention="paper")
    target = (jnp.zeros((10, 10, 4), jnp.float16),)
    value, gradient = value_and_gradient(term, features, target)
    assert value.dtype == jnp.float32
    assert value == 400 * 30**2 / 2
    np.testing.assert_array_equal(gradient["relu1_1"], np.full((10, 10, 4), 30))


def test_zero_features_have_a_gradient():
    """Of zero for the Gram matrix, quadratic in them; −2kP for the content."""
    features = {"relu1_1": jnp.zeros((4, 5, 3))}
    other = normal(29, 4, 5, 3).astype(np.float32)
    style = Gram(layers=("relu1_1",))
    target = style.target(seen({}), [seen({"relu1_1": other})])
    value, gradient = value_and_gradient(style, features, target)
    assert 0 < value < 1
    np.testing.assert_array_equal(gradient["relu1_1"], np.zeros((4, 5, 3)))
    content = Content(layers=("relu1_1",), convention="paper")
    value, gradient = value_and_gradient(content, features, (jnp.asarray(other),))
    np.testing.assert_allclose(gradient["relu1_1"], -other, rtol=1e-6)


def test_flat_and_odd_pictures_have_finite_gradients(network):
    """17×23 px, black, white, grey and saturated, through all of the default layers."""
    objective = Objective(
        (
            Content(),
            Gram(),
            TotalVariation(),
            TotalVariation(kind="power", exponent=1.0),
        )
    )
    black, white, grey, red = (
        jnp.broadcast_to(jnp.asarray(colour, jnp.float32), (23, 17, 3))
        for colour in (0, 1, 0.5, [[[1, 0, 0]]])
    )
    view = jax.jit(objective.view)
    views = view(network, grey), [view(network, red)]
    targets = tuple(term.target(*views) for term in objective.terms)

    @jax.jit
    def run(network, canvas, targets):
        return jax.value_and_grad(
            lambda canvas: objective(network, canvas, targets), has_aux=True
        )(canvas)

    for canvas in (black, white, grey, red, jnp.asarray(smooth_picture(10, 23, 17))):
        (loss, parts), gradient = run(network, canvas, targets)
        assert len(parts) == 8
        assert jnp.isfinite(loss)
        assert jnp.isfinite(gradient).all()
        assert jnp.abs(gradient).max() > 0
    (_, parts), _ = run(network, grey, targets)
    assert parts["content/relu4_2"] <= 1e-8 * parts["style/relu4_1"]


def test_a_term_is_a_tree_like_any_other():
    """Its leaves may be axes, negated or shapes: no check stands in the way."""
    gram = nst_jax.Gram(weight=2.0, layer_weights=(1.0,) * 5)
    axes = jax.tree.map(lambda _: None, gram).__class__
    assert axes is nst_jax.Gram
    weights = jnp.asarray([1.0, 3.0])
    several = dataclasses.replace(gram, weight=weights)
    along = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, several)
    got = jax.vmap(lambda term: term.weight * 2, in_axes=(along,))(several)
    np.testing.assert_array_equal(got, 2 * weights)
    assert jax.tree.map(lambda leaf: -leaf, gram).weight == -2.0


def test_parts_of_one_name_are_refused(network):
    """A summand that another would overwrite is not lost in silence."""

    @nst_jax.term
    class Rude(nst_jax.Term):
        def parts(self, view, target):
            return {"part": view.image.sum()}

    objective = nst_jax.Objective((Rude(name="one"), Rude(name="two")))
    with pytest.raises(nst_jax.RequestError, match="two terms have a part named"):
        objective(network, jnp.zeros((4, 4, 3)), (None, None))
