"""Each statistic against its own formula: NumPy, SciPy, loops, closed forms."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from random_views import random_view

import nst_jax
from nst_jax import RequestError
from nst_jax.core.keys import seed_key
from nst_jax.losses import (
    Covariance,
    CrossLayerGram,
    Gram,
    Histogram,
    MeanStd,
    RelaxedEMD,
    ShiftedGram,
    SlicedWasserstein,
    View,
    Wasserstein,
)
from nst_jax.losses.quantiles import (
    WeightedSamples,
    quantiles,
    quantiles_at,
    transport_cost,
)
from nst_jax.losses.sliced import random_directions
from nst_jax.losses.statistics import gram
from nst_jax.losses.wasserstein import bures, bures_by_iteration

LAYER = ("relu1_1",)


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def seen(features, step=0):
    return View(None, {"relu1_1": jnp.asarray(features)}, step=step)


@jax.jit
def between(term, canvas, style, step=0):
    """The unweighted loss of features [h, w, c] whose style has features [h, w, c]."""
    return term(seen(canvas, step), term.target(seen(canvas), [seen(style)]))


# Gram matrices.


def test_derivatives_of_the_gram_matrix_are_those_of_the_product():
    """Forward, backward and one over the other, for a cotangent without symmetry."""
    f, tangent = (jnp.asarray(normal(i, 5, 4, 3)) for i in (0, 1))
    cotangent = jnp.asarray(normal(2, 3, 3))

    def derivatives(gram):
        def gradient(f):
            loss = lambda f: jnp.vdot(cotangent, jnp.tanh(gram(f)))  # noqa: E731
            return jax.grad(loss)(f)

        slope = jax.jvp(gram, (f,), (tangent,))[1]
        return gram(f), slope, gradient(f), jax.jvp(gradient, (f,), (tangent,))[1]

    expected = derivatives(lambda f: jnp.einsum("hwc,hwd->cd", f, f) / 20)
    for ours, theirs in zip(derivatives(gram), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_gradient_of_the_gram_matrix_is_one_product_in_the_features_dtype():
    f = jnp.asarray(normal(0, 5, 4, 3), jnp.bfloat16)
    loss = lambda f: (gram(f) ** 2).sum()  # noqa: E731
    text = jax.jit(jax.grad(loss)).lower(f).as_text()
    products = re.findall(r"dot_general.*: \((.*)\) -> tensor<\w*x(\w+)>", text)
    assert [result for _, result in products] == ["f32", "bf16"]
    assert all(operands.count("bf16") == 2 for operands, _ in products)


# Moments.


def test_moments_are_compared_as_defined():
    canvas, style = normal(0, 5, 4, 3), normal(1, 4, 6, 3) + 2
    f, a = canvas.reshape(-1, 3), style.reshape(-1, 3)
    means = ((f.mean(0) - a.mean(0)) ** 2).sum()
    deviations = ((f.std(0) - a.std(0)) ** 2).sum()
    found = between(MeanStd(layers=LAYER), canvas, style)
    np.testing.assert_allclose(found, (means + deviations) / 3, rtol=1e-12)
    spread = np.cov(f.T, bias=True) - np.cov(a.T, bias=True)
    term = Covariance(layers=LAYER, mean_weight=2.0, convention="paper")
    expected = ((spread**2).sum() + 2 * means) / (4 * 3**2)
    np.testing.assert_allclose(between(term, canvas, style), expected, rtol=1e-12)


def test_covariance_does_not_see_an_offset_and_gram_does():
    canvas, style = normal(2, 5, 4, 3), normal(3, 4, 6, 3)
    for term, same in ((Covariance(layers=LAYER), True), (Gram(layers=LAYER), False)):
        one, other = (between(term, x, style) for x in (canvas, canvas + 100))
        assert (abs(other - one) < 1e-8 * one) == same


def test_a_covariance_far_from_zero_keeps_its_digits():
    """In float32, of features of 1000 ± 1: E[f²] − μ² would have no digit right."""
    f = normal(4, 20, 30, 2)
    spread = (
        Covariance(layers=LAYER).statistic(jnp.asarray(f + 1000, jnp.float32)).spread
    )
    np.testing.assert_allclose(spread, np.cov(f.reshape(-1, 2).T, bias=True), atol=1e-3)


def test_a_shifted_gram_is_of_shifted_features():
    canvas, style = normal(5, 5, 4, 3), normal(6, 4, 6, 3)
    found = between(Gram(layers=LAYER, activation_shift=-1.0), canvas, style)
    expected = between(Gram(layers=LAYER), canvas - 1, style - 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Wasserstein.


def printed_wasserstein(canvas, style, ridge):
    f, a = (x.reshape(-1, x.shape[-1]) for x in (canvas, style))
    one = ridge * np.eye(f.shape[1])
    s, t = (np.cov(x.T, bias=True) + one for x in (f, a))
    root = scipy.linalg.sqrtm(t)
    bures = np.trace(s + t - 2 * scipy.linalg.sqrtm(root @ s @ root))
    return ((f.mean(0) - a.mean(0)) ** 2).mean() + bures.real / len(one)


@pytest.mark.parametrize("method", ["svd", "newton_schulz"])
def test_wasserstein_is_that_of_gaussians(method):
    """By SciPy's matrix root, of correlated channels; a rotation of all is nothing."""
    mix, turn = normal(7, 4, 4), scipy.linalg.qr(normal(8, 4, 4))[0]
    canvas, style = normal(9, 6, 7, 4) @ mix, normal(10, 8, 5, 4) + 0.3
    term = Wasserstein(layers=LAYER, method=method, steps=25, ridge=1e-2)
    found = between(term, canvas, style)
    np.testing.assert_allclose(
        found, printed_wasserstein(canvas, style, 1e-2), rtol=1e-9
    )
    turned = between(term, canvas @ turn, style @ turn)
    np.testing.assert_allclose(turned, found, rtol=1e-9)


