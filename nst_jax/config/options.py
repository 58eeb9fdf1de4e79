"""Config records of the solver, ensemble, masks, smoothing and output."""

import dataclasses
import math
from typing import Annotated, Any, Literal

import jax
import jax.extend.backend
import optax

from nst_jax.core.config_record import ConfigRecord
from nst_jax.core.errors import RequestError
from nst_jax.core.image_array import PictureSource
from nst_jax.core.validation import Range, check_choice
from nst_jax.optim.solvers import SOLVERS, Solver, as_solver

#: Programs count steps in int32.
MAX_STEPS = 2**31 - 1
Count = Annotated[int, Range(0)]


@dataclasses.dataclass
class SolverOptions(ConfigRecord, path="solver"):
    """Solver and its fields; None keeps the solver's default.

    Attributes:
      name: "lbfgs" (jaxopt, with a line search), "lbfgs_fixed" (without one),
        "lbfgs_optax", "adam", "sgd", or "custom" with the field `custom`. The classes
        in `nst_jax.optim.solvers` document the fields.
      tolerance: a canvas stops moving when its gradient norm is at most this.
      averaging: decay of the exponential moving average of canvases that is the result;
        0 returns the last canvas. 0.99 smooths Adam. Losses are of the last canvas.
      custom: an optax transformation, such as `optax.adan(0.02)`, or a record derived
        from `Solver` or `OptaxSolver` of `nst_jax.optim.solvers`. The options above
        replace its fields of the same names.
    """

    name: Literal["lbfgs", "lbfgs_fixed", "lbfgs_optax", "adam", "sgd", "custom"] = (
        "lbfgs"
    )
    tolerance: Annotated[float, Range(0, below=math.inf)] = 0.0
    averaging: Annotated[float, Range(0, below=1)] = 0.0
    history_size: int | None = None
    line_search: str | None = None
    max_line_search_steps: int | None = None
    max_step: float | None = None
    first_step: float | None = None
    learning_rate: float | None = None
    b1: float | None = None
    b2: float | None = None
    eps: float | None = None
    schedule: str | None = None
    decay_rate: float | None = None
    decay_steps: int | None = None
    clip: bool | None = None
    custom: object = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "custom" and isinstance(
            value, Solver | optax.GradientTransformation
        ):
            value = as_solver(value)
            if self.name == type(self).name:
                super().__setattr__("name", "custom")
        super().__setattr__(name, value)

    def check_relations(self) -> None:
        self.solver()

    def solver(self) -> Solver:
        """Return the solver that these options describe.

        Raises:
          RequestError: the solver has no field of that name, or refuses its value.
        """
        solver: Any
        title: str = self.name
        if self.custom is None:
            if self.name == "custom":
                raise RequestError("solver.name='custom' needs solver.custom, got None")
            solver = SOLVERS[self.name]()
        else:
            solver = as_solver(self.custom)
            title = type(solver).__name__
            if self.name != "custom":
                raise RequestError(
                    f"solver.name={self.name!r} and solver.custom are two solvers; "
                    "give one of them"
                )
        names = sorted(field.name for field in dataclasses.fields(solver))
        options = {
            name: value
            for name, value in vars(self).items()
            if name not in ("name", "tolerance", "averaging", "custom")
            and value is not None
        }
        for name in options:
            if name not in names:
                raise RequestError(
                    f"solver.{name} is not a field of {title!r}, which has "
                    f"{', '.join(names)}"
                )
        return dataclasses.replace(solver, **options)


@dataclasses.dataclass
class EnsembleOptions(
    ConfigRecord,
    path="ensemble",
    renamed={
        "process='own'": "process='inline'",
        "process='fresh'": "process='subprocess'",
    },
):
    """Execution of the members: batching, process and device.

    No field changes the request. `Vary` over a field compares ways of execution.

    Attributes:
      strategy: how a batch is computed; see `nst_jax.ensemble.strategies`.
      batch_size: members in a batch; a smaller batch is filled with copies. 0 takes as
        many members as there are and fit into memory.
      position: index in its batch of the first member.
      process: "inline" for the process of the run; "subprocess" for a new process that
        runs the same command with an empty compilation cache.
      platform: kind of device, such as "cpu" or "gpu"; "" for JAX's default.
      repeat: number of the repetition. It has no effect; members that differ only in
        `repeat` measure the noise floor.
    """

    strategy: Literal["vmap", "shard", "map", "loop", "rows"] = "vmap"
    batch_size: Annotated[int, Range(0, 2**16)] = 0
    position: Count = 0
    process: Literal["inline", "subprocess"] = "inline"
    platform: str = ""
    repeat: Count = 0

    def check_relations(self) -> None:
        if self.position and self.strategy in ("loop", "rows"):
            raise RequestError(
                f"ensemble.position={self.position} needs a batch, and "
                f"ensemble.strategy={self.strategy!r} has none"
            )
        if self.position and self.position >= self.batch_size:
            raise RequestError(
                "ensemble.position must be below ensemble.batch_size, got "
                f"{self.position} and {self.batch_size}"
            )

    def check_platform(self) -> None:
        """Raise RequestError if this machine has no device of the platform.

        Initialises JAX's backends, which processes of a cluster must do together.
        """
        if not self.platform:
            return
        try:
            jax.local_devices(backend=self.platform)
        except RuntimeError:
            clients = jax.extend.backend.backends().values()
            platforms = {
                d.platform for client in clients for d in client.local_devices()
            }
            check_choice("ensemble.platform", self.platform, sorted(platforms))


