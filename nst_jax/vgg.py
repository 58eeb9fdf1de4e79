"""VGG-19 as a pure function of its weights and one picture.

The trunk of Simonyan & Zisserman 2015 (arXiv 1409.1556), configuration E:
sixteen 3×3 convolutions in five blocks, a ReLU after each, a 2×2 pooling after
each block. Every one of these 37 stages can be tapped; the network ends at the
deepest tap that is asked for.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.errors import RequestError, nearest
from nst_jax.numerics import Numerics
from nst_jax.preprocessing import Preprocessing, preprocess
from nst_jax.pytree import record, static

Params = Mapping[str, Mapping[str, np.ndarray | jax.Array]]


def conv_shapes() -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each of VGG-19's sixteen convolutions, in order."""
    blocks = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
    shapes, channels = {}, 3
    for block, (width, depth) in enumerate(blocks, start=1):
        for conv in range(1, depth + 1):
            shapes[f"conv{block}_{conv}"] = (channels, width)
            channels = width
    return shapes


POOLINGS = ("max", "avg")
#: How a convolution sees beyond the border, and `jnp.pad`'s name for it.
PADDINGS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def _layer_table() -> tuple[str, ...]:
    names: list[str] = []
    for conv in conv_shapes():
        block = conv[4]
        if names and names[-1][4] != block:
            names.append(f"pool{names[-1][4]}")
        names += [conv, conv.replace("conv", "relu")]
    return (*names, "pool5")


#: Canonical names in the order of computation: conv1_1, relu1_1, … relu5_4, pool5.
LAYERS = _layer_table()
_CONVS = tuple(conv_shapes())


def canonical_layer(name: str | int) -> str:
    """The canonical name of a layer, from any name that the field gives it.

    Accepted: `relu4_2`, `conv4_2`, `pool4`; Keras' `block4_conv2` (its
    convolutions include the ReLU, so this is `relu4_2`) and `block4_pool`;
    `conv_9` and `relu_9`, the ninth of the sixteen convolutions counted from 1;
    and a bare index into the list of 37 stages, as torchvision's `features[21]`.

    Raises:
      RequestError: no layer has this name; the message holds the nearest one.
    """
    text = str(name)
    if text in LAYERS:
        return text
    if text.isdecimal() and int(text) < len(LAYERS):
        return LAYERS[int(text)]
    if match := re.fullmatch(r"(conv|relu)_(\d+)", text):
        kind, count = match[1], int(match[2])
        if 1 <= count <= len(_CONVS):
            return _CONVS[count - 1].replace("conv", kind)
    if match := re.fullmatch(r"block(\d)_(?:conv|relu)(\d)", text):
        text = f"relu{match[1]}_{match[2]}"
    elif match := re.fullmatch(r"block(\d)_pool", text):
        text = f"pool{match[1]}"
    if text in LAYERS:
        return text
    raise RequestError(
        f"unknown layer {str(name)!r}{nearest(text, LAYERS)} (layers are conv1_1 … "
        "conv5_4, relu1_1 … relu5_4, pool1 … pool5)"
    )


def canonical_layers(names: Iterable[str | int]) -> tuple[str, ...]:
    """`canonical_layer` of each name, or of the one; a layer twice is refused."""
    if isinstance(names, str):
        names = (names,)
    layers = tuple(canonical_layer(name) for name in names)
    for layer in layers:
        if layers.count(layer) > 1:
            raise RequestError(f"layer {layer!r} is named twice in {tuple(names)}")
    return layers


def deepest_layer(layers: Iterable[str]) -> str:
    """The one of `layers` (canonical) that is computed last."""
    return max(layers, key=LAYERS.index)


def smallest_side(layers: Iterable[str]) -> int:
    """The least height and width, in pixels, that reaches all of `layers`."""
    above = LAYERS[: LAYERS.index(deepest_layer(layers)) + 1]
    return 2 ** sum(layer.startswith("pool") for layer in above)


def pool(x: jax.Array, pooling: str) -> jax.Array:
    """2×2 pooling with stride 2 of [H, W, C]; an odd last row or column is dropped.

    Written as four strided slices: nothing here lowers to select-and-scatter,
    whose gradient is not deterministic on a GPU, and it is the fastest form on a
    CPU. Where values tie for the maximum, the gradient is shared between them in
    halves (¼ each if all four tie), while library poolings send all of it to the
    first: the shared one is the kinder subgradient on flat colour.
    """
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    a, b, c, d = (x[i:height:2, j:width:2] for i in (0, 1) for j in (0, 1))
    if pooling == "max":
        return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    return (a + b + c + d) / 4


