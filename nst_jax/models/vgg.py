"""VGG-19 as a pure function of its weights and one picture.

The trunk of Simonyan & Zisserman 2015 (arXiv 1409.1556), configuration E:
sixteen 3×3 convolutions in five blocks, a ReLU after each, a 2×2 pooling after
each block. Every one of these 37 stages can be tapped; the network ends at the
deepest tap that is asked for.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import as_picture
from nst_jax.core.pytree import record, static
from nst_jax.models.convolution import convolve, flip_kernel, transform
from nst_jax.models.layers import (
    CONVS,
    LAYERS,
    canonical_layers,
    conv_shapes,
    deepest_layer,
    smallest_side,
)
from nst_jax.models.numerics import Numerics
from nst_jax.models.preprocessing import Preprocessing, preprocess

Params = Mapping[str, Mapping[str, np.ndarray | jax.Array]]
#: Convolution name -> its kernel in other forms; see `prepare`.
Prepared = Mapping[str, Mapping[str, Any]]


POOLINGS = ("max", "avg")
#: What pooling makes of an odd last row or column: "ceil" pools what is there; "floor"
#: drops it.
ROUNDINGS = ("ceil", "floor")
#: How a convolution sees beyond the border, and `jnp.pad`'s name for it.
PADDINGS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def check_names(pooling: str, padding: str, pool_rounding: str) -> None:
    """Raise RequestError unless there are options of these names."""
    for name, value, allowed in (
        ("pooling", pooling, POOLINGS),
        ("pool_rounding", pool_rounding, ROUNDINGS),
        ("padding", padding, tuple(PADDINGS)),
    ):
        if value not in allowed:
            raise RequestError(f"{name} must be one of {allowed}, got {value!r}")


def pool(x: jax.Array, pooling: str, rounding: str = "ceil") -> jax.Array:
    """2×2 pooling with stride 2 of [H, W, C].

    Args:
      pooling: one of `POOLINGS`.
      rounding: one of `ROUNDINGS`. With "ceil" a window that reaches beyond the
        picture has the maximum of the values inside, or a quarter of their sum. The
        latter has zeros outside, as a convolution has, and gives each pixel the weight
        ¼ that it has elsewhere: a mean of the values inside would pull the last column
        up to 1.8 times as hard as the first.

    Returns:
      [⌈H/2⌉, ⌈W/2⌉, C], or [⌊H/2⌋, ⌊W/2⌋, C] with "floor".

    Written as four strided slices: nothing here lowers to select-and-scatter,
    whose gradient is not deterministic on a GPU, and it is the fastest form on a
    CPU. Where values tie for the maximum, the gradient is shared between them in
    halves (¼ each if all four tie), while library poolings send all of it to the
    first: the shared one is the kinder subgradient on flat colour.
    """
    odd = x.shape[0] % 2, x.shape[1] % 2
    if rounding == "ceil" and any(odd):
        mode = "edge" if pooling == "max" else "constant"
        x = jnp.pad(x, ((0, odd[0]), (0, odd[1]), (0, 0)), mode=mode)
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    a, b, c, d = (x[i:height:2, j:width:2] for i in (0, 1) for j in (0, 1))
    if pooling == "max":
        return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    return (a + b + c + d) / 4


def prepare(params: Params, numerics: Numerics) -> Prepared:
    """The kernels in the forms that are computed with.

    Returns:
      Convolution name -> {"turned": `flip_kernel(kernel)`}, and if the numerics ask for
      Winograd's form and it pays, "transformed": see `convolution.transform`. Beyond
      `conv5_1`, the deepest of the usual style layers, none is, to spare memory.
    """

    # By NumPy: `jnp` would compile a program for every shape.
    def forms(name: str) -> dict[str, Any]:
        kernel = np.asarray(params[name]["kernel"])
        turned = {"turned": flip_kernel(kernel)}  # type: ignore[arg-type]
        usual = CONVS.index(name) <= CONVS.index("conv5_1")
        wanted = usual and numerics.convolution == "winograd"
        transformed = transform(kernel) if wanted else None
        return turned if transformed is None else turned | {"transformed": transformed}

    # Most of the time goes to fetching memory, which threads do beside each other.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        return dict(zip(params, threads.map(forms, params), strict=True))


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
        prepared: Mapping[str, Any] = self.variables.get("prepared", {})
        turned = prepared["turned"].astype(dtype) if prepared else flip_kernel(kernel)
        transformed = prepared.get("transformed")
        if self.numerics.convolution != "winograd":
            transformed = None
        zeros = self.padding == "zeros"
        x = x.astype(dtype)
        if not zeros:
            mode = PADDINGS[self.padding]
            x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode=mode)
        precision = self.numerics.lax_precision
        x = convolve(x[None], kernel, turned, transformed, int(zeros), precision)[0]
        return x + bias[None, None]


class VGG19(nn.Module):
    """The trunk up to the deepest of `layers`; parameters are named like its convs."""

    layers: tuple[str, ...]
    pooling: str = "max"
    padding: str = "zeros"
    numerics: Numerics = Numerics()
    pool_rounding: str = "ceil"

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
                x = pool(x, self.pooling, self.pool_rounding)
            if layer in self.layers:
                taps[layer] = x
        return taps


def features(
    params: "Params | Network",
    image: ArrayLike,
    layers: Iterable[str | int],
    *,
    preprocessing: Preprocessing | None = None,
    pooling: str = "max",
    padding: str = "zeros",
    numerics: Numerics = Numerics(),
    prepared: Prepared | None = None,
    pool_rounding: str = "ceil",
) -> dict[str, jax.Array]:
    """VGG-19's response to a picture.

    Args:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}; or a
        `Network`, which has all that follows `layers`.
      image: [H, W, 3], sRGB: floats, whose white is 1, uint8 or uint16.
      layers: the taps, by any name that `canonical_layer` knows.
      preprocessing: what the network that `params` belong to expects; needed with
        `params` that are not a `Network`.
      pooling: "max", or "avg" (smoother pictures, as Gatys et al. advise).
      padding: "zeros", "reflect" or "replicate", at every convolution.
      numerics: precision of the convolutions and dtype of the features.
      prepared: `prepare(params)`; if given, gradients need not turn the kernels anew,
        and `numerics.convolution` may be Winograd's.
      pool_rounding: "ceil" or "floor", see `pool`.

    Returns:
      Canonical layer name -> features [h, w, c].

    Raises:
      RequestError: a layer is unknown, the picture is none or too small to reach it,
        or there is no preprocessing, pooling or padding of that name.
    """
    if isinstance(params, Network):
        return params(image, layers)
    taps = canonical_layers(layers)
    if not taps:
        return {}
    if not isinstance(preprocessing, Preprocessing):
        raise RequestError(
            "preprocessing must be the nst_jax.Preprocessing of the weights, got "
            f"{preprocessing!r}"
        )
    check_names(pooling, padding, pool_rounding)
    image = jnp.asarray(as_picture(image, "image", optimised=True, nan=True))
    side = smallest_side(taps)
    if min(image.shape[:2]) < side:
        raise RequestError(
            f"a picture of {image.shape[1]}×{image.shape[0]} px does not reach "
            f"{deepest_layer(taps)}, which needs at least {side} px each way"
        )
    model = VGG19(taps, pooling, padding, numerics, pool_rounding)
    variables = {"params": params, "prepared": prepared or {}}
    return model.apply(variables, preprocess(image, preprocessing))  # type: ignore


@record
class Network:
    """VGG-19 as an argument of a compiled program.

    A pytree whose leaves are the weights; what else `features` takes is static. Make
    one by `of`, which also prepares the kernels: `prepared` belongs to `params`, and
    gradients are taken with it.

    Attributes:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}.
      prepared: the kernels in other forms, see `prepare`: to relu5_1 52 MB, and where
        Winograd's is used 400 MB more.
      preprocessing: what is made of a picture before the first convolution.
      pooling: "max" or "avg".
      padding: "zeros", "reflect" or "replicate".
      numerics: precision of the convolutions and dtype of the features.
      layout: how a picture [H, W, 3], and with it all that is made of it, lies on
        devices; None for wherever it lies.
      pool_rounding: "ceil" or "floor", see `pool`.
    """

    params: Params
    prepared: Prepared
    preprocessing: Preprocessing = static()
    pooling: str = static(default="max")
    padding: str = static(default="zeros")
    numerics: Numerics = static(default=Numerics())
    layout: jax.sharding.Sharding | None = static(default=None)
    pool_rounding: str = static(default="ceil")

    @classmethod
    def from_params(
        cls,
        params: Params,
        preprocessing: Preprocessing,
        *,
        pooling: str = "max",
        padding: str = "zeros",
        numerics: Numerics = Numerics(),
        input_scale: float = 1.0,
        input_centred: bool = True,
        pool_rounding: str = "ceil",
    ) -> "Network":
        """The network with these weights, on the device.

        Args:
          params: as in `features`, like what is not named here.
          preprocessing: what the weights expect of a picture.
          input_scale: see `Preprocessing.fed`, with the next.
          input_centred: whether the mean is taken off.

        Raises:
          RequestError: there is no such pooling, rounding or padding, or the scale
            is not positive.
        """
        numerics = numerics.resolve(jax.default_backend())
        prepared = prepare(params, numerics)
        params, prepared = jax.device_put((dict(params), prepared))
        return cls(params, prepared, preprocessing, numerics=numerics).with_options(
            pooling=pooling,
            padding=padding,
            numerics=numerics,
            input_scale=input_scale,
            input_centred=input_centred,
            pool_rounding=pool_rounding,
        )

    def with_options(
        self,
        *,
        pooling: str = "max",
        padding: str = "zeros",
        numerics: Numerics = Numerics(),
        input_scale: float = 1.0,
        input_centred: bool = True,
        pool_rounding: str = "ceil",
    ) -> "Network":
        """These weights, used in another way; see `of`.

        They are not copied, but prepared anew if `numerics.convolution` is another.
        """
        check_names(pooling, padding, pool_rounding)
        numerics = numerics.resolve(jax.default_backend())
        prepared = self.prepared
        if numerics.convolution != self.numerics.convolution:
            prepared = jax.device_put(prepare(self.params, numerics))
        return dataclasses.replace(
            self,
            prepared=prepared,
            preprocessing=self.preprocessing.rescaled(input_scale, input_centred),
            pooling=pooling,
            padding=padding,
            numerics=numerics,
            pool_rounding=pool_rounding,
        )

    def __call__(
        self, image: ArrayLike, layers: Iterable[str | int]
    ) -> dict[str, jax.Array]:
        """`features` of one picture [H, W, 3]."""
        checked = as_picture(image, "image", optimised=True, nan=True)
        return _of_network(self, jnp.asarray(checked), canonical_layers(layers))


@functools.partial(jax.jit, static_argnums=2)  # Traced once for pictures of one size.
def _of_network(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, jax.Array]:
    if network.layout is not None:
        image = jax.lax.with_sharding_constraint(image, network.layout)
    return features(
        network.params,
        image,
        layers,
        preprocessing=network.preprocessing,
        pooling=network.pooling,
        padding=network.padding,
        numerics=network.numerics,
        prepared=network.prepared,
        pool_rounding=network.pool_rounding,
    )
