"""What a config may say of solver, batches, masks, smoothing and output."""

import dataclasses
import math
from typing import Any

import jax
import jax.extend.backend
import optax

from nst_jax.core.config_record import Fields, check_items, check_types
from nst_jax.core.draft import draft, undraft
from nst_jax.core.errors import RequestError, nearest
from nst_jax.core.image_array import PictureSource
from nst_jax.ensemble.strategies import STRATEGIES
from nst_jax.losses.guides import PROPAGATIONS
from nst_jax.optim.solvers import SOLVERS, Solver, as_solver

PROCESSES = ("inline", "subprocess")
#: Steps of a stage, which a program counts in 32 bits, and members of a batch.
MAX_STEPS, MAX_MEMBERS = 2**31 - 1, 2**16

# The flags read the annotations below as types: they must not be strings.


@dataclasses.dataclass
class SolverOptions(Fields):
    """Which solver, and its fields; None leaves a field at the solver's default.

    Attributes:
      name: "lbfgs" (jaxopt, with a line search), "lbfgs_fixed" (without one),
        "lbfgs_optax", "adam" or "sgd"; what the others mean, the classes in
        `nst_jax.optim.solvers` say. "custom" where `custom` is given.
      tolerance: stop moving a canvas whose gradient norm is not above it.
      averaging: the result is a running mean of the canvases, of which each step
        weighs that much more than the one after it; 0 for the last canvas alone,
        0.99 to calm Adam. Losses are of the last canvas all the same.
      custom: a solver of your own: an optax transformation, such as
        `optax.adan(0.02)`, or a record that derives from `Solver` or `OptaxSolver` of
        `nst_jax.optim.solvers`. Its fields of the same names take the values above.
    """

    name: str = "lbfgs"
    tolerance: float = 0.0
    averaging: float = 0.0
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
        if name == "custom" and value is not None:
            # A solver of another kind is refused by `solver`.
            refused = not isinstance(value, Solver | optax.GradientTransformation)
            value = value if refused else draft(as_solver(undraft(value)))
            if self.name == type(self).name:
                super().__setattr__("name", "custom")
        super().__setattr__(name, value)

    def __post_init__(self) -> None:
        check_types(self, "solver.")
        self.solver()

    def solver(self) -> Solver:
        """The solver that these options describe.

        Raises:
          RequestError: there is no such solver, or it has no such field.
        """
        custom = undraft(self.custom)
        if custom is not None:
            custom = as_solver(custom)
            if self.name != "custom":
                raise RequestError(
                    f"solver.name={self.name!r} and solver.custom are two solvers; "
                    "give one of them"
                )
        elif self.name not in SOLVERS:
            raise RequestError(
                f"solver.name must be one of {tuple(SOLVERS)}, got {self.name!r}"
                f"{nearest(self.name, SOLVERS)}"
            )
        if not 0 <= self.tolerance < float("inf"):
            raise RequestError(
                "solver.tolerance must be finite and not negative, "
                f"got {self.tolerance}"
            )
        if not 0 <= self.averaging < 1:
            raise RequestError(
                f"solver.averaging must be at least 0 and below 1, got {self.averaging}"
            )
        solver = SOLVERS[self.name] if custom is None else type(custom)
        title = self.name if custom is None else solver.__name__
        known = {field.name for field in dataclasses.fields(solver)}
        given = {
            field.name: value
            for field in dataclasses.fields(self)
            if field.name not in ("name", "tolerance", "averaging", "custom")
            and (value := getattr(self, field.name)) is not None
        }
        for field in given:
            if field not in known:
                raise RequestError(
                    f"solver.{field} is not a field of {title!r}, which has "
                    f"{', '.join(sorted(known))}"
                )
        if custom is None:
            return solver(**given)
        return dataclasses.replace(custom, **given)