@dataclasses.dataclass
class Masks(ConfigRecord, path="masks"):
    """Regions of the canvas and of the styles that correspond, and frozen pixels.

    A mask is a picture of a few flat colours with its picture's aspect ratio. Each
    colour is a region. Regions of one colour correspond, so a white figure on black
    makes two regions. Colours within 16 of 255 levels are merged and pixels at an edge
    take the nearest colour, so that JPEG and soft edges work. A region must be three
    mask pixels wide somewhere.

    Attributes:
      content: the content's mask; "" for none. A mask is a picture's path, an array
        [H, W, 3], or bool [H, W] with False for black.
      styles: one mask for each style picture. A region of the content that no style
        has gets no style, with a warning.
      propagation: how masks are downsampled to the layers: "simple", "inside" or "all";
        see `nst_jax.losses.guides`.
      freeze: a mask of the content whose white pixels keep the content. White means at
        least half of the full level in every channel.
    """

    content: PictureSource = ""
    styles: tuple[PictureSource, ...] = ()
    propagation: Literal["simple", "inside", "all"] = "simple"
    freeze: PictureSource = ""

    def check_relations(self) -> None:
        if bool(self.content) != bool(self.styles):
            raise RequestError(
                "masks.content and masks.styles go together, got "
                f"{self.content!r} and {self.styles}"
            )


@dataclasses.dataclass
class Smoothing(ConfigRecord, path="smoothing"):
    """Edge-preserving smoothing of the results and snapshots of a photograph.

    Applies `nst_jax.images.guided_filter` with the content as guide. Frozen pixels keep
    their values. Losses are of the canvas before smoothing.

    Attributes:
      radius: of the filter's windows, in pixels of the last stage; coarser stages scale
        it down. 0 for no smoothing.
      eps: variance of [0, 1] pictures. The result is smoothed where the content varies
        by less within a window.
    """

    radius: Count = 0
    #: Float32 loses a smaller eps beside a variance.
    eps: Annotated[float, Range(1e-12, below=math.inf)] = 1e-3


@dataclasses.dataclass
class OutputOptions(ConfigRecord, path="output"):
    """Files that a run writes.

    No field changes a result. A resumed run may have other values.

    Attributes:
      log_every: steps between two rows of metrics.
      snapshot_every: steps between two pictures in `frames/`; 0 for none.
      snapshots: further steps at which a picture is written.
      exact: also write each snapshot as float32, such as `frames/000025.npy`, for
        bitwise comparison.
      checkpoint_every: seconds between two checkpoints of a batch. Checkpoints take
        at most a twentieth of the time. 0 writes one after each chunk of steps;
        infinity only at the end of a stage.
      keep_state: gigabytes of solver states of finished members to keep, so that more
        `steps` can be added later; members without a state restart. 0 keeps none. A
        state larger than a quarter of the free disk is not kept.
      fps: frames a second of the film of a member's snapshots.
      quality: measure the quality of the pictures in the report, by a few passes of
        the network a member.
      gradients: measure the gradient of each part of the loss at the start and at the
        end, for the report. It costs two gradients a part and member. With `tile` it
        has no effect, nor for members to which an axis adds `canvas.ulps`.
    """

    log_every: Annotated[int, Range(1)] = 5
    snapshot_every: Count = 0
    snapshots: tuple[Count, ...] = ()
    exact: bool = False
    checkpoint_every: Annotated[float, Range(0)] = 60.0
    keep_state: Annotated[float, Range(0)] = 0.5
    fps: Annotated[int, Range(1, 240)] = 12
    quality: bool = False
    gradients: bool = False

    def snapshot_steps(self, steps: int) -> tuple[int, ...]:
        """Return the steps up to `steps` with a snapshot, ascending."""
        every = self.snapshot_every
        regular = range(0, steps + 1, every) if every else ()
        return tuple(sorted({s for s in (*self.snapshots, *regular) if s <= steps}))
