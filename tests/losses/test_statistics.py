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
from nst_jax.losses.scaling import normalised_gradient, self_scaled

#: Of a picture of 17×23 px: at the first it has as many positions, at the second one.
LAYERS = ("relu1_1", "relu5_1")
#: The terms that have no test file of their own, in the forms that differ.
TERMS = {
    "content scaled": Content(layers=LAYERS, normalise="self_scaled", strength=0.5),
    "gram shifted": Gram(layers=LAYERS, activation_shift=-1.0),
    "mean_std": MeanStd(layers=LAYERS),
    "covariance": Covariance(layers=LAYERS, mean_weight=2.0),
    "wasserstein": Wasserstein(layers=LAYERS),
    "wasserstein iterated": Wasserstein(layers=LAYERS, method="newton_schulz"),
    "histogram": Histogram(layers=LAYERS),
    "sliced": SlicedWasserstein(layers=LAYERS, directions=4),
    "sliced anew": SlicedWasserstein(layers=LAYERS, anew=True),
    "neighbours": ShiftedGram(layers=LAYERS, shifts=(1, 3)),
    "cross": CrossLayerGram(pairs=(LAYERS,)),
    "relaxed_emd": RelaxedEMD(layers=LAYERS, samples=9),
    "self_similarity": SelfSimilarity(layers=LAYERS, samples=9),
}
terms = pytest.mark.parametrize("name", TERMS)
#: Those whose loss has a kink at 0: there, what rounding leaves has a sign.
KINKED = ("relaxed_emd", "self_similarity")
#: Those that a shuffled picture, with all its positions elsewhere, is the same for.
POSITION_FREE = [
    *("gram shifted", "mean_std", "covariance", "wasserstein", "wasserstein iterated"),
    *("histogram", "sliced", "sliced anew"),
]

#: Compiling is what takes time here, and these programs run once.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def noise(seed):
    """A picture that is noise: (image [17, 23, 3], features), float64."""
    features = {
        "relu1_1": normal(seed + 100, 17, 23, 3),
        "relu5_1": normal(seed + 200, 1, 1, 5),
    }
    return normal(seed, 17, 23, 3) / 9 + 0.5, features


def rounded(picture):
    """The same with no more digits than bfloat16 has."""
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(np.float64), picture)


def full(value):
    """The same of one value."""
    return jax.tree.map(lambda x: np.full_like(x, value), noise(0))


def shuffled(picture):
    order = np.argsort(normal(21, 17 * 23))
    image, features = picture
    fine = features["relu1_1"].reshape(-1, 3)[order].reshape(17, 23, 3)
    return image, {**features, "relu1_1": fine}


@jax.value_and_grad
def between(canvas, term, content, style):
    """The loss of a canvas (image, features), and its gradient."""
    return term(View(*canvas), term.target(View(*content), [View(*style)]))


one = quick(lambda term, *pictures: between(pictures[0], term, *pictures[1:]))
many = quick(
    jax.vmap(
        lambda term, *pictures: between(pictures[0], term, *pictures[1:]),
        in_axes=(None, 0, 0, 0),
    )
)

BLACK, FLAT = full(0.0), full(0.7)
CANVAS, CONTENT, STYLE, BESIDE = (noise(seed) for seed in range(4))
DIRECTIONS = [jax.tree.map(lambda x: x - x.mean(), noise(seed)) for seed in (5, 6, 7)]
STEP = 1e-7


def ahead(direction, step):
    return jax.tree.map(lambda x, d: x + step * d, CANVAS, direction)


#: (canvas, content, style): a batch for `many`.
BATCH = {
    "plain": (CANVAS, CONTENT, STYLE),
    "rounded": (rounded(CANVAS), rounded(CONTENT), rounded(STYLE)),
    "own": (CANVAS, CANVAS, CANVAS),
    "beside": (BESIDE, CANVAS, CANVAS),
    "shuffled": (shuffled(CANVAS), CONTENT, shuffled(STYLE)),
    "black": (BLACK, CONTENT, STYLE),
    "flat": (FLAT, CONTENT, STYLE),
    "to black": (CANVAS, BLACK, BLACK),
    "to flat": (CANVAS, FLAT, FLAT),
    "black to black": (BLACK, BLACK, BLACK),
    "flat to flat": (FLAT, FLAT, FLAT),
    **{
        f"{i} ahead": (ahead(d, STEP), CONTENT, STYLE) for i, d in enumerate(DIRECTIONS)
    },
    **{
        f"{i} behind": (ahead(d, -STEP), CONTENT, STYLE)
        for i, d in enumerate(DIRECTIONS)
    },
}


