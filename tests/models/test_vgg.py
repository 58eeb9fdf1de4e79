"""The network against one written anew in NumPy, its gradients against differences."""

import dataclasses
import re

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from command_line import ROOT
from numpy_network import assert_taps_agree, pooled_by_hand, reference
from pictures import smooth_picture

import nst_jax
from nst_jax import Network, RequestError
from nst_jax.models import vgg
from nst_jax.models.layers import (
    LAYERS,
    canonical_layer,
    canonical_layers,
    deepest_layer,
    smallest_side,
)
from nst_jax.models.preprocessing import CAFFE, TORCHVISION, preprocess

HIGHEST = jax.lax.Precision.HIGHEST


@jax.jit(static_argnames="layers")
def tapped(network, image, layers):
    return network(image, layers)


@pytest.fixture(scope="module")
def convs():
    """The weight file in float64, read without the package: kernels [3, 3, I, O]."""
    tensors = safetensors.numpy.load_file(ROOT / "weights" / "vgg19.safetensors")
    names = [name.removesuffix("/bias") for name in tensors if name.endswith("/bias")]
    return {
        name: (
            tensors[f"{name}/table"].astype(np.float64)[
                np.ascontiguousarray(tensors[f"{name}/indices"].transpose(2, 3, 1, 0))
            ],
            tensors[f"{name}/bias"].astype(np.float64),
        )
        for name in names
    }


# Forward.


@pytest.mark.parametrize("rounding", vgg.ROUNDINGS)
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_every_tap_is_that_of_a_network_in_numpy(network, convs, pooling, rounding):
    """All 37, on a picture that is odd in rows or columns at each pooling."""
    image = smooth_picture(0, 37, 50)
    expected = reference(convs, image, pooling, rounding=rounding)
    assert tuple(expected) == LAYERS
    network = dataclasses.replace(network, pooling=pooling, pool_rounding=rounding)
    found = tapped(network, image, LAYERS)
    assert_taps_agree(found, expected)
    assert found["pool5"].shape[:2] == {"ceil": (2, 2), "floor": (1, 1)}[rounding]


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_a_rounding_says_nothing_of_a_size_that_every_pooling_halves(network, pooling):
    """To the bit, and in the gradient too."""

    @jax.jit
    def value_and_grad(network, image):
        return jax.value_and_grad(lambda x: network(x, ("relu5_1",))["relu5_1"].sum())(
            image
        )

    image = smooth_picture(0, 32, 48)
    ceil, floor = (
        value_and_grad(
            dataclasses.replace(network, pooling=pooling, pool_rounding=rounding), image
        )
        for rounding in vgg.ROUNDINGS
    )
    np.testing.assert_array_equal(ceil[0], floor[0])
    np.testing.assert_array_equal(ceil[1], floor[1])


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_other_paddings_are_numpys(network, convs, padding):
    """Down to one row, where there is nothing to reflect."""
    image = smooth_picture(1, 16, 21)
    layers = LAYERS[: LAYERS.index("relu5_1") + 1]
    expected = reference(convs, image, padding=padding, deepest="relu5_1")
    found = tapped(dataclasses.replace(network, padding=padding), image, layers)
    assert found["relu5_1"].shape == (1, 2, 512)
    assert_taps_agree(found, expected)


def test_paddings_differ_at_the_border_only(network):
    image = smooth_picture(1, 16, 21)
    zeros, reflect, replicate = (
        np.asarray(
            tapped(dataclasses.replace(network, padding=padding), image, ("conv1_1",))[
                "conv1_1"
            ]
        )
        for padding in vgg.PADDINGS
    )
    for one, other in [(zeros, reflect), (zeros, replicate), (reflect, replicate)]:
        differs = (np.abs(one - other) > 1e-3).any(-1)
        assert differs[[0, -1]].all()
        assert differs[:, [0, -1]].all()
        assert not differs[1:-1, 1:-1].any()