def test_wasserstein_of_what_commutes():
    """Scaled by 3 and moved: Σ(σ − σ*)² + |Δ|², which is how far each feature goes."""
    style = normal(11, 6, 7, 3)
    middle = style.mean((0, 1))
    canvas = middle + 3 * (style - middle) + 0.5
    term = Wasserstein(layers=LAYER, ridge=0.0)
    expected = ((canvas - style) ** 2).mean()
    np.testing.assert_allclose(between(term, canvas, style), expected, rtol=1e-9)


def roots_of(values, basis):
    """X with XᵀX of these eigenvalues, and its square root."""
    x = np.diag(np.sqrt(values)) @ basis.T
    return x, scipy.linalg.sqrtm(x.T @ x)


@pytest.mark.parametrize("method", ["svd", "newton_schulz"])
def test_gradient_of_bures_is_the_way_to_the_style(method):
    """2 X (1 − T), T the linear map of the transport, also for equal eigenvalues."""
    distance = (
        bures if method == "svd" else functools.partial(bures_by_iteration, steps=25)
    )
    slope = jax.jit(jax.grad(distance))
    wanted = scipy.linalg.qr(normal(13, 4, 4))[0] * [1.0, 2.0, 0.4, 0.4]
    for values in ([3, 1, 0.5, 0.2], [2, 2, 2, 0.5], [1, 1, 1, 1]):
        x, root = roots_of(values, scipy.linalg.qr(normal(12, 4, 4))[0])
        inverse = np.linalg.inv(root)
        between = scipy.linalg.sqrtm(root @ wanted.T @ wanted @ root)
        expected = 2 * x @ (np.eye(4) - inverse @ between @ inverse)
        np.testing.assert_allclose(slope(x, wanted), expected, rtol=1e-7, atol=1e-8)


@pytest.fixture(scope="module")
def steep():
    """A canvas and a style of 40 channels whose variances fall by six decades."""
    fall = (
        np.diag(10.0 ** np.linspace(1, -2, 40)) @ scipy.linalg.qr(normal(14, 40, 40))[0]
    )
    return [normal(seed, 5, 6, 40) @ fall for seed in (15, 16)]


@pytest.mark.parametrize("method", ["svd", "newton_schulz"])
def test_gradients_are_differences_where_the_spectrum_is_steep(method, steep):
    """Also of steps that have not brought the small eigenvalues up."""
    canvas, style = steep
    term = Wasserstein(layers=LAYER, method=method)
    evaluate = jax.jit(lambda x: between(term, x, style))
    gradient = jax.grad(evaluate)(canvas)
    for seed in (17, 18):
        direction = normal(seed, *canvas.shape)
        ahead, behind = (evaluate(canvas + step * direction) for step in (1e-6, -1e-6))
        slope = np.vdot(gradient, direction)
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5)