@functools.cache
def found(name):
    """Of each of the batch: (loss, gradient) in float64, all computed together."""
    with jax.enable_x64(True):
        pictures = jax.tree.map(lambda *x: np.stack(x), *BATCH.values())
        result = jax.tree.map(np.asarray, many(TERMS[name], *pictures))
    return {
        case: jax.tree.map(lambda x, i=i: x[i], result) for i, case in enumerate(BATCH)
    }


@terms
def test_gradient_is_the_difference(name):
    """Central differences in float64 along three random directions."""
    value, gradient = found(name)["plain"]
    assert value > 1e-6
    for i, direction in enumerate(DIRECTIONS):
        difference = found(name)[f"{i} ahead"][0] - found(name)[f"{i} behind"][0]
        slope = sum(map(np.vdot, *map(jax.tree.leaves, (gradient, direction))))
        np.testing.assert_allclose(slope, difference / (2 * STEP), rtol=1e-5)


@terms
def test_own_target_is_a_minimum_of_zero(name):
    """Loss and gradient vanish where the canvas is the content and the style."""
    (value, gradient), (beside, slope) = (found(name)[x] for x in ("own", "beside"))
    assert beside > 1e-6
    assert abs(value) <= 1e-10 * beside
    if name not in KINKED:
        sizes = [
            max(abs(x).max() for x in jax.tree.leaves(y)) for y in (gradient, slope)
        ]
        assert sizes[0] <= 1e-6 * sizes[1]


@pytest.mark.parametrize("name", POSITION_FREE)
def test_positions_are_not_told_apart(name):
    plain, elsewhere = (found(name)[x][0] for x in ("plain", "shuffled"))
    np.testing.assert_allclose(elsewhere, plain, rtol=1e-9)


@pytest.mark.parametrize("name", ["content scaled", "neighbours", "self_similarity"])
def test_positions_are_told_apart(name):
    plain, elsewhere = (found(name)[x][0] for x in ("plain", "shuffled"))
    assert abs(elsewhere - plain) > 1e-3 * plain


@terms
def test_dull_pictures_have_no_nan(name):
    """Black and flat canvases and styles; a flat one is at no distance from itself."""
    for value, gradient in found(name).values():
        assert np.isfinite(value)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    assert abs(found(name)["flat to flat"][0]) <= 1e-10 * found(name)["flat"][0]


@terms
@pytest.mark.usefixtures("x64")
def test_one_is_one_of_many(name):
    """Alone, and mapped with all the others."""
    value, gradient = one(TERMS[name], *BATCH["plain"])
    expected, slope = found(name)["plain"]
    np.testing.assert_allclose(value, expected, rtol=1e-11)
    for a, b in zip(*map(jax.tree.leaves, (gradient, slope)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * abs(b).max())


@terms
def test_one_in_half_precision_is_one_of_many_in_double(name):
    """What is found of bfloat16 features is accumulated in float32, dull or not."""
    term = TERMS[name]
    for case in ("rounded", "black to black", "flat to flat", "flat"):
        halved = [
            (
                jnp.asarray(image, jnp.float32),
                {layer: jnp.asarray(f, jnp.bfloat16) for layer, f in features.items()},
            )
            for image, features in BATCH[case]
        ]
        value, gradient = one(term, *halved)
        assert value.dtype == jnp.float32
        assert jnp.isfinite(value)
        assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(gradient))
        if case == "rounded":
            expected, slope = found(name)[case]
            np.testing.assert_allclose(value, expected, rtol=1e-4)
            for a, b in zip(*map(jax.tree.leaves, (gradient, slope)), strict=True):
                np.testing.assert_allclose(
                    a.astype(jnp.float32), b, rtol=0.02, atol=0.01 * abs(b).max()
                )


# Regions.

REGIONAL = [
    *("gram shifted", "mean_std", "covariance", "wasserstein", "wasserstein iterated"),
    *("histogram", "sliced", "sliced anew", "neighbours"),
]


def alone(features, mask=None):
    """A view of one layer, with a mask as its only region."""
    guide = {} if mask is None else {"relu1_1": jnp.asarray(mask)[None]}
    return View(None, {"relu1_1": jnp.asarray(features)}, guide)


