"""Precision and determinism of a run, recorded in every manifest."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax

from nst_jax.core.errors import RequestError
from nst_jax.core.validation import check_fields

T = TypeVar("T")
ConvolutionForm = Literal["auto", "direct", "winograd"]
_PRECISIONS = {
    "highest": jax.lax.Precision.HIGHEST,
    "high": jax.lax.Precision.HIGH,
    "default": jax.lax.Precision.DEFAULT,
}


@dataclasses.dataclass(frozen=True)
class Numerics:
    """Precision and determinism of a run.

    Attributes:
      precision: of convolutions and matrix products. "highest" is float32
        everywhere; "high" and "default" let GPUs use TF32 and TPUs bfloat16
        passes. A CPU computes all three alike.
      feature_dtype: dtype of the network's features. Their statistics are
        accumulated in float32 at least.
      convolution: "direct"; "winograd", with fewer multiplications and ten times the
        rounding error, see `nst_jax.models.winograd`; or "auto": "winograd" on a CPU
        in float32, where it is faster, else "direct". A layer uses Winograd's form
        if the whole batch has enough pixels, so rounding may depend on the batch
        size. On a GPU the vendor's library chooses its own algorithm.
      deterministic: the same bits in every run. On a GPU it excludes nondeterministic
        kernels. A CPU has none.
      batch_invariant: the same bits for a member whatever its batch: members that
        "vmap" would compute together are computed one after the other.
    """

    precision: Literal["highest", "high", "default"] = "highest"
    feature_dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    convolution: ConvolutionForm = "auto"
    deterministic: bool = False
    batch_invariant: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "numerics.")
        if self.convolution == "winograd" and self.feature_dtype != "float32":
            raise RequestError(
                "numerics.convolution='winograd' needs feature_dtype='float32', got "
                f"{self.feature_dtype!r}"
            )

    def resolve(self, backend: str) -> "Numerics":
        """Replace "auto" by the convolution for a backend: "cpu", "gpu" or "tpu"."""
        if self.convolution != "auto":
            return self
        is_faster = backend == "cpu" and self.feature_dtype == "float32"
        return dataclasses.replace(
            self, convolution="winograd" if is_faster else "direct"
        )

    @property
    def lax_precision(self) -> jax.lax.Precision:
        return _PRECISIONS[self.precision]

    @property
    def compiler_options(self) -> dict[str, bool]:
        """Options of a top-level `jax.jit`; they affect only GPUs.

        Autotuning stays on: without it cuDNN has no chosen algorithm.
        """
        if not self.deterministic:
            return {}
        return {"xla_gpu_exclude_nondeterministic_ops": True}

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function, compiled with `compiler_options` once for each shape.

        With traced arguments it becomes a part of the outer program and takes that
        program's options: JAX accepts options at the top level only.
        """
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
            return _jitted(function, ())(*args)
        with jax.ensure_compile_time_eval():
            return _jitted(function, (*self.compiler_options.items(),))(*args)


@functools.cache
def _jitted(function: Callable, options: tuple[tuple[str, bool], ...]) -> Callable:
    return jax.jit(function, compiler_options=dict(options))