def test_single_precision_has_the_distance_where_the_spectrum_is_steep(steep):
    """And next to none from the style itself: no covariance is formed."""
    term = Wasserstein(layers=LAYER)
    canvas, style = (x.astype(np.float32) for x in steep)
    expected = printed_wasserstein(*steep, 1e-4)
    found = between(term, canvas, style)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 0 <= between(term, style, style) < 1e-9 * expected


def test_twelve_steps_bring_eigenvalues_up_by_their_power():
    """Of √10⁻¹⁴ they find 1.5¹² · 10⁻¹⁴: small eigenvalues fall short."""
    rows = jnp.diag(jnp.asarray([1.0, 1e-7]))
    overlap = (1 + 1e-14 + 2 - bures_by_iteration(rows, jnp.eye(2), 12)) / 2
    np.testing.assert_allclose(overlap - 1, 1e-14 * 1.5**12, rtol=0.2)


@pytest.mark.parametrize("steps", [12, 20])
def test_newton_and_schulz_leave_at_the_style_what_their_recursion_does(steps, steep):
    """By the recursion in numbers, y ← y(3 − zy)/2 and z ← (3 − zy)z/2."""
    _, style = steep
    rows = style.reshape(-1, 40) / np.sqrt(30)
    root = np.linalg.qr(np.concatenate([rows, 0.01 * np.eye(40)]))[1]
    variances = np.linalg.eigvalsh(root @ root.T)
    norm = np.linalg.norm(variances**2)
    y, z = variances**2 / norm, 1.0
    for _ in range(steps):
        t = (3 - z * y) / 2
        y, z = y * t, t * z
    expected = 2 * (variances.sum() - y.sum() * np.sqrt(norm))
    found = bures_by_iteration(jnp.asarray(root), jnp.asarray(root), steps)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_the_methods_leave_at_a_styles_own_features(network):
    """As the class says: 2 to 9 % of the mean variance after 12 steps, 0.4 % after 20.

    The exact method is the default.
    """
    assert Wasserstein().method == "svd"
    picture = nst_jax.read_image("samples/swirls.jpg", 128)
    for layer, features in network(picture, ("relu2_1", "relu3_1")).items():
        rest = []
        for method, steps in (("newton_schulz", 12), ("newton_schulz", 20), ("svd", 1)):
            term = Wasserstein(layers=(layer,), method=method, steps=steps)
            style = term.statistic(features)
            left = term.distance(style, term.target_statistic(style))
            rest.append(float(left * features.shape[2] / (style.rows**2).sum()))
        assert 0.02 < rest[0] < 0.1
        assert abs(rest[1]) < 0.005 and abs(rest[2]) < 1e-6


# Quantiles.


