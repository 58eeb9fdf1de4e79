"""Networks beside VGG-19: their table of layers, their features, and refused layers."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy_network import VGG_16, VGG_19, assert_taps_agree, caffe_input, reference
from pictures import smooth_picture
from small_runs import small_experiment

import nst_jax
from nst_jax import Network, RequestError
from nst_jax.losses.guides import layer_guides
from nst_jax.models import weights
from nst_jax.models.layers import (
    LAYERS,
    TRUNKS,
    check_layers,
    conv_shapes,
    find_trunk,
    trunk_layers,
)
from nst_jax.models.preprocessing import CAFFE

DEPTHS = {"vgg19": VGG_19, "vgg16": VGG_16}


@pytest.fixture(scope="module")
def convs():
    """Random kernels [3, 3, I, O] and biases of VGG-16's shapes, in float32."""
    rng = np.random.default_rng(0)
    inputs, network = 3, {}
    for block, depth in enumerate(VGG_16, start=1):
        outputs = min(64 * 2 ** (block - 1), 512)
        for number in range(1, depth + 1):
            kernel = rng.standard_normal((3, 3, inputs, outputs), np.float32)
            kernel *= np.float32(np.sqrt(2 / (9 * inputs)))
            bias = rng.standard_normal(outputs, np.float32)
            network[f"conv{block}_{number}"] = (kernel, bias)
            inputs = outputs
    return network


@pytest.fixture(scope="module")
def weight_file(convs, tmp_path_factory):
    tensors = {}
    for name, (kernel, bias) in convs.items():
        tensors[f"{name}/kernel"] = kernel.transpose(3, 2, 0, 1)
        tensors[f"{name}/bias"] = bias
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    credits = {"source": "random", "licence": "none"}
    weights.save_weights(path, tensors, CAFFE, **credits, trunk="vgg16")
    return path


def test_table_has_an_entry_for_each_network():
    assert DEPTHS == TRUNKS


@pytest.mark.parametrize("trunk", TRUNKS)
def test_layers_are_some_of_all_in_the_same_order(trunk):
    layers = trunk_layers(trunk)
    assert [layer for layer in LAYERS if layer in layers] == list(layers)
    assert len(layers) == 2 * sum(DEPTHS[trunk]) + 5
    assert find_trunk(conv_shapes(trunk)) == trunk


def test_params_of_no_network_are_refused():
    with pytest.raises(RequestError, match="vgg19 or vgg16, got conv1_1, conv6_1$"):
        find_trunk(["conv6_1", "conv1_1"])


def test_every_tap_of_vgg16_is_that_of_a_network_in_numpy(convs, weight_file):
    image = smooth_picture(0, 37, 50)
    loaded = weights.load_weights(weight_file)
    assert loaded.metadata["format"] == "nst_jax/vgg16"
    network = Network.from_params(loaded.params, loaded.preprocessing)
    assert network.trunk == "vgg16"
    layers = trunk_layers("vgg16")
    expected = reference(convs, image, depths=VGG_16, network_input=caffe_input)
    assert tuple(expected) == layers
    assert_taps_agree(network(image, layers), expected)
    with pytest.raises(RequestError, match="vgg16 has no layer 'relu3_4'; it has relu"):
        network(image, ["relu1_1", "relu3_4"])


def test_guides_shrink_once_for_each_convolution():
    """A half plane loses a row at each of the convolutions before a layer."""
    region = np.zeros((1, 80, 80), np.float32)
    region[:, 38:] = 1

    def rows(layer, trunk):
        guides = layer_guides(jnp.asarray(region), [layer], "inside", trunk=trunk)
        return int(guides[layer][0, :, 0].sum())

    # 42 rows less 2, halved, less 2, halved: 9, less one for each of the block.
    assert rows("conv3_3", "vgg16") == rows("conv3_3", "vgg19") == 6
    assert (rows("pool3", "vgg16"), rows("pool3", "vgg19")) == (3, 2)


@pytest.mark.parametrize("layer", ["relu3_4", "conv4_4", "block5_conv4"])
def test_layer_that_the_network_lacks_is_one_sentence(layer, weight_file):
    terms = nst_jax.Content(), nst_jax.Gram(layers=("relu1_1", layer))
    experiment = small_experiment(terms=terms, weights=str(weight_file))
    with pytest.raises(RequestError) as caught:
        nst_jax.build(experiment)
    message = str(caught.value)
    assert message.startswith("terms.style.layers: vgg16 has no layer '")
    kind = "conv" if layer.startswith("conv") else "relu"
    assert message.endswith(", ".join(f"{kind}{x}" for x in ("5_1", "5_2", "5_3")))
    assert f"{kind}3_4" not in message.split("it has")[1]
    nst_jax.build(experiment.with_field("weights", "weights/vgg19.safetensors"))


@pytest.mark.parametrize("name", nst_jax.PRESETS)
def test_presets_use_layers_of_both_networks(name):
    for term in nst_jax.PRESETS[name].terms:
        for trunk in TRUNKS:
            check_layers(term.layers, trunk)