@quick
def masked_and_cut(term, canvas, style, masks):
    """(loss, gradient) of masked pictures, and the loss of what is cut out of them."""

    def loss(features):
        target = term.target(alone(features, masks[0]), [alone(style, masks[1])])
        return term(alone(features), target)

    target_statistic = term.target(alone(0), [alone(style[2:6, 3:])])
    return jax.value_and_grad(loss)(canvas), term(
        alone(canvas[1:7, :4]), target_statistic
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", REGIONAL)
def test_a_region_counts_as_if_it_were_cut_out(name):
    """By its share of the canvas; where it is empty, it has no loss and no NaN."""
    term = dataclasses.replace(TERMS[name], layers=LAYERS[:1])
    pictures = normal(17, 8, 6, 3), normal(18, 7, 9, 3)
    masks = np.zeros((8, 6)), np.zeros((7, 9))
    masks[0][1:7, :4], masks[1][2:6, 3:] = 1, 1
    (value, gradient), cut = masked_and_cut(term, *pictures, masks)
    np.testing.assert_allclose(value, cut * masks[0].mean(), rtol=1e-9)
    gradient = np.asarray(gradient)
    assert not gradient[masks[0] == 0].any()
    assert gradient[masks[0] > 0].any()
    for empty in ((0 * masks[0], masks[1]), (masks[0], 0 * masks[1])):
        (value, gradient), _ = masked_and_cut(term, *pictures, empty)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


# Gradients of one size.


@quick
def _evaluate(term, features, target):
    return jax.value_and_grad(lambda f: term(View(None, f), target))(features)


@pytest.fixture
def pair(x64):
    """The features of a canvas, and a target that all Gram matrices of them share."""
    term = weighted("")
    return noise(24)[1], jax.jit(term.target)(View(None, {}), [View(*noise(25))])


def weighted(normalise, strength=1.0, convention="paper"):
    return Gram(
        layers=LAYERS,
        layer_weights=(3.0, 0.5),
        convention=convention,
        normalise=normalise,
        strength=strength,
    )


def norms(gradient):
    """The L1 norms of a gradient in each layer's features."""
    return [abs(gradient[layer]).sum() for layer in LAYERS]


def test_a_normalised_gradient_has_the_norm_of_its_weight(pair):
    """Of the weight, not of its square as where the loss is divided by itself."""
    value, gradient = _evaluate(weighted(""), *pair)
    found, direction = _evaluate(weighted("gradient"), *pair)
    np.testing.assert_allclose(found, value, rtol=1e-12)
    for layer, weight in zip(LAYERS, (3, 0.5), strict=True):
        expected = weight * gradient[layer] / abs(gradient[layer]).sum()
        np.testing.assert_allclose(direction[layer], expected, rtol=1e-5)
    other = _evaluate(weighted("gradient", convention="gatys"), *pair)[1]
    np.testing.assert_allclose(norms(other), [3, 0.5], rtol=1e-5)


#: Of how many layers there is a gradient; no neighbour fits into one position.
NORMALISED = {"gram shifted": 2, "mean_std": 2, "histogram": 2, "sliced": 2}
NORMALISED |= {"neighbours": 1}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [*NORMALISED, "cross"])
def test_every_statistic_has_normalised_gradients(name):
    """Each layer's has a norm of 1; where there is none, there is none."""
    term = dataclasses.replace(TERMS[name], normalise="gradient")
    (_, gradient), (_, own) = (
        one(term, *BATCH[case]) for case in ("plain", "flat to flat")
    )
    norm = sum(abs(x).sum() for x in jax.tree.leaves(gradient[1]))
    if name in NORMALISED:
        np.testing.assert_allclose(norm, NORMALISED[name], rtol=1e-5)
    else:  # Of both layers' features, the coarse ones enlarged.
        assert 0 < norm <= 1
    for x in jax.tree.leaves(own):
        np.testing.assert_allclose(x, 0, atol=1e-6)


def test_what_a_normalised_loss_is_multiplied_by_scales_its_gradient():
    """And what is normalised may be several arrays, with a norm over all."""
    x = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray([[3.0]])}

    def loss(x):
        return 10 * normalised_gradient(lambda x: (x["a"] ** 2).sum() + x["b"].sum(), x)

    gradient = jax.grad(loss)(x)
    np.testing.assert_allclose(gradient["a"], 10 * np.array([2, -4]) / 7, rtol=1e-6)
    np.testing.assert_allclose(gradient["b"], [[10 / 7]], rtol=1e-6)