@dataclasses.dataclass
class EnsembleOptions(Fields):
    """How the members of a run are computed.

    What a member is, is not said here: the same request, computed in another way.
    `Vary` over these fields is an axis of execution.

    Attributes:
      strategy: "vmap", "map", "loop", "shard" or "rows"; `nst_jax.strategies` tells
        them apart.
      batch_size: members held at a time, of which a batch that has fewer is filled
        up with copies; 0 for as many as there are and memory has room for.
      position: the place in its batch of a batch's first member.
      process: "inline", that of the run; "subprocess", one that runs the
        same command with no compiled program kept from before.
      platform: which kind of device computes, such as "cpu" or "gpu"; "" for JAX's
        default.
      repeat: which time it is done. It changes nothing, so that members which differ
        in it alone show what a repetition changes.
    """

    strategy: str = "vmap"
    batch_size: int = 0
    position: int = 0
    process: str = "inline"
    platform: str = ""
    repeat: int = 0

    def __post_init__(self) -> None:
        check_types(self, "ensemble.")
        self._check_values()

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        self._check_values()
        if self.platform:
            self._check_platform()

    def _check_values(self) -> None:
        for name, value, allowed in (
            ("strategy", self.strategy, STRATEGIES),
            ("process", self.process, PROCESSES),
        ):
            if value not in allowed:
                raise RequestError(
                    f"ensemble.{name} must be one of {allowed}, got {value!r}"
                    f"{nearest(value, allowed)}"
                )
        for name in ("batch_size", "position", "repeat"):
            if getattr(self, name) < 0:
                raise RequestError(
                    f"ensemble.{name} must be at least 0, got {getattr(self, name)}"
                )
        if self.batch_size > MAX_MEMBERS:
            raise RequestError(
                f"ensemble.batch_size must be at most {MAX_MEMBERS}, "
                f"got {self.batch_size}"
            )
        if self.position and self.strategy in ("loop", "rows"):
            raise RequestError(
                "ensemble.position is a place in a batch, and ensemble.strategy="
                f"{self.strategy!r} has none; got {self.position}"
            )
        if self.position and self.position >= self.batch_size:
            raise RequestError(
                f"ensemble.position is {self.position}, which needs a batch_size above "
                f"it, got {self.batch_size}"
            )

    def _check_platform(self) -> None:
        """Starts JAX's devices, which a cluster's processes have to wait with."""
        try:
            jax.local_devices(backend=self.platform)
        except RuntimeError:
            clients = jax.extend.backend.backends().values()
            devices = [device for own in clients for device in own.local_devices()]
            known = tuple(sorted({device.platform for device in devices}))
            raise RequestError(
                f"ensemble.platform must be one of {known} here, got "
                f"{self.platform!r}{nearest(self.platform, known)}"
            ) from None


@dataclasses.dataclass
class Masks(Fields):
    """Which part of the canvas is like which part of the styles.

    A mask is a picture of a few flat colours, of the proportions of its picture; each
    colour is a region, and regions of one colour belong together. A white figure on
    black is two. Colours within 16 of 255 levels of each other are one, so JPEG and
    soft edges do: a pixel on an edge goes to the nearest colour. A region is at least
    three pixels of its mask wide somewhere.

    Attributes:
      content: the content's mask; "" for none. A mask is the path of a picture, an
        array [H, W, 3] as a picture, or bool [H, W], False being black.
      styles: one a style picture. A region that no style has gets no style; a
        warning names it.
      propagation: how regions go down to the layers: "simple", "inside" or "all";
        `nst_jax.losses.guides` tells them apart.
      freeze: a mask of the content whose white is kept as the content is; what is
        half as bright or more in every channel is white.
    """

    content: PictureSource = ""
    styles: tuple[PictureSource, ...] = ()
    propagation: str = "simple"
    freeze: PictureSource = ""

    def __post_init__(self) -> None:
        check_types(self, "masks.")
        self.check(len(self.styles))

    def check(self, styles: int) -> None:
        """Raises RequestError if they do not fit so many styles."""
        check_items("masks.styles", self.styles, str, "a path as a string, or an array")
        if self.propagation not in PROPAGATIONS:
            raise RequestError(
                f"masks.propagation must be one of {PROPAGATIONS}, got "
                f"{self.propagation!r}{nearest(self.propagation, PROPAGATIONS)}"
            )
        if bool(self.content) != bool(self.styles):
            raise RequestError(
                "masks.content and masks.styles go together, got "
                f"{self.content!r} and {self.styles}"
            )
        if self.styles and len(self.styles) != styles:
            raise RequestError(
                f"masks.styles has {len(self.styles)} entries for {styles} style "
                "pictures"
            )