def exact_transport(canvas, style):
    """(W₂² and its gradient) of values [M, c] and [N, c], mean over channels.

    The quantile functions are steps at i/M and j/N: both are constant between two
    neighbours of the union of these ranks.
    """
    count, other = len(canvas), len(style)
    ends = np.union1d(np.arange(count + 1) * other, np.arange(other + 1) * count)
    widths = np.diff(ends)[:, None] / (count * other)
    order = np.argsort(canvas, 0)
    ranks = ends[:-1] // other
    apart = np.take_along_axis(canvas, order, 0)[ranks]
    apart = apart - np.sort(style, 0)[ends[:-1] // count]
    in_order, slope = np.zeros(canvas.shape), np.zeros(canvas.shape)
    np.add.at(in_order, ranks, 2 * widths * apart)
    np.put_along_axis(slope, order, in_order, 0)
    channels = canvas.shape[1]
    return (widths * apart**2).sum() / channels, slope / channels


@pytest.mark.parametrize(
    ("count", "other", "levels", "off", "slope_off"),
    [
        (1024, 1024, 1024, 1e-12, 1e-12),
        (1500, 1500, 2048, 1e-12, 1e-12),
        (1500, 1500, 1024, 2e-2, 0.1),
        (672, 768, 1024, 2e-2, 0.1),
        (3000, 2000, 1024, 2e-2, 0.1),
    ],
)
def test_transport_is_exact_or_near_the_exact_distance(
    count, other, levels, off, slope_off
):
    """Exact for equally many values, no more than `levels`; else near it."""
    canvas, style = np.abs(normal(22, count, 3)), np.abs(normal(23, other, 3)) ** 1.5
    target = quantiles(WeightedSamples(jnp.asarray(style), None), levels)

    def loss(values):
        return transport_cost(WeightedSamples(values, None), target)

    found, slope = jax.value_and_grad(loss)(jnp.asarray(canvas))
    wanted, wanted_slope = exact_transport(canvas, style)
    np.testing.assert_allclose(found, wanted, rtol=off)
    distance = np.linalg.norm(slope - wanted_slope) / np.linalg.norm(wanted_slope)
    assert distance < slope_off


def test_histogram_is_the_mean_square_of_sorted_differences():
    canvas, style = normal(13, 6, 7, 3), normal(14, 7, 6, 3) ** 3
    found = between(Histogram(layers=LAYER), canvas, style)
    f, a = (np.sort(x.reshape(-1, 3), axis=0) for x in (canvas, style))
    np.testing.assert_allclose(found, ((f - a) ** 2).mean(), rtol=1e-12)


def test_histograms_of_other_sizes_are_compared_at_the_ranks():
    canvas, style = normal(15, 5, 4, 2), normal(16, 6, 7, 2)
    ranks, others = (np.arange(20) + 0.5) / 20, (np.arange(42) + 0.5) / 42
    f, a = (np.sort(x.reshape(-1, 2), axis=0) for x in (canvas, style))
    target_statistic = np.stack(
        [np.interp(ranks, others, a[:, c]) for c in range(2)], 1
    )
    found = between(Histogram(layers=LAYER), canvas, style)
    np.testing.assert_allclose(found, ((f - target_statistic) ** 2).mean(), rtol=1e-12)


def test_levels_are_quantiles_and_few_of_them_suffice():
    """Of 4000 values 400 levels: the loss of a shift by δ is δ², to the tails."""
    values = jnp.asarray(normal(17, 4000, 1))
    few = quantiles(WeightedSamples(values, None), 400)
    assert few.values.shape == (400, 1)
    expected = np.quantile(values, few.ranks, axis=0, method="hazen")
    np.testing.assert_allclose(few.values, expected, atol=1e-12)
    np.testing.assert_allclose(
        transport_cost(WeightedSamples(values + 2, None), few), 4, rtol=2e-3
    )


def test_weighted_quantiles_are_those_of_what_counts():
    """And of weights 1 and 2, steps of the distribution function at half of each."""
    values = jnp.asarray([[3.0], [1.0], [99.0], [2.0]])
    found = quantiles(WeightedSamples(values, jnp.asarray([0.5, 0.25, 0, 0.25])), 10)
    wanted = jnp.asarray([[0.0], [0.125], [0.25], [0.375], [0.75], [1.0]])
    np.testing.assert_allclose(
        quantiles_at(found, wanted)[:, 0], [1, 1, 1.5, 2, 3, 3], atol=1e-12
    )


def test_a_histogram_is_matched_in_one_step_of_its_gradient():
    """F − ½ · 42·2 · ∂loss/∂F has the style's values in the order of F's."""
    canvas, style = normal(18, 6, 7, 2), normal(19, 7, 6, 2)
    slope = jax.jit(jax.grad(between, argnums=1))(
        Histogram(layers=LAYER), canvas, style
    )
    matched = (canvas - 42 * 2 / 2 * slope).reshape(-1, 2)
    f, a = canvas.reshape(-1, 2), style.reshape(-1, 2)
    np.testing.assert_allclose(np.sort(matched, 0), np.sort(a, 0), atol=1e-12)
    np.testing.assert_array_equal(np.argsort(matched, 0), np.argsort(f, 0))


# Slices.


def test_directions_are_orthonormal_as_many_at_a_time_as_can_be():
    drawn = np.asarray(random_directions(jax.random.key(0), 5, 12, jnp.float64))
    assert drawn.shape == (5, 12)
    for block in (drawn[:, :5], drawn[:, 5:10], drawn[:, 10:]):
        np.testing.assert_allclose(block.T @ block, np.eye(block.shape[1]), atol=1e-12)
    assert abs(drawn[:, 0] @ drawn[:, 5]) > 1e-3


def test_sliced_wasserstein_is_sorted_along_each_direction():
    canvas, style = normal(20, 6, 7, 3), normal(21, 7, 6, 3) ** 3
    term = SlicedWasserstein(layers=LAYER, directions=7, seed=4)
    drawn = np.asarray(random_directions(seed_key(4), 3, 7, jnp.float64))
    f, a = (np.sort(x.reshape(-1, 3) @ drawn, axis=0) for x in (canvas, style))
    np.testing.assert_allclose(
        between(term, canvas, style), ((f - a) ** 2).mean(), rtol=1e-10
    )
    moved = between(SlicedWasserstein(layers=LAYER), style + np.array([1, 2, 3]), style)
    np.testing.assert_allclose(moved, 14 / 3, rtol=1e-10)  # |δ|²/C along a basis.


def test_directions_anew_at_each_step_and_in_the_mean_no_matter():
    """Drawn by the step alone; a rotation of all channels is nothing in expectation."""
    canvas, style = normal(22, 6, 7, 3), normal(23, 7, 6, 3) ** 3
    turn = scipy.linalg.qr(normal(24, 3, 3))[0]
    term = SlicedWasserstein(layers=LAYER, anew=True, directions=1)
    along = jax.jit(jax.vmap(between, in_axes=(None, None, None, 0)))
    plain, turned = (
        np.asarray(along(term, canvas @ r, style @ r, np.arange(2000)))
        for r in (np.eye(3), turn)
    )
    assert len(np.unique(plain)) == 2000
    backwards = along(term, canvas, style, np.arange(2000)[::-1])
    np.testing.assert_allclose(backwards[::-1], plain, rtol=1e-12)
    error = np.sqrt((plain.var() + turned.var()) / 2000)
    assert abs(plain - turned).mean() > 5 * error
    assert abs(plain.mean() - turned.mean()) < 4 * error


def test_a_sampled_style_is_drawn_by_its_weights():
    """Of 0, 1, …, 99 with weights for the second half alone: about its mean, 74.5."""
    term = SlicedWasserstein(layers=LAYER, anew=True, samples=60)
    features = jnp.arange(100.0).reshape(10, 10, 1)
    weights = jnp.repeat(jnp.asarray([0, 0.02]), 50).reshape(10, 10)
    kept = term.target_statistic(term.statistic(features, weights))
    assert kept.values.shape == (60, 1) and kept.weights is None
    assert kept.values.min() >= 50
    assert abs(kept.values.mean() - 74.5) < 4 * 14.4 / np.sqrt(60)
    whole = term.target_statistic(term.statistic(features))
    assert len(np.unique(whole.values)) == 60


# Neighbours and other layers.


def test_neighbours_are_multiplied_pair_by_pair():
    """Those that are 5 apart fit into one of the two alone, and count for nothing."""
    f, other = normal(25, 5, 4, 3), normal(26, 6, 6, 3)
    term = ShiftedGram(layers=LAYER, shifts=(1, 3, 5), convention="paper")

    def printed(f):
        grams = []
        for shift, down in itertools.product((1, 3, 5), (True, False)):
            pairs = [
                np.outer(f[y, x], f[y + shift * down, x + shift * (not down)])
                for y in range(len(f) - shift * down)
                for x in range(f.shape[1] - shift * (not down))
            ]
            grams.append(np.mean(pairs, axis=0) if pairs else np.zeros((3, 3)))
        return np.stack(grams)

    found = term.statistic(jnp.asarray(f))
    np.testing.assert_allclose(found.grams, printed(f), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.fits, [1, 1, 1, 1, 0, 0])
    far = (printed(f) - printed(other))[:4]
    loss = (far**2).sum() / 6 / (4 * 3**2)
    for canvas, style in ((f, other), (other, f)):
        np.testing.assert_allclose(between(term, canvas, style), loss, rtol=1e-12)


def test_neighbours_are_alike_in_any_basis_of_the_channels():
    """G_δ goes to U G_δ Uᵀ, of the same norm; mirrored, they are others."""
    turn = scipy.linalg.qr(normal(27, 3, 3))[0]
    canvas, style = normal(28, 5, 6, 3), normal(29, 6, 5, 3)
    term = ShiftedGram(layers=LAYER)
    found = between(term, canvas, style)
    turned = between(term, canvas @ turn, style @ turn)
    np.testing.assert_allclose(turned, found, rtol=1e-10)
    assert abs(between(term, canvas[::-1], style) - found) > 1e-3 * found


def test_pairs_of_layers_are_alike_in_any_basis_of_either():
    turns = {
        layer: scipy.linalg.qr(normal(30 + c, c, c))[0]
        for layer, c in (("relu1_2", 4), ("relu2_1", 5))
    }
    views = [random_view(seed, 8, 9) for seed in (31, 32)]
    turned = [
        view._replace(features={k: f @ turns[k] for k, f in view.features.items()})
        for view in views
    ]
    term = CrossLayerGram(pairs=(("relu1_2", "relu2_1"),))
    one, other = (
        term(canvas, term.target(canvas, [style])) for canvas, style in (views, turned)
    )
    np.testing.assert_allclose(other, one, rtol=1e-10)


def test_layers_are_multiplied_where_the_coarse_one_is_nearest():
    """Of odd sizes, in any order of a pair, with a curve and a weight for each."""
    shapes = {"relu1_1": (5, 7, 2), "relu2_1": (2, 3, 4), "relu2_2": (2, 3, 3)}
    canvas, style = (
        {k: normal(seed + i, *shape) for i, (k, shape) in enumerate(shapes.items())}
        for seed in (27, 37)
    )
    pairs = (("relu2_1", "relu1_1"), ("relu2_1", "relu2_2"))
    term = CrossLayerGram(pairs=pairs, layer_weights=(1.0, 3.0), convention="paper")
    assert term.layers == ("relu1_1", "relu2_1", "relu2_2")

    def cross(features, fine, coarse):
        f, u = features[fine], features[coarse]
        (h, w), (a, b) = f.shape[:2], u.shape[:2]
        places = list(itertools.product(range(h), range(w)))
        up = [u[int((y + 0.5) * a / h), int((x + 0.5) * b / w)] for y, x in places]
        return f.reshape(h * w, -1).T @ np.array(up) / (h * w)

    target = term.target(View(None, canvas), [View(None, style)])
    parts = jax.jit(term.parts)(View(None, canvas), target)
    assert list(parts) == ["style/relu1_1:relu2_1", "style/relu2_1:relu2_2"]
    for (name, found), weight in zip(parts.items(), (1, 3), strict=True):
        pair = name.removeprefix("style/").split(":")
        difference = cross(canvas, *pair) - cross(style, *pair)
        expected = weight * (difference**2).sum() / (4 * difference.size)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


# Bad values.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gram(normalise="l2"), r"style\.normalise must be one of .*, got 'l2'"),
        (
            lambda: Wasserstein(normalise="self_scaled"),
            r"normalise must be one of \('', 'gradient'\), got 'self_scaled'",
        ),
        (lambda: RelaxedEMD(normalise="gradient"), r"normalise must be one of"),
        (lambda: Gram(strength=1.5), r"style\.strength must be from 0 to 1, got 1\.5"),
        (lambda: Gram(activation_shift=float("nan")), r"activation_shift .* got nan"),
        (lambda: Covariance(convention="gaty"), "did you mean 'gatys'"),
        (lambda: Wasserstein(method="eigh"), r"method must be one of .*, got 'eigh'"),
        (
            lambda: Wasserstein(ridge=-1.0),
            r"ridge must be at least 0 and finite, got -1",
        ),
        (lambda: Wasserstein(steps=0), r"steps must be at least 1, got 0"),
        (
            lambda: SlicedWasserstein(anew="False"),
            r"style\.anew must be True or False, got 'False'",
        ),
        (lambda: Histogram(levels=1), r"levels must be at least 2, got 1"),
        (
            lambda: SlicedWasserstein(samples=0),
            r"samples must be at least 1, got 0",
        ),
        (lambda: SlicedWasserstein(seed=1.5), r"seed must be an integer, got 1.5"),
        (
            lambda: ShiftedGram(shifts=(1.5,)),
            r"shifts\[0\] must be an integer, got 1.5",
        ),
        (lambda: ShiftedGram(shifts=(0,)), r"shifts\[0\] must be at least 1, got 0"),
        (lambda: CrossLayerGram(pairs=()), r"pairs must be one or more pairs"),
        (
            lambda: CrossLayerGram(
                pairs=(("relu1_1", "relu2_1"), ("relu2_1", "relu1_1"))
            ),
            r"pairs names a pair twice",
        ),
        (
            lambda: CrossLayerGram(layer_weights=(1.0,)),
            r"layer_weights has 1 entries for the 4 layers",
        ),
        (lambda: RelaxedEMD(samples=0), r"samples must be at least 1, got 0"),
        (lambda: RelaxedEMD(layer_weights=(1.0,)), r"has 1 entries for the 0 layers"),
    ],
)
def test_bad_value_is_one_sentence(make, message):
    with pytest.raises(RequestError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)