def turn(kernel: jax.Array) -> jax.Array:
    """The kernel [3, 3, O, I] of the adjoint of convolving with [3, 3, I, O]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def convolve(
    x: jax.Array,
    kernel: jax.Array,
    turned: jax.Array,
    pad: int,
    precision: jax.lax.Precision,
) -> jax.Array:
    """3×3 convolution [B, H, W, I] * [3, 3, I, O] with `pad` zeros at each border.

    Its gradient in `x` is written as what it is, a plain convolution with
    `turned`, which is `turn(kernel)`. Autodiff says the same with permuted
    dimension numbers, which XLA's CPU compiler brings into its fast form only
    outside of loops: inside the `while` of an optimisation that gradient ran
    three times slower. The price is forward-mode differentiation, which this has not.
    """
    if pad and min(x.shape[1:3]) < 3:
        # Nor has it a fast form for a picture smaller than the kernel, and it takes
        # padding for a part of the convolution unless the two are kept apart.
        border = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        x, pad = jax.lax.optimization_barrier(jnp.pad(x, border)), 0
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _convolve_forward(
    x: jax.Array,
    kernel: jax.Array,
    turned: jax.Array,
    pad: int,
    precision: jax.lax.Precision,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    return convolve(x, kernel, turned, pad, precision), (x, kernel, turned)


def _convolve_backward(
    pad: int,
    precision: jax.lax.Precision,
    residuals: tuple[jax.Array, jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel, turned = residuals
    x_cotangent = convolve(cotangent, turned, kernel, 2 - pad, precision)
    # The picture is what is optimised, so the compiler drops the rest as dead
    # code; it is here because a wrong gradient would be worse than a slow one.
    patches = jax.lax.conv_general_dilated_patches(
        x,
        filter_shape=(3, 3),
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )  # [B, H, W, I * 9], the channel slowest
    kernel_cotangent = jnp.einsum(
        "bhwk,bhwo->ko", patches, cotangent, precision=precision
    ).reshape(kernel.shape[2], 3, 3, kernel.shape[3])
    return x_cotangent, kernel_cotangent.transpose(1, 2, 0, 3), jnp.zeros_like(turned)


convolve.defvjp(_convolve_forward, _convolve_backward)


class Convolution(nn.Module):
    """One 3×3 convolution of [H, W, I] with O outputs.

    Attributes:
      outputs: O.
      padding: a key of `PADDINGS`.
      numerics: precision and dtype.
    """

    outputs: int
    padding: str
    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype = jnp.dtype(self.numerics.feature_dtype)
        shape = (3, 3, x.shape[-1], self.outputs)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:]).astype(dtype)
        if self.has_variable("adjoint", "turned"):
            turned: jax.Array = self.get_variable("adjoint", "turned").astype(dtype)
        else:
            turned = turn(kernel)
        zeros = self.padding == "zeros"
        x = x.astype(dtype)
        if not zeros:
            mode = PADDINGS[self.padding]
            x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode=mode)
        precision = self.numerics.lax_precision
        x = convolve(x[None], kernel, turned, int(zeros), precision)[0]
        return x + bias[None, None]


class VGG19(nn.Module):
    """The trunk up to the deepest of `layers`; parameters are named like its convs."""

    layers: tuple[str, ...]
    pooling: str = "max"
    padding: str = "zeros"
    numerics: Numerics = Numerics()

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Features [h, w, c] at each layer of a preprocessed picture [H, W, 3]."""
        taps = {}
        for layer in LAYERS[: LAYERS.index(deepest_layer(self.layers)) + 1]:
            if layer.startswith("conv"):
                outputs = conv_shapes()[layer][1]
                x = Convolution(outputs, self.padding, self.numerics, name=layer)(x)
            elif layer.startswith("relu"):
                x = nn.relu(x)
            else:
                x = pool(x, self.pooling)
            if layer in self.layers:
                taps[layer] = x
        return taps


