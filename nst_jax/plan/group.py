"""Members that one compiled program serves."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.config.experiment import Experiment, Member
from nst_jax.core.representation import short_repr
from nst_jax.images import colour
from nst_jax.images.guided_filter import guided_filter
from nst_jax.images.initialise import draw_canvas
from nst_jax.losses import Objective, Regions, View
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import parametrisation
from nst_jax.optim.problem import FixedPixels, Problem, compute_targets
from nst_jax.optim.tiling import Tiling


@dataclasses.dataclass(frozen=True, repr=False)
class Scene:
    """The pictures of a member.

    Attributes:
      content: float32 [H, W, 3], in the colours that the optimisation sees.
      styles: pictures [h, w, 3], likewise.
      original: the content in its own colours.
      alpha: [H, W], how opaque the content is; None if all of it is.
      regions: which part of the content is like which of the styles; None if all is.
      frozen: bool [H, W, 1], which pixels stay as the content's; None for none.
      canvas: what a canvas of kind "file" starts from, of any size.
      content_input: the content's place in the plan's `inputs`.
      style_inputs: the styles'.
    """

    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    original: np.ndarray
    alpha: np.ndarray | None
    regions: Regions | None
    frozen: np.ndarray | None
    canvas: np.ndarray | None
    content_input: int
    style_inputs: tuple[int, ...]

    __repr__ = short_repr

    @property
    def shapes(self) -> tuple[Hashable, ...]:
        """What of the pictures selects a program."""
        pictures = (self.content, *self.styles)
        parts = jax.tree.map(np.shape, (self.regions, self.frozen))
        propagation = self.regions and self.regions.propagation
        return (*(p.shape for p in pictures), str(parts), propagation)


@dataclasses.dataclass(frozen=True, repr=False)
class Group:
    """Members that one compiled program serves: they differ in numbers alone.

    Pixels are numbers too: pictures of one size are of one program.

    Attributes:
      numbers: which members of the plan they are.
      members: they themselves.
      network: VGG-19, on the device.
      objectives: one sum of terms a member.
      scenes: their pictures.
      previous: the members of the plan whose results they start from, if they do.
      coarser: the same members at the stage before, whose ends they start from; None
        at the first.
    """

    numbers: tuple[int, ...]
    members: tuple[Member, ...]
    network: Network
    objectives: tuple[Objective, ...]
    scenes: tuple[Scene, ...]
    previous: tuple[int | None, ...]
    coarser: "Group | None" = None

    def __repr__(self) -> str:
        sizes = " → ".join(
            f"{stage.content.shape[1]}×{stage.content.shape[0]}"
            for stage in self.stages
        )
        labels = [member.label for member in self.members]
        named = "; ".join(labels[:4]) + ("; …" if len(labels) > 4 else "")
        return f"Group({len(labels)} members of {sizes} px: {named})"

    @property
    def stages(self) -> tuple["Group", ...]:
        """Coarse to fine, this one last."""
        return (*(self.coarser.stages if self.coarser else ()), self)

    @property
    def experiment(self) -> Experiment:
        """What the members have in common, as the first of them has it."""
        return self.members[0].experiment

    @property
    def content(self) -> np.ndarray:
        """The first member's; all are of its shape [H, W, 3]."""
        return self.scenes[0].content

    @property
    def styles(self) -> tuple[np.ndarray, ...]:
        """The first member's; all are of their shapes."""
        return self.scenes[0].styles

    @property
    def devices(self) -> list[jax.Device]:
        """Those of the platform that the members are computed on."""
        return jax.local_devices(backend=self.experiment.ensemble.platform or None)

    def placed(self) -> contextlib.AbstractContextManager:
        """A context in which the first of these is the default, if one is asked for."""
        if not self.experiment.ensemble.platform:
            return contextlib.nullcontext()
        return jax.default_device(self.devices[0])

    def problems(self) -> list[Problem]:
        """One a member, with its own numbers; the rest is there once for all."""
        depends = [self._depends(j) for j in range(len(self.objectives[0].terms))]
        targets: dict[Hashable, Any] = {}
        fixed_pixels: dict[Hashable, FixedPixels] = {}
        seen: dict[Hashable, Any] = {}
        problems = []
        for i, member in enumerate(self.members):
            own = [
                (j, *(self._part(i, j, kind) for kind in kinds))
                for j, kinds in enumerate(depends)
            ]
            experiment, scene = member.experiment, self.scenes[i]
            posed = self.network, self.objectives[i]
            solver, shape = experiment.solver_record(), scene.content.shape
            options: dict[str, Any] = {
                "tolerance": float(experiment.solver.tolerance),
                "averaging": float(experiment.solver.averaging),
                "fixed_pixels": self._fixed_pixels(i, fixed_pixels),
                "parametrisation": parametrisation(experiment.parametrisation, shape),
            }
            content = scene.content
            if experiment.tile:
                options["tiling"] = self._tiling(i, seen)
                content = content[: experiment.tile, : experiment.tile]
            if any(key not in targets for key in own):
                new = compute_targets(*posed, content, scene.styles, scene.regions)
                for key, target in zip(own, new, strict=True):
                    targets.setdefault(key, target)
            shared = tuple(targets[key] for key in own)
            problems.append(Problem(*posed, shared, solver, **options))
        return problems

    def _tiling(self, i: int, known: dict[Hashable, Any]) -> Tiling:
        """What a member's tiles are compared with; what two share is there once."""
        scene, terms = self.scenes[i], self.objectives[i].terms
        anew = [self._depends_on(j, "content") for j in range(len(terms))]
        own = Objective(tuple(itertools.compress(terms, anew)))
        keys = id(scene.content), tuple(map(id, scene.styles))
        if keys[0] not in known:
            known[keys[0]] = jnp.asarray(scene.content)
        if keys[1] not in known:
            # As the program is compiled that sees the canvas.
            options = tuple(self.network.numerics.compiler_options.items())
            pictures = own, self.network
            known[keys[1]] = tuple(_view(options)(*pictures, s) for s in scene.styles)
        return Tiling(known[keys[0]], known[keys[1]], self.experiment.tile, tuple(anew))

    def _fixed_pixels(
        self, i: int, known: dict[Hashable, FixedPixels]
    ) -> FixedPixels | None:
        """What of a member's canvas does not move; one for those that hold the same."""
        scene = self.scenes[i]
        if scene.frozen is None:
            return None
        key = id(scene.frozen), id(scene.content)
        if key not in known:
            known[key] = FixedPixels(
                jnp.asarray(scene.frozen), jnp.asarray(scene.content)
            )
        return known[key]

    def _part(self, i: int, j: int, kind: str) -> Hashable:
        """What of a member's j-th target is told apart by: equal parts, equal keys."""
        if kind == "numbers":
            leaves = map(np.asarray, jax.tree.leaves(self.objectives[i].terms[j]))
            return tuple((leaf.shape, leaf.tobytes()) for leaf in leaves)
        scene = self.scenes[i]
        if kind == "regions":
            return id(scene.regions)
        pictures = [scene.content] if kind == "content" else scene.styles
        return tuple(map(id, pictures))

    def _depends(self, j: int) -> list[str]:
        """On what the j-th term's target depends, of what the members differ in."""
        count = range(len(self.members))
        kinds = ("numbers", "content", "styles", "regions")
        differ = [k for k in kinds if len({self._part(i, j, k) for i in count}) > 1]
        return [kind for kind in differ if self._depends_on(j, kind)]

    def _depends_on(self, j: int, kind: str) -> bool:
        """Whether the j-th term's target depends on one of the parts of a member."""
        first = {
            "numbers": self.objectives[0].terms[j],
            "content": jnp.asarray(self.content),
            "styles": tuple(map(jnp.asarray, self.styles)),
            "regions": jax.tree.map(jnp.asarray, self.scenes[0].regions),
        }

        # The network is an argument: JAX keeps what a trace that fails closed over.
        def target(network: Network, parts: dict[str, Any]) -> Any:
            objective = Objective((parts["numbers"],))
            pictures = parts["content"], parts["styles"], parts["regions"]
            return objective.targets(network, *pictures)

        axes = {name: 0 if name == kind else None for name in first}
        twice = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), first[kind])
        mapped = jax.vmap(target, in_axes=(None, axes), out_axes=None)
        try:
            # Mapped over a part, an output that depends on it cannot be given back
            # without the mapped axis.
            jax.eval_shape(mapped, self.network, {**first, kind: twice})
        except ValueError:
            return True
        return False

    def starts(
        self, places: Sequence[int], result: Callable[[int], np.ndarray] | None = None
    ) -> np.ndarray:
        """The starting canvases [n, H, W, 3] of some of the group's members.

        Args:
          places: which of them.
          result: the finished picture [H, W, 3] of a member of the plan; needed by
            members that start from one.
        """
        return np.stack([self._start(i, result) for i in places])

    def _start(self, i: int, result: Callable[[int], np.ndarray] | None) -> np.ndarray:
        member, scene, before = self.members[i], self.scenes[i], self.previous[i]
        picture = scene.canvas
        if before is not None:
            assert result is not None
            picture = colour.prepare_canvas(member.experiment.colour, result(before))
        return draw_canvas(
            member.experiment.canvas,
            member.seed,
            scene.content,
            scene.styles,
            picture,
            member.experiment.frame,
        )

    def finished(self, places: Sequence[int], canvases: np.ndarray) -> np.ndarray:
        """Canvases [n, H, W, 3] of some members as results: in their colours."""
        pairs = zip(places, canvases, strict=True)
        return np.stack([self._finished(i, canvas) for i, canvas in pairs])

    def _finished(self, i: int, canvas: np.ndarray) -> np.ndarray:
        experiment, scene = self.members[i].experiment, self.scenes[i]
        result = colour.restore(experiment.colour, canvas, scene.original)
        radius, eps = experiment.smoothing.radius, experiment.smoothing.eps
        if radius:
            result = np.asarray(_smoothed(result, scene.original, radius, eps))
        if scene.frozen is None:
            return result
        # Neither colours that are put back nor smoothing move what is frozen.
        return np.where(scene.frozen, scene.original, result)


@functools.cache
def _view(options: tuple[tuple[str, bool | int], ...]) -> Callable[..., View]:
    """`Objective.view`, compiled once a shape however many groups there are."""
    return jax.jit(Objective.view, compiler_options=dict(options))


_smoothed = jax.jit(guided_filter, static_argnums=2)