def test_bfloat16_features_are_those_of_float32_rounded(network):
    image = smooth_picture(2, 17, 23)
    numerics = nst_jax.Numerics(feature_dtype="bfloat16")
    exact = tapped(network, image, ("relu2_1",))["relu2_1"]
    half = tapped(dataclasses.replace(network, numerics=numerics), image, ("relu2_1",))
    assert half["relu2_1"].dtype == jnp.bfloat16
    error = np.abs(np.asarray(half["relu2_1"], np.float32) - exact).max() / exact.max()
    assert error < 0.02  # bfloat16 has eight bits, 0.4 %.


def test_network_ends_at_the_deepest_tap(network):
    """By the number of its convolutions, and by what weights it can do without."""
    image = smooth_picture(0, 16, 16)
    text = tapped.lower(network, image, ("relu1_1", "relu3_1")).as_text()
    assert text.count("stablehlo.convolution(") == 5
    one = {"conv1_1": network.params["conv1_1"]}
    taps = nst_jax.features(one, image, ["relu1_1"], preprocessing=CAFFE)
    expected = tapped(network, image, ("relu1_1",))["relu1_1"]
    assert np.abs(taps["relu1_1"] - expected).max() <= 1e-5 * expected.max()
    with pytest.raises(flax.errors.ScopeParamNotFoundError):
        nst_jax.features(one, image, ["conv1_2"], preprocessing=CAFFE)


def test_no_layers_no_features(network):
    assert network(smooth_picture(0, 1, 1), ()) == {}


# Preprocessing.


def test_caffe_preprocessing_of_pure_colours():
    """255 on the colour's own channel, in the order blue, green, red."""
    primaries = jnp.eye(3)[None]
    expected = 255 * np.eye(3)[None, ::-1] - [103.939, 116.779, 123.68]
    found = preprocess(primaries, CAFFE)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_torchvision_preprocessing():
    """(x − mean) / std in RGB, as torchvision.transforms.Normalize."""
    image = smooth_picture(3, 5, 7)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = preprocess(jnp.asarray(image), TORCHVISION)
    np.testing.assert_allclose(found, (image - mean) / std, rtol=1e-5, atol=1e-6)


def test_preprocessing_conventions_are_interchangeable(network):
    """A first kernel turned to RGB, 0–1 and std gives the features it gave before."""
    order = np.array([2, 1, 0])
    std = np.array(TORCHVISION.std)
    shifted = dataclasses.replace(
        TORCHVISION, mean=tuple(np.array(CAFFE.mean)[order] / 255)
    )
    conv = network.params["conv1_1"]
    kernel = conv["kernel"][:, :, order] * jnp.asarray(255 * std)[None, None, :, None]
    params = {"conv1_1": {"kernel": kernel, "bias": conv["bias"]}}
    image = smooth_picture(3, 9, 8)
    found = nst_jax.features(params, image, ["conv1_1"], preprocessing=shifted)
    expected = tapped(network, image, ("conv1_1",))["conv1_1"]
    error = np.abs(found["conv1_1"] - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()


# Gradient of the network.


def in_float64(network):
    return dataclasses.replace(
        network,
        params=jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network.params),
        prepared=jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network.prepared),
        numerics=nst_jax.Numerics(feature_dtype="float64"),
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("pooling", "padding"), [("max", "zeros"), ("avg", "reflect")])
def test_gradient_is_the_finite_difference(network, pooling, padding):
    """Of ⟨relu3_1, y⟩, along random directions, in float64.

    A step of 1e-7 crosses next to no kink of the ReLUs and maxima, and leaves
    eight digits of the difference.
    """
    network = in_float64(dataclasses.replace(network, pooling=pooling, padding=padding))
    rng = np.random.default_rng(5)
    y = jnp.asarray(rng.normal(size=(3, 4, 256)))  # The last of each is partial.

    @jax.jit
    def value_and_grad(network, image):
        return jax.value_and_grad(
            lambda image: jnp.vdot(network(image, ("relu3_1",))["relu3_1"], y)
        )(image)

    image = rng.uniform(size=(9, 13, 3))
    gradient = value_and_grad(network, image)[1]
    assert gradient.dtype == jnp.float64
    for direction in rng.normal(size=(3, *image.shape)):
        ahead, behind = (
            value_and_grad(network, image + step * direction)[0]
            for step in (1e-7, -1e-7)
        )
        np.testing.assert_allclose(
            (ahead - behind) / 2e-7, jnp.vdot(gradient, direction), rtol=1e-5
        )


