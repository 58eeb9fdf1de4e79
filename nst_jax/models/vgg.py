"""VGG-19 and its relatives as pure functions of their weights and one image.

The trunk of Simonyan & Zisserman 2015 (arXiv 1409.1556): 3×3 convolutions in five
blocks, a ReLU after each convolution, a 2×2 pooling after each block. `layers.TRUNKS`
lists the networks. Each layer can be tapped; computation ends at the deepest tap.
"""

import concurrent.futures
import dataclasses
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
from nst_jax.core.validation import check_choice
from nst_jax.models.convolution import convolve, flip_kernel, relu, transform
from nst_jax.models.layers import (
    CONVS,
    canonical_layers,
    check_layers,
    computed_layers,
    conv_shapes,
    deepest_layer,
    find_trunk,
    smallest_side,
)
from nst_jax.models.numerics import Numerics
from nst_jax.models.preprocessing import Preprocessing, preprocess

Params = Mapping[str, Mapping[str, np.ndarray | jax.Array]]
#: Convolution name -> other forms of its kernel; see `prepare`.
Prepared = Mapping[str, Mapping[str, Any]]


POOLINGS = ("max", "avg")
#: Pooling of an odd last row or column: a partial window ("ceil") or none ("floor").
ROUNDINGS = ("ceil", "floor")
#: Padding of every convolution, and `jnp.pad`'s name for it.
PADDINGS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def _check_options(pooling: str, padding: str, pool_rounding: str) -> None:
    check_choice("pooling", pooling, POOLINGS)
    check_choice("pool_rounding", pool_rounding, ROUNDINGS)
    check_choice("padding", padding, PADDINGS)


def pool(x: jax.Array, pooling: str, rounding: str = "ceil") -> jax.Array:
    """Pool [H, W, C] over 2×2 windows with stride 2.

    Args:
      x: feature map.
      pooling: one of `POOLINGS`.
      rounding: one of `ROUNDINGS`. With "ceil", a window that crosses the border has
        the maximum of the values inside, or their sum over 4: zeros outside, as in a
        convolution, so that each position keeps the weight ¼. A mean of the values
        inside would weigh the last column up to 1.8 times as much as the first.

    Returns:
      [⌈H/2⌉, ⌈W/2⌉, C], or [⌊H/2⌋, ⌊W/2⌋, C] with "floor".

    Four strided slices avoid select-and-scatter, whose gradient is not deterministic
    on a GPU, and are fastest on a CPU. Values that tie for the maximum share the
    gradient: ½ each, or ¼ each if all four tie. Library poolings give it to the first.
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
    """Return the kernels in the forms that `convolve` needs.

    Returns:
      Convolution name -> {"flipped": `flip_kernel(kernel)`} in the dtype of the
      features. If that is not the dtype of the kernel, "kernel" is the kernel in it, so
      that no step converts it. If `numerics` selects Winograd's form and the
      convolution has enough channels, "transformed" too, see `convolution.transform`.
      To save memory, it ends at `conv5_1`, the deepest of the usual style layers.
    """
    dtype = jnp.dtype(numerics.feature_dtype)

    # NumPy, because `jnp` would compile a program for every shape.
    def forms(name: str) -> dict[str, Any]:
        kernel = np.asarray(params[name]["kernel"])
        converted = kernel.astype(dtype, copy=False)
        prepared = {"flipped": flip_kernel(converted)}  # type: ignore[arg-type]
        if converted is not kernel:
            prepared["kernel"] = converted  # type: ignore[assignment]
        is_usual = CONVS.index(name) <= CONVS.index("conv5_1")
        use_winograd = is_usual and numerics.convolution == "winograd"
        transformed = transform(kernel) if use_winograd else None
        return (
            prepared if transformed is None else prepared | {"transformed": transformed}
        )

    # The work is bound by memory latency, which threads hide.
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
        # Weights are always loaded; Flax traces an initialiser to check their shapes.
        zeros_init = nn.initializers.zeros
        kernel = self.param("kernel", zeros_init, shape)
        bias = self.param("bias", zeros_init, shape[-1:]).astype(dtype)
        prepared: Mapping[str, Any] = self.variables.get("prepared", {})
        kernel = prepared.get("kernel", kernel).astype(dtype)
        flipped = prepared["flipped"].astype(dtype) if prepared else flip_kernel(kernel)
        transformed = prepared.get("transformed")
        if self.numerics.convolution != "winograd":
            transformed = None
        zeros = self.padding == "zeros"
        x = x.astype(dtype)
        if not zeros:
            x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode=PADDINGS[self.padding])
        precision = self.numerics.lax_precision
        x = convolve(x[None], kernel, flipped, transformed, int(zeros), precision)[0]
        return x + bias[None, None]


class VGG(nn.Module):
    """The trunk up to the deepest of `layers`; parameters are named like its convs."""

    trunk: str
    layers: tuple[str, ...]
    pooling: str = "max"
    padding: str = "zeros"
    numerics: Numerics = Numerics()
    pool_rounding: str = "ceil"

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Return features [h, w, c] per layer of a preprocessed image [H, W, 3]."""
        taps = {}
        for layer in computed_layers(self.layers, self.trunk):
            if layer.startswith("conv"):
                outputs = conv_shapes(self.trunk)[layer][1]
                x = Convolution(outputs, self.padding, self.numerics, name=layer)(x)
            elif layer.startswith("relu"):
                x = relu(x)
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
    """Return a network's features of an image.

    Args:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}; or a
        `Network`, which brings its own options: all that follow `layers` are ignored.
      image: [H, W, 3], sRGB: floats in [0, 1], uint8 or uint16.
      layers: layers to tap, by any name that `canonical_layer` accepts.
      preprocessing: input that `params` were trained for; needed unless `params` is a
        `Network`.
      pooling: "max", or "avg" (smoother images, as Gatys et al. advise).
      padding: "zeros", "reflect" or "replicate", at every convolution.
      numerics: precision of the convolutions and dtype of the features.
      prepared: `prepare(params, numerics)`, which saves flipping the kernels in every
        gradient and enables Winograd's form.
      pool_rounding: "ceil" or "floor", see `pool`.

    Returns:
      Canonical layer name -> features [h, w, c].

    Raises:
      RequestError: a layer or option is unknown, the network lacks a layer, the
        preprocessing is missing, or the image is invalid or too small to reach a layer.
    """
    if isinstance(params, Network):
        return params(image, layers)
    if not isinstance(preprocessing, Preprocessing):
        raise RequestError(
            "preprocessing must be the nst_jax.Preprocessing of the weights, got "
            f"{preprocessing!r}"
        )
    _check_options(pooling, padding, pool_rounding)
    options = pooling, padding, numerics, None, pool_rounding
    network = Network(params, prepared or {}, preprocessing, *options)
    array = jnp.asarray(as_picture(image, "image", optimised=True, nan=True))
    return _apply(network, array, canonical_layers(layers))


