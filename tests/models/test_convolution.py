"""Convolutions against XLA's plain one, their gradients against autodiff's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax import Numerics, RequestError
from nst_jax.models import convolution, winograd
from nst_jax.models.convolution import convolve, flip_kernel, relu

HIGHEST = jax.lax.Precision.HIGHEST


def plain_convolve(x, kernel, pad):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=HIGHEST,
    )


def conv_operands(pad):
    """x, kernel and a cotangent, normal float64 of no two sizes alike."""
    rng = np.random.default_rng(pad)
    x, kernel = rng.normal(size=(2, 5, 8, 3)), rng.normal(size=(3, 3, 3, 4))
    y = rng.normal(size=(2, 3 + 2 * pad, 6 + 2 * pad, 4))
    return jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(y)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("pad", [0, 1])
def test_turn_is_the_adjoint(pad):
    """⟨x * k, y⟩ = ⟨x, y * turn(k)⟩, with `flip_kernel` its own inverse."""
    x, kernel, y = conv_operands(pad)
    forward = jnp.vdot(plain_convolve(x, kernel, pad), y)
    backward = jnp.vdot(x, plain_convolve(y, flip_kernel(kernel), 2 - pad))
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
    np.testing.assert_array_equal(flip_kernel(flip_kernel(kernel)), kernel)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("pad", [0, 1])
def test_gradient_of_convolve_is_autodiffs(pad):
    """In x and in the kernel, of a loss that is not linear in either."""
    x, kernel, y = conv_operands(pad)

    def own(x, kernel):
        return (
            convolve(x, kernel, flip_kernel(kernel), None, pad, HIGHEST) ** 3 * y
        ).sum()

    def autodiff(x, kernel):
        return (plain_convolve(x, kernel, pad) ** 3 * y).sum()

    found = jax.jit(jax.grad(own, (0, 1)))(x, kernel)
    expected = jax.jit(jax.grad(autodiff, (0, 1)))(x, kernel)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-10)


@pytest.mark.usefixtures("x64")
def test_second_derivatives_of_convolve_are_autodiffs():
    """Reverse over reverse, in x and the kernel: ∇‖∇‖² mixes the two."""
    x, kernel, y = conv_operands(1)

    def penalty(convolution):
        def loss(x, kernel):
            return (jnp.sin(convolution(x, kernel)) * y).sum()

        def squares(x, kernel):
            return sum((g**2).sum() for g in jax.grad(loss, (0, 1))(x, kernel))

        return jax.jit(jax.grad(squares, (0, 1)))(x, kernel)

    found = penalty(lambda x, k: convolve(x, k, flip_kernel(k), None, 1, HIGHEST))
    expected = penalty(lambda x, k: plain_convolve(x, k, 1))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


# Winograd's form.


def transformed(kernel):
    return winograd.transform(kernel), winograd.transform(
        convolution.flip_kernel(kernel)
    )


def operands(batch, height, width, pad, inputs=3, outputs=4):
    rng = np.random.default_rng(height)
    x = rng.normal(size=(batch, height, width, inputs))
    kernel = rng.normal(size=(3, 3, inputs, outputs))
    y = rng.normal(size=(batch, height + 2 * pad - 2, width + 2 * pad - 2, outputs))
    return x, kernel, y


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("size", [(4, 4), (5, 9), (6, 7), (8, 3)])
def test_winograds_form_is_the_convolution(size, pad):
    """In float64, at sizes that tiles of four do and do not divide."""
    x, kernel, _ = operands(2, *size, pad)
    correlate = jax.jit(winograd.correlate, static_argnums=(2, 3))
    found = correlate(jnp.asarray(x), winograd.transform(kernel), pad, HIGHEST)
    expected = plain_convolve(x, kernel, pad)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("pad", [0, 1])
def test_gradient_in_winograds_form_is_autodiffs(pad):
    """In x and in the kernel, which is taken for what it was transformed from."""
    x, kernel, y = operands(2, 17, 25, pad)

    def own(x, kernel, form):
        found = convolve(x, kernel, flip_kernel(kernel), form, pad, HIGHEST)
        return (found**3 * y).sum()

    def autodiff(x, kernel):
        return (plain_convolve(x, kernel, pad) ** 3 * y).sum()

    form = transformed(kernel)
    found = jax.jit(jax.grad(own, (0, 1)))(x, kernel, form)
    expected = jax.jit(jax.grad(autodiff, (0, 1)))(x, kernel)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-8)
    # A form of another kernel shows that it is what was computed with.
    other = jax.jit(jax.grad(own))(x, kernel, jax.tree.map(np.zeros_like, form))
    assert not np.any(other)


def test_rounding_of_winograds_form():
    """At most twice the relative RMS error of 4e-6 that the module states."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(1, 24, 24, 256)), 0)
    kernel = rng.normal(size=(3, 3, 256, 256))
    exact = sum(
        np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, i : i + 24, j : j + 24]
        @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    x, kernel = x.astype(np.float32), kernel.astype(np.float32)
    found = winograd.correlate(jnp.asarray(x), winograd.transform(kernel), 1, HIGHEST)
    assert distance(found, exact) < 8e-6