def test_prepared_kernels_change_nothing_but_are_used(network):
    """With `prepared`, without it, and with one that is zero: the same, and none."""
    image = smooth_picture(4, 12, 13)

    @jax.jit
    def gradient(params, prepared):
        def loss(image):
            taps = nst_jax.features(
                params,
                image,
                ("conv2_2",),
                preprocessing=network.preprocessing,
                prepared=prepared,
            )
            return (taps["conv2_2"] ** 2).mean()

        return jax.grad(loss)(image)

    found = gradient(network.params, network.prepared)
    expected = gradient(network.params, None)
    assert np.abs(expected).max() > 0
    error = np.abs(found - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()
    nothing = jax.tree.map(jnp.zeros_like, network.prepared)
    assert not gradient(network.params, nothing).any()


def test_no_step_converts_a_kernel(network):
    """In bfloat16 the program reads kernels of bfloat16 only, both ways."""
    numerics = nst_jax.Numerics(feature_dtype="bfloat16", convolution="direct")
    narrow = network.with_options(numerics=numerics)

    def loss(image, network):
        return (network(image, ("conv2_2",))["conv2_2"] ** 2).mean()

    image = smooth_picture(4, 12, 13)
    program = jax.jit(jax.grad(loss)).lower(image, narrow)
    kernels = re.findall(r"%arg\d+: tensor<3x3x\d+x\d+x(\w+)>", program.as_text())
    assert set(kernels) == {"bf16"}
    converted = dataclasses.replace(narrow, prepared={})
    gradient = jax.jit(jax.grad(loss))
    np.testing.assert_array_equal(gradient(image, narrow), gradient(image, converted))


# Receptive fields.


def receptive(layer, unit):
    """First and last pixel, beyond the borders too, that a unit can see."""
    first = last = unit
    for name in reversed(LAYERS[: LAYERS.index(layer) + 1]):
        if name.startswith("conv"):
            first, last = first - 1, last + 1
        elif name.startswith("pool"):
            first, last = 2 * first, 2 * last + 1
    return first, last


def test_gradient_fills_the_receptive_field(network):
    """One unit's gradient is nonzero on its receptive field and nowhere else."""
    assert receptive("relu2_1", 7) == (10, 19)  # 2·7 − 4 to 2·7 + 5: ten pixels.
    height, width = 30, 33
    network = dataclasses.replace(network, pooling="avg")

    @jax.jit
    def support(network, image, i, j):
        def unit(image):
            return network(image, ("relu2_1",))["relu2_1"][i, j].sum()

        return (jax.grad(unit)(image) != 0).any(-1)

    image = smooth_picture(6, height, width)
    for i, j in [(7, 8), (0, 0), (14, 5), (3, 15)]:
        (top, bottom), (left, right) = receptive("relu2_1", i), receptive("relu2_1", j)
        expected = np.zeros((height, width), bool)
        expected[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
        np.testing.assert_array_equal(support(network, image, i, j), expected)


def test_features_move_with_the_picture(network):
    """By one unit for each stride of pixels, where no border is seen; by 1 px not."""
    wide = smooth_picture(7, 48, 56)
    stride = smallest_side(["relu3_1"])
    assert stride == 4
    here, there, between = (
        np.asarray(tapped(network, wide[y:, x:][:36, :44], ("relu3_1",))["relu3_1"])
        for y, x in [(0, 0), (stride, 2 * stride), (1, 0)]
    )
    rows, columns = (
        [
            unit
            for unit in range(size // stride)
            if receptive("relu3_1", unit)[0] >= 0
            and receptive("relu3_1", unit)[1] < size
        ]
        for size in (36, 44)
    )
    rows, columns = rows[:-1], columns[:-2]  # Of `there`, those that `here` has too.
    assert (len(rows), len(columns)) == (2, 3)
    inner = np.ix_(rows, columns)
    moved = here[1:, 2:][inner]
    scale = np.abs(moved).max()
    assert np.abs(there[inner] - moved).max() <= 1e-5 * scale
    assert np.abs(between[inner] - here[inner]).max() > 1e-2 * scale


# Pooling.


def test_pooling_in_closed_form():
    """Of x + 10·y the maximum is at the lower right, the mean in the middle."""
    y, x = np.mgrid[:5, :7].astype(np.float32)
    ramp = jnp.asarray((x + 10 * y)[..., None])
    last = np.arange(1, 9, 2).clip(max=6) + 10 * np.arange(1, 7, 2)[:, None].clip(max=4)
    middle = np.array([0.5, 2.5, 4.5, 6]) + 10 * np.array([[0.5], [2.5], [4]])
    middle *= np.array([1, 1, 1, 0.5]) * np.array([[1], [1], [0.5]])
    for pooling, expected in (("max", last), ("avg", middle)):
        np.testing.assert_array_equal(vgg.pool(ramp, pooling)[..., 0], expected)
        dropped = vgg.pool(ramp, pooling, "floor")[..., 0]
        np.testing.assert_array_equal(dropped, expected[:2, :3])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rounding", vgg.ROUNDINGS)
@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("shape", [(7, 10, 3), (10, 7, 3), (9, 9, 2), (8, 6, 2)])
def test_pooling_is_over_windows_of_each_channel(pooling, rounding, shape):
    """In float64, its gradient by finite differences."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=shape)
    found = vgg.pool(jnp.asarray(x), pooling, rounding)
    expected = pooled_by_hand(x, pooling, rounding)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    y = rng.normal(size=expected.shape)
    gradient = jax.grad(lambda x: (vgg.pool(x, pooling, rounding) * y).sum())(
        jnp.asarray(x)
    )
    for direction in rng.normal(size=(3, *shape)):
        ahead, behind = (
            (pooled_by_hand(x + step * direction, pooling, rounding) * y).sum()
            for step in (1e-7, -1e-7)
        )
        slope = np.vdot(gradient, direction)
        np.testing.assert_allclose((ahead - behind) / 2e-7, slope, rtol=1e-6, atol=1e-7)


def pooled_gradient(x, pooling, rounding="ceil"):
    return jax.jit(jax.grad(lambda x: vgg.pool(x, pooling, rounding).sum()))(x)


def test_maximum_takes_all_of_the_gradient():
    """No ties: 1 where the maximum is, 0 elsewhere and on what is dropped."""
    x = np.random.default_rng(9).permutation(np.arange(70, dtype=np.float32))
    x = x.reshape(5, 7, 2)
    expected = np.zeros_like(x)
    cells = x[:4, :6].reshape(2, 2, 3, 2, 2)
    marks = cells == cells.max((1, 3), keepdims=True)
    expected[:4, :6] = marks.reshape(4, 6, 2)
    assert expected.sum() == 2 * 3 * 2
    np.testing.assert_array_equal(pooled_gradient(x, "max", "floor"), expected)


def test_the_gradient_of_a_partial_window():
    """½ each of two that tie for a maximum, 1 to a corner alone; ¼ in any mean."""
    x = np.full((5, 5, 1), 0.3, np.float32)
    expected = np.full((5, 5, 1), 0.25)
    np.testing.assert_array_equal(pooled_gradient(x, "avg"), expected)
    expected[4], expected[:, 4], expected[4, 4] = 0.5, 0.5, 1
    np.testing.assert_array_equal(pooled_gradient(x, "max"), expected)


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_flat_colour_shares_the_gradient_equally(pooling):
    """¼ to each of four that tie, as an average pooling gives at any picture."""
    expected = np.full((6, 9, 2), 0.25)
    expected[:, 8] = 0
    found = pooled_gradient(np.full((6, 9, 2), 0.3, np.float32), pooling, "floor")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_two_that_tie_have_half_each(pair):
    x = np.zeros(4, np.float32)
    x[list(pair)] = 1
    found = pooled_gradient(x.reshape(2, 2, 1), "max")
    np.testing.assert_array_equal(found.ravel(), x / 2)


def test_no_select_and_scatter(network):
    """Nor in the gradient, unlike that of a library's pooling."""

    def lowered(function, x):
        return jax.jit(jax.grad(lambda x: function(x).sum())).lower(x).as_text()

    x = jnp.ones((16, 16, 3))
    library = lowered(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    assert "select_and_scatter" in library
    own = lowered(lambda x: network(x, ("relu3_1",))["relu3_1"], x)
    assert own.count("stablehlo.convolution(") == 10
    assert "select_and_scatter" not in own
    assert "reduce_window" not in own


# Many pictures.


def test_vmap_is_each_picture_alone(network):
    images = np.stack([smooth_picture(seed, 21, 18) for seed in (10, 11, 12)])
    layers = ("conv1_1", "pool2", "relu4_2")
    together = jax.jit(jax.vmap(tapped, (None, 0, None)), static_argnums=2)(
        network, images, layers
    )
    for number, image in enumerate(images):
        alone = tapped(network, image, layers)
        for layer in layers:
            error = np.abs(together[layer][number] - alone[layer]).max()
            assert error <= 1e-5 * np.abs(alone[layer]).max(), layer


def test_vmapped_convolutions_are_plain(network):
    """Many pictures are a batch; only many networks would need grouped ones."""

    def groups(in_axes, *arguments):
        def gradient(network, image):
            return jax.grad(lambda x: network(x, ("relu3_1",))["relu3_1"].sum())(image)

        program = jax.jit(jax.vmap(gradient, in_axes)).lower(*arguments)
        found = re.findall(r"(?:feature|batch)_group_count = (\d+)", program.as_text())
        return set(map(int, found))

    images = jnp.ones((5, 8, 8, 3))
    assert groups((None, 0), network, images) == {1}
    networks = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), network)
    assert max(groups((0, 0), networks, images[:2])) > 1


# Names.


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        *((layer, layer) for layer in LAYERS),
        ("block1_conv1", "relu1_1"),
        ("block4_conv2", "relu4_2"),
        ("block5_conv4", "relu5_4"),
        ("block3_pool", "pool3"),
        ("conv_1", "conv1_1"),
        ("conv_9", "conv4_1"),
        ("relu_5", "relu3_1"),
        ("relu_16", "relu5_4"),
        # torchvision.models.vgg19().features, by index.
        (0, "conv1_1"),
        (1, "relu1_1"),
        (4, "pool1"),
        (9, "pool2"),
        (18, "pool3"),
        (21, "conv4_2"),
        ("22", "relu4_2"),
        (27, "pool4"),
        (36, "pool5"),
    ],
)
def test_aliases(name, layer):
    assert canonical_layer(name) == layer


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("relu4_5", "relu4_"),
        ("Relu4_2", "relu4_2"),
        ("relu42", "relu4_2"),
        ("block4_conv9", "relu4_"),
        ("block6_pool", "pool"),
        ("conv_17", "conv"),
        ("conv_0", "conv"),
        ("pool_3", "pool3"),
    ],
)
def test_unknown_layer_is_refused_with_the_nearest(name, near):
    message = f"unknown layer '{name}'; did you mean '{near}"
    with pytest.raises(RequestError, match=message):
        canonical_layer(name)


