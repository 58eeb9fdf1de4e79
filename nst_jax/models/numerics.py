"""How the arithmetic is done: one record, named in every manifest."""

import dataclasses

import jax

from nst_jax.core.errors import RequestError

PRECISIONS = {
    "highest": jax.lax.Precision.HIGHEST,
    "high": jax.lax.Precision.HIGH,
    "default": jax.lax.Precision.DEFAULT,
}
FEATURE_DTYPES = ("float32", "bfloat16", "float64")
CONVOLUTIONS = ("auto", "direct", "winograd")


@dataclasses.dataclass(frozen=True)
class Numerics:
    """Precision and determinism of a run.

    Attributes:
      precision: of convolutions and matrix products. "highest" is float32
        everywhere; "high" and "default" let GPUs use TF32 and TPUs bfloat16
        passes. A CPU computes all three alike.
      feature_dtype: in which the network computes. Statistics of the features
        are accumulated in float32 at least, whatever it is.
      convolution: "direct"; "winograd", fewer multiplications and ten times the
        rounding, see `nst_jax.winograd`; or "auto", which is the latter on a CPU in
        float32, where it is the faster one. A layer is computed in it if the pictures
        of a batch have pixels enough together, so that a batch may round otherwise
        than a picture alone. What libraries choose on a GPU is theirs.
      deterministic: the same bits run after run, process after process. On a GPU it
        forbids kernels whose result may differ from run to run, and the timing of
        kernels against each other, which may choose others in another process. A
        CPU needs neither.
      batch_invariant: the same bits whatever the batch that a member is in: what
        "vmap" would compute together is computed one after the other.
    """

    precision: str = "highest"
    feature_dtype: str = "float32"
    convolution: str = "auto"
    deterministic: bool = False
    batch_invariant: bool = False

    def __post_init__(self) -> None:
        for name in ("deterministic", "batch_invariant"):
            if not isinstance(getattr(self, name), bool):
                raise RequestError(
                    f"numerics.{name} must be True or False, "
                    f"got {getattr(self, name)!r}"
                )
        if self.precision not in PRECISIONS:
            raise RequestError(
                f"numerics.precision must be one of {tuple(PRECISIONS)}, "
                f"got {self.precision!r}"
            )
        if self.feature_dtype not in FEATURE_DTYPES:
            raise RequestError(
                f"numerics.feature_dtype must be one of {FEATURE_DTYPES}, "
                f"got {self.feature_dtype!r}"
            )
        if self.convolution not in CONVOLUTIONS:
            raise RequestError(
                f"numerics.convolution must be one of {CONVOLUTIONS}, "
                f"got {self.convolution!r}"
            )
        if self.convolution == "winograd" and self.feature_dtype != "float32":
            raise RequestError(
                "numerics.convolution='winograd' is for feature_dtype='float32', got "
                f"{self.feature_dtype!r}: its rounding is ten times that of 'direct'"
            )

    def resolve(self, backend: str) -> "Numerics":
        """The same with `convolution` decided for a backend: "cpu", "gpu" or "tpu"."""
        if self.convolution != "auto":
            return self
        pays = backend == "cpu" and self.feature_dtype == "float32"
        return dataclasses.replace(self, convolution="winograd" if pays else "direct")

    @property
    def lax_precision(self) -> jax.lax.Precision:
        return PRECISIONS[self.precision]

    @property
    def compiler_options(self) -> dict[str, bool | int]:
        """For the one top-level `jax.jit`; without effect where there is no GPU."""
        if not self.deterministic:
            return {}
        return {
            "xla_gpu_exclude_nondeterministic_ops": True,
            "xla_gpu_autotune_level": 0,
        }