@pytest.mark.parametrize(
    ("size", "is_winograd"), [((1, 7, 9), False), ((1, 8, 8), True), ((2, 7, 9), True)]
)
def test_pictures_are_many_or_large_where_winograds_form_is_used(size, is_winograd):
    """One picture of 7×9 px is too small; 8×8 px are enough, and so are two of 7×9.

    With zeros in place of the transformed kernels, Winograd's form returns zeros, and
    the direct form, which does not read them, returns what it always does.
    """
    count = size[0]
    x, kernel, _ = operands(*size, 1, inputs=8)
    x, kernel = jnp.asarray(x, jnp.float32), np.asarray(kernel, np.float32)

    @jax.jit
    def run(x, *kernels):
        one = lambda x: convolve(x[None], *kernels, 1, HIGHEST)[0]  # noqa: E731
        return jax.vmap(one)(x) if count > 1 else one(x[0])[None]

    kernels, form = (
        (kernel, np.ascontiguousarray(flip_kernel(kernel))),
        transformed(kernel),
    )
    found, direct = (run(x, *kernels, f) for f in (form, None))
    np.testing.assert_allclose(found, direct, rtol=1e-3, atol=1e-4)
    without = run(x, *kernels, jax.tree.map(np.zeros_like, form))
    np.testing.assert_allclose(
        without, np.zeros_like(direct) if is_winograd else direct, rtol=1e-5, atol=1e-5
    )


def test_every_member_may_have_its_own_kernel():
    """Then there is nothing to fold, and the result is that of each alone."""
    x, kernel, _ = operands(3, 23, 24, 1)
    kernels = jnp.asarray(np.stack([kernel, 2 * kernel, -kernel]), jnp.float32)
    x = jnp.asarray(x, jnp.float32)

    def one(x, kernel, form):
        return convolve(x[None], kernel, flip_kernel(kernel), form, 1, HIGHEST)[0]

    forms = jax.tree.map(
        lambda *f: jnp.stack(f), *map(transformed, np.asarray(kernels))
    )
    found = jax.vmap(one)(x, kernels, forms)
    alone = [one(*of) for of in zip(x, kernels, zip(*forms, strict=True), strict=True)]
    np.testing.assert_allclose(found, jnp.stack(alone), rtol=1e-4, atol=1e-4)


def test_the_network_in_winograds_form_is_the_direct_one(network):
    """At relu4_2, of a picture whose maps there are large enough; and its gradient."""
    image = smooth_picture(0, 184, 188)

    @jax.jit
    def run(network, image):
        def loss(image):
            (tap,) = network(image, ("relu4_2",)).values()
            return (tap**2).mean(), tap

        (_, tap), gradient = jax.value_and_grad(loss, has_aux=True)(image)
        return tap, gradient

    direct = network.with_options(numerics=Numerics(convolution="direct"))
    quick = direct.with_options(numerics=Numerics(convolution="winograd"))
    found, expected = run(quick, image), run(direct, image)
    assert distance(found[0], expected[0]) < 1e-5
    # Where two values differ by their rounding alone, ReLUs and maxima pass the
    # gradient on to different pixels: more than the rounding of the maps.
    assert distance(found[1], expected[1]) < 1e-2
    # It is the transformed kernels that are computed with: with zeros in their place
    # the maps are others.
    without = run(without_transformed(quick), image)
    assert distance(without[0], expected[0]) > 0.1


def without_transformed(network):
    """A network with zeros in place of the kernels in Winograd's form."""

    def zeros(path, leaf):
        names = {getattr(key, "key", None) for key in path}
        return jnp.zeros_like(leaf) if "transformed" in names else leaf

    prepared = jax.tree_util.tree_map_with_path(zeros, network.prepared)
    return dataclasses.replace(network, prepared=prepared)


def distance(found, expected):
    return np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))


# The choice.


def test_auto_is_decided_by_backend_and_dtype():
    auto = Numerics()
    assert auto.resolve("cpu").convolution == "winograd"
    assert (
        auto.resolve("gpu").convolution == auto.resolve("tpu").convolution == "direct"
    )
    assert Numerics(feature_dtype="bfloat16").resolve("cpu").convolution == "direct"
    assert Numerics(feature_dtype="float64").resolve("cpu").convolution == "direct"
    assert Numerics(convolution="winograd").resolve("gpu").convolution == "winograd"


def test_kernels_are_prepared_for_the_choice(network):
    """Those of too few channels are not transformed, nor those after conv5_1."""
    direct = network.with_options(numerics=Numerics(convolution="direct"))
    quick = direct.with_options(numerics=Numerics(convolution="winograd"))
    assert not any("transformed" in forms for forms in direct.prepared.values())
    names = {name for name, forms in quick.prepared.items() if "transformed" in forms}
    assert names == {
        *("conv3_2", "conv3_3", "conv3_4"),
        *("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1"),
    }
    forward, back = quick.prepared["conv4_1"]["transformed"]
    assert (forward.shape, back.shape) == ((36, 256, 512), (36, 512, 256))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"convolution": "fft"}, "numerics.convolution must be one of .*, got 'fft'"),
        (
            {"convolution": "winograd", "feature_dtype": "bfloat16"},
            "numerics.convolution='winograd' needs feature_dtype='float32'",
        ),
    ],
)
def test_a_wrong_form_is_refused(choice, message):
    with pytest.raises(RequestError, match=message):
        nst_jax.Numerics(**choice)


def test_relu_is_the_usual_one_and_reads_its_input_once():
    """In values and all derivatives; the gradient takes the sign of the output."""
    x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.nan])

    def derivatives(relu):
        def slope(x):
            return jax.jvp(lambda x: relu(x) ** 3, (x,), (1 + x,))[1]

        return relu(x), slope(x), jax.vjp(slope, x)[1](x)[0], jax.hessian(relu)(x)

    for ours, theirs in zip(derivatives(relu), derivatives(jax.nn.relu), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    jaxpr = jax.make_jaxpr(jax.grad(lambda x: relu(x).sum()))(x).jaxpr
    (argument,) = jaxpr.invars
    assert sum(argument in equation.invars for equation in jaxpr.eqns) == 1