def features(
    params: Params,
    image: jax.Array,
    layers: Iterable[str | int],
    *,
    preprocessing: Preprocessing,
    pooling: str = "max",
    padding: str = "zeros",
    numerics: Numerics = Numerics(),
    adjoint: Params | None = None,
) -> dict[str, jax.Array]:
    """VGG-19's response to a picture.

    Args:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}.
      image: float [H, W, 3], sRGB in [0, 1].
      layers: the taps, by any name that `canonical_layer` knows.
      preprocessing: what the network that `params` belong to expects.
      pooling: "max", or "avg" (smoother pictures, as Gatys et al. advise).
      padding: "zeros", "reflect" or "replicate", at every convolution.
      numerics: precision of the convolutions and dtype of the features.
      adjoint: convolution name -> {"turned": turn(kernel)}; if given, gradients
        need not turn the kernels anew.

    Returns:
      Canonical layer name -> features [h, w, c].

    Raises:
      RequestError: a layer is unknown, or the picture too small to reach it.
    """
    taps = canonical_layers(layers)
    if not taps:
        return {}
    side = smallest_side(taps)
    if min(image.shape[:2]) < side:
        raise RequestError(
            f"a picture of {image.shape[1]}×{image.shape[0]} px does not reach "
            f"{deepest_layer(taps)}, which needs at least {side} px each way"
        )
    model = VGG19(taps, pooling, padding, numerics)
    variables = {"params": params, "adjoint": adjoint or {}}
    return model.apply(variables, preprocess(image, preprocessing))  # type: ignore


@record
class Network:
    """VGG-19 as an argument of a compiled program.

    A pytree whose leaves are the weights; what else `features` takes is static. Make
    one by `of`, which also turns the kernels: `adjoint` belongs to `params`, and
    gradients are taken with it.

    Attributes:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}.
      adjoint: convolution name -> {"turned": [3, 3, O, I]}, 52 MB to relu5_1.
      preprocessing: what is made of a picture before the first convolution.
      pooling: "max" or "avg".
      padding: "zeros", "reflect" or "replicate".
      numerics: precision of the convolutions and dtype of the features.
    """

    params: Params
    adjoint: Params
    preprocessing: Preprocessing = static()
    pooling: str = static(default="max")
    padding: str = static(default="zeros")
    numerics: Numerics = static(default=Numerics())

    @classmethod
    def of(
        cls,
        params: Params,
        preprocessing: Preprocessing,
        *,
        pooling: str = "max",
        padding: str = "zeros",
        numerics: Numerics = Numerics(),
        input_scale: float = 1.0,
        input_centred: bool = True,
    ) -> "Network":
        """The network with these weights, on the device.

        Args:
          params: as in `features`, like what is not named here.
          preprocessing: what the weights expect of a picture.
          input_scale: see `Preprocessing.fed`, with the next.
          input_centred: whether the mean is taken off.

        Raises:
          RequestError: there is no such pooling or padding, or the scale is not
            positive.
        """
        # Turned by NumPy, and put: `jnp` would compile a program for every shape.
        adjoint = {
            name: {"turned": turn(conv["kernel"])}  # type: ignore[arg-type]
            for name, conv in params.items()
        }
        params, adjoint = jax.device_put((dict(params), adjoint))
        return cls(params, adjoint, preprocessing).used(
            pooling=pooling,
            padding=padding,
            numerics=numerics,
            input_scale=input_scale,
            input_centred=input_centred,
        )

    def used(
        self,
        *,
        pooling: str = "max",
        padding: str = "zeros",
        numerics: Numerics = Numerics(),
        input_scale: float = 1.0,
        input_centred: bool = True,
    ) -> "Network":
        """These weights, not copied, used in another way; see `of`."""
        if pooling not in POOLINGS:
            raise RequestError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        if padding not in PADDINGS:
            raise RequestError(
                f"padding must be one of {tuple(PADDINGS)}, got {padding!r}"
            )
        return dataclasses.replace(
            self,
            preprocessing=self.preprocessing.fed(input_scale, input_centred),
            pooling=pooling,
            padding=padding,
            numerics=numerics,
        )

    def __call__(
        self, image: jax.Array, layers: Iterable[str | int]
    ) -> dict[str, jax.Array]:
        """`features` of one picture [H, W, 3]."""
        return features(
            self.params,
            image,
            layers,
            preprocessing=self.preprocessing,
            pooling=self.pooling,
            padding=self.padding,
            numerics=self.numerics,
            adjoint=self.adjoint,
        )