@pytest.mark.parametrize("name", [37, -1, "", "fc6", "4.5", None, "²"])
def test_what_resembles_no_layer_is_refused(name):
    with pytest.raises(RequestError, match=r"unknown layer .*layers are conv1_1 … "):
        canonical_layer(name)


def test_layer_named_twice_is_refused():
    """Under two names as well."""
    with pytest.raises(RequestError, match="'relu4_2' is named twice"):
        canonical_layers(["relu4_2", "relu1_1", "block4_conv2"])


def test_deepest_is_by_computation_not_by_name():
    assert deepest_layer(["relu5_1", "pool4", "conv5_2"]) == "conv5_2"
    assert deepest_layer(["pool1", "relu1_2"]) == "pool1"


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_smallest_side_is_exact(network, padding):
    """A picture of that side has a 1×1 tap at the layer; one pixel less, none."""
    network = dataclasses.replace(network, padding=padding)
    pools = [LAYERS.index(f"pool{block}") for block in range(1, 6)]
    for first, last, side in zip(
        [0, *pools], [*pools, 37], [1, 2, 4, 8, 16, 32], strict=True
    ):
        layers = LAYERS[first:last]
        assert {smallest_side([layer]) for layer in layers} == {side}
        image = jax.ShapeDtypeStruct((side + 5, side, 3), jnp.float32)
        taps = jax.eval_shape(lambda image, to=layers: network(image, to), image)
        assert {tap.shape[1] for tap in taps.values()} == {1}
        for layer in layers if side > 1 else ():
            with pytest.raises(RequestError, match=f"needs at least {side} px"):
                network(np.ones((side + 5, side - 1, 3), np.float32), (layer,))