@dataclasses.dataclass
class Smoothing(Fields):
    """A last touch to a photograph: its style smoothed, but for the content's edges.

    `nst_jax.guided_filter`, of each result and snapshot, with the content as its guide;
    frozen pixels stay as they are. Losses are of the canvas before it.

    Attributes:
      radius: of its windows in pixels of the last stage's size, at coarser ones in
        proportion; 0 for none.
      eps: a variance, of pictures in [0, 1]: where the content varies by less in a
        window, the result is smoothed.
    """

    radius: int = 0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_types(self, "smoothing.")
        self.check()

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        if self.radius < 0:
            raise RequestError(
                f"smoothing.radius must be at least 0, got {self.radius}"
            )
        if not 1e-12 <= self.eps < math.inf:  # Less is nothing beside a variance.
            raise RequestError(
                f"smoothing.eps must be at least 1e-12 and finite, got {self.eps}"
            )


@dataclasses.dataclass
class OutputOptions(Fields):
    """What a run leaves on the way.

    None of it changes a result: a run that is given again may have other values, which
    hold from where it goes on.

    Attributes:
      log_every: steps between two rows of metrics.
      snapshot_every: steps between two pictures in `frames/`; 0 for none.
      snapshots: further steps to keep a picture of.
      exact: whether they are kept as they were computed too, as
        `frames/000025.npy`; what a comparison to the last bit needs.
      checkpoint_every: seconds between two checkpoints of a batch under way, which
        a run that was killed goes on from. Writing them takes a twentieth of the time
        at most, but for 0: one at each look. Infinite: at the ends of stages alone.
      keep_state: gigabytes of solver states of finished members that a run directory
        holds at most, so that these members can be given more `steps` later. Members
        without a state are then computed from their start. 0 keeps none; nor is a
        state kept that takes more than a quarter of the free disk.
      fps: pictures a second in the film of a member's making.
      quality: whether the report measures the pictures' quality, which takes a forward
        pass of the network a member.
    """

    log_every: int = 5
    snapshot_every: int = 0
    snapshots: tuple[int, ...] = ()
    exact: bool = False
    checkpoint_every: float = 60.0
    keep_state: float = 0.5
    fps: int = 12
    quality: bool = False

    def __post_init__(self) -> None:
        check_types(self, "output.")
        self.check()

    def check(self) -> None:
        """Raises RequestError if a field is outside what it allows."""
        for name, least, most in (
            ("log_every", 1, math.inf),
            ("snapshot_every", 0, math.inf),
            ("checkpoint_every", 0, math.inf),
            ("keep_state", 0, math.inf),
            ("fps", 1, 240),
        ):
            number = getattr(self, name)
            if not number >= least:
                raise RequestError(
                    f"output.{name} must be at least {least}, got {number}"
                )
            if number > most:
                raise RequestError(
                    f"output.{name} must be at most {most}, got {number}"
                )
        check_items(
            "output.snapshots", self.snapshots, int, "a step, an integer from 0"
        )
        if min(self.snapshots, default=0) < 0:
            raise RequestError(f"output.snapshots must be from 0, got {self.snapshots}")

    def snapshot_steps(self, steps: int) -> tuple[int, ...]:
        """All steps up to `steps` that a picture is kept of, ascending."""
        regular = (
            range(0, steps + 1, self.snapshot_every) if self.snapshot_every else ()
        )
        return tuple(sorted({s for s in (*self.snapshots, *regular) if s <= steps}))