def test_strength_goes_from_plain_to_normalised(pair):
    """In a straight line in the logarithms of the norms, and at 0 all are plain."""
    at = [
        np.log(norms(_evaluate(weighted("gradient", strength), *pair)[1]))
        for strength in (0.0, 0.5, 1.0)
    ]
    np.testing.assert_allclose(at[1], (at[0] + at[2]) / 2, atol=1e-6)
    plain, gradient = _evaluate(weighted(""), *pair)
    np.testing.assert_allclose(at[0], np.log(norms(gradient)), rtol=1e-9)
    found = _evaluate(weighted("self_scaled", 0.0), *pair)
    np.testing.assert_allclose(found[0], plain, rtol=1e-9)
    for convention in ("paper", "gatys"):  # At 1 no convention's factor is left.
        term = weighted("self_scaled", convention=convention)
        found = _evaluate(term, *pair)[0]
        goals = [regions[0].statistics[0] for regions in pair[1]]
        differences = [
            term.statistic(pair[0][x]) - y for x, y in zip(LAYERS, goals, strict=True)
        ]
        expected = [(d**2).sum() / abs(d).sum() for d in differences]
        np.testing.assert_allclose(found, np.dot([3, 0.5], expected), rtol=1e-6)


#: Terms whose loss can be divided by the energy of its target.
RELATIVE = {
    "content": Content(layers=LAYERS, normalise="target", convention="gatys"),
    "gram": Gram(layers=LAYERS, normalise="target", convention="gatys"),
    "mean_std": MeanStd(layers=LAYERS, normalise="target"),
    "covariance": Covariance(layers=LAYERS, mean_weight=2.0, normalise="target"),
    "neighbours": ShiftedGram(layers=LAYERS, normalise="target"),
    "cross": CrossLayerGram(pairs=(LAYERS,), normalise="target"),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", RELATIVE)
def test_a_relative_loss_does_not_depend_on_the_unit_of_features(name):
    """It is 1 for each layer (and each moment) of a canvas without any response."""
    term = RELATIVE[name]
    scaled = [
        (image, {"relu1_1": 100 * f["relu1_1"], "relu5_1": 0.1 * f["relu5_1"]})
        for image, f in BATCH["plain"]
    ]
    value, _ = one(term, *BATCH["plain"])
    np.testing.assert_allclose(one(term, *scaled)[0], value, rtol=1e-5)
    silent = jax.tree.map(np.zeros_like, CANVAS)
    value, _ = one(term, silent, CONTENT, STYLE)
    # relu5_1 has one position: no covariance, and no neighbour.
    expected = {"covariance": 1 + 2 + 2, "neighbours": 1, "cross": 1}
    np.testing.assert_allclose(value, expected.get(name, 2), rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_a_relative_loss_is_the_loss_as_a_share_of_the_targets_energy(pair):
    canvas, target = pair
    expected = 0
    for layer, weight, regions in zip(LAYERS, (3, 0.5), target, strict=True):
        f = np.asarray(canvas[layer]).reshape(-1, canvas[layer].shape[-1])
        style_gram = np.asarray(regions[0].statistics[0])
        error = ((f.T @ f / len(f) - style_gram) ** 2).sum()
        expected += weight * error / (style_gram**2).sum()
    value, _ = _evaluate(weighted("target"), canvas, target)
    np.testing.assert_allclose(value, expected, rtol=1e-7)
    plain, without = (
        _evaluate(weighted(*options), canvas, target)[0]
        for options in (("",), ("target", 0.0))
    )
    np.testing.assert_allclose(without, plain, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_self_scaled_loss_is_of_degree_one():
    """Its gradient has an L1 norm of 1 where all differences are equal, 0 where 0."""
    d = normal(28, 7, 3)
    expected = (d**2).sum() / abs(d).sum()
    np.testing.assert_allclose(self_scaled(d), expected, rtol=1e-7)
    np.testing.assert_allclose(self_scaled(5 * d), 5 * expected, rtol=1e-7)
    even = jnp.sign(d) * 0.3
    slope = jax.grad(self_scaled)
    np.testing.assert_allclose(abs(slope(even)).sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(slope(0 * even), 0)