def test_too_small_a_picture_is_one_sentence(network):
    with pytest.raises(RequestError) as raised:
        network(jnp.ones((15, 40, 3)), ("relu1_1", "relu5_1"))
    assert str(raised.value) == (
        "an image of 40×15 px does not reach relu5_1, "
        "which needs at least 16 px each way"
    )


@pytest.mark.parametrize("centred", [True, False])
def test_an_input_scale_is_a_factor_of_what_the_first_kernel_sees(network, centred):
    """57 times conv1_1 without its bias, with the mean taken off or not."""
    image = smooth_picture(4, 9, 8)
    bias = np.asarray(network.params["conv1_1"]["bias"], np.float64)
    fed = Network.from_params(
        network.params, CAFFE, input_scale=57.0, input_centred=centred
    )
    plain = Network.from_params(network.params, CAFFE, input_centred=centred)
    found, one = (
        np.asarray(tapped(net, image, ("conv1_1",))["conv1_1"], np.float64) - bias
        for net in (fed, plain)
    )
    assert np.abs(found - 57 * one).max() <= 1e-5 * np.abs(found).max()
    mean = np.array([103.939, 116.779, 123.68]) if centred else 0.0
    seen = preprocess(jnp.asarray(image), fed.preprocessing)
    expected = 57 * (255.0 * image[..., ::-1] - mean)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-2)


def test_the_input_a_network_was_trained_on_is_the_default():
    assert Network.from_params({}, CAFFE).preprocessing == CAFFE


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"input_scale": 0.0}, "input_scale must be above 0 and finite, got 0.0"),
        ({"pooling": "mean"}, "pooling must be one of .*'avg'.*, got 'mean'"),
        (
            {"pool_rounding": "round"},
            "pool_rounding must be one of .*'ceil'.*, got 'round'",
        ),
        ({"padding": "same"}, "padding must be one of .*'zeros'.*, got 'same'"),
    ],
)
def test_a_wrong_choice_is_refused(choice, message):
    with pytest.raises(RequestError, match=message):
        Network.from_params({}, CAFFE, **choice)