@record
class Network:
    """A network as an argument of a compiled program: a pytree of its weights.

    Create one with `from_params`, which also prepares the kernels. `prepared` must
    belong to `params`: gradients are computed with it.

    Attributes:
      params: convolution name -> {"kernel": [3, 3, I, O], "bias": [O]}.
      prepared: the kernels in other forms, see `prepare`: 52 MB up to relu5_1, and 400
        MB more for Winograd's form. In bfloat16 it also holds the kernels themselves.
      preprocessing: input that the weights were trained for.
      pooling: "max" or "avg".
      padding: "zeros", "reflect" or "replicate".
      numerics: precision of the convolutions and dtype of the features.
      layout: sharding of an image [H, W, 3] and so of its features; None to keep the
        image's own.
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
        cls, params: Params, preprocessing: Preprocessing, **options: Any
    ) -> "Network":
        """Return a network with these weights, on the device.

        Args:
          params: see `features`.
          preprocessing: input that the weights were trained for.
          **options: arguments of `with_options`.

        Raises:
          RequestError: an option is unknown, or `input_scale` is not positive.
        """
        network = cls(params, {}, preprocessing).with_options(**options)
        return dataclasses.replace(network, params=jax.device_put(dict(params)))

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
        """Return a network with the same weights and other options.

        The weights are shared, and prepared again only if `numerics.convolution` or
        `numerics.feature_dtype` changes. The arguments are those of `features` and
        `Preprocessing.rescaled`.

        Raises:
          RequestError: an option is unknown, or `input_scale` is not positive.
        """
        _check_options(pooling, padding, pool_rounding)
        preprocessing = self.preprocessing.rescaled(input_scale, input_centred)
        numerics = numerics.resolve(jax.default_backend())
        prepared = self.prepared
        forms = numerics.convolution, numerics.feature_dtype
        if forms != (self.numerics.convolution, self.numerics.feature_dtype):
            prepared = jax.device_put(prepare(self.params, numerics))
        return dataclasses.replace(
            self,
            prepared=prepared,
            preprocessing=preprocessing,
            pooling=pooling,
            padding=padding,
            numerics=numerics,
            pool_rounding=pool_rounding,
        )

    @property
    def trunk(self) -> str:
        """Name of the smallest network that has the convolutions of `params`."""
        return find_trunk(self.params)

    def __call__(
        self, image: ArrayLike, layers: Iterable[str | int]
    ) -> dict[str, jax.Array]:
        """Return `features` of an image [H, W, 3]."""
        array = jnp.asarray(as_picture(image, "image", optimised=True, nan=True))
        return _jitted_apply(self, array, canonical_layers(layers))


def _apply(
    network: Network, image: jax.Array, layers: tuple[str, ...]
) -> dict[str, jax.Array]:
    if not layers:
        return {}
    check_layers(layers, network.trunk)
    side = smallest_side(layers)
    if min(image.shape[:2]) < side:
        raise RequestError(
            f"an image of {image.shape[1]}×{image.shape[0]} px does not reach "
            f"{deepest_layer(layers)}, which needs at least {side} px each way"
        )
    if network.layout is not None:
        image = jax.lax.with_sharding_constraint(image, network.layout)
    options = network.padding, network.numerics, network.pool_rounding
    model = VGG(network.trunk, layers, network.pooling, *options)
    variables = {"params": network.params, "prepared": network.prepared}
    return model.apply(variables, preprocess(image, network.preprocessing))  # type: ignore


_jitted_apply = jax.jit(_apply, static_argnums=2)  # Traced once per image size.
