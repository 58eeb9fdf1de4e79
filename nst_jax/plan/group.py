"""Groups of members that share a compiled program."""

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
from nst_jax.core.errors import RequestError
from nst_jax.core.representation import short_repr
from nst_jax.images import colour
from nst_jax.images.guided_filter import guided_filter
from nst_jax.images.initialise import draw_canvas, finest_band
from nst_jax.losses import Objective, Regions
from nst_jax.models.vgg import Network
from nst_jax.optim.parametrisation import parametrisation
from nst_jax.optim.problem import CoarseBlend, FixedPixels, Problem, compute_targets
from nst_jax.optim.tiling import Tiling


@dataclasses.dataclass(frozen=True, repr=False)
class Scene:
    """The images of a member.

    Attributes:
      content: content image, float32 [H, W, 3], in the colours that are optimised.
      styles: style images [h, w, 3], in the colours that are optimised.
      original: content image in its original colours.
      alpha: opacity [H, W] of the content image; None if it is opaque.
      regions: matching regions of the content and style images; None without regions.
      frozen: bool [H, W, 1], pixels that stay as in the content image; None for none.
      canvas: starting image of `canvas.kind="file"`, of any size; else None.
      alphas: opacity of the content image and of each style image, for colours.
      content_input: index of the content image in the plan's `inputs`.
      style_inputs: indices of the style images in the plan's `inputs`.
    """

    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    original: np.ndarray
    alpha: np.ndarray | None
    regions: Regions | None
    frozen: np.ndarray | None
    canvas: np.ndarray | None
    alphas: tuple[np.ndarray | None, ...]
    content_input: int
    style_inputs: tuple[int, ...]

    __repr__ = short_repr

    @property
    def shapes(self) -> tuple[Hashable, ...]:
        """The part of the images that selects a program."""
        shapes = [image.shape for image in (self.content, *self.styles)]
        masks = jax.tree.map(np.shape, (self.regions, self.frozen))
        return (*shapes, str(masks), self.regions and self.regions.propagation)


@dataclasses.dataclass(frozen=True, repr=False)
class Group:
    """Members that share a compiled program: they differ in numbers and pixels only.

    Attributes:
      numbers: numbers of the members in the plan.
      members: the members.
      network: VGG-19, on the device.
      objectives: the objective of each member.
      scenes: the images of each member.
      previous: number of the member whose result each starts from, or None.
      coarser: the same members at the stage before; None at the first stage.
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
        shown = "; ".join(labels[:4]) + ("; …" if len(labels) > 4 else "")
        return f"Group({len(labels)} members of {sizes} px: {shown})"

    @property
    def stages(self) -> tuple["Group", ...]:
        """This group at all its stages, coarse to fine."""
        return (*(self.coarser.stages if self.coarser else ()), self)

    @property
    def experiment(self) -> Experiment:
        """The first member's experiment, for fields that all share."""
        return self.members[0].experiment

    @property
    def content(self) -> np.ndarray:
        """The first member's content image; all have its shape [H, W, 3]."""
        return self.scenes[0].content

    @property
    def styles(self) -> tuple[np.ndarray, ...]:
        """The first member's style images; all have their shapes."""
        return self.scenes[0].styles

    @property
    def devices(self) -> list[jax.Device]:
        """The local devices of the members' platform."""
        return jax.local_devices(backend=self.experiment.ensemble.platform or None)

    def default_device(self) -> contextlib.AbstractContextManager:
        """Return a context in which arrays go to `ensemble.platform`, if it is set."""
        if not self.experiment.ensemble.platform:
            return contextlib.nullcontext()
        return jax.default_device(self.devices[0])

    def problems(self) -> list[Problem]:
        """Return the problem of each member; they share the arrays that are equal."""
        dependencies = [self._dependencies(j) for j in range(len(self._terms))]
        targets: dict[Hashable, Any] = {}
        arrays: dict[Hashable, Any] = {}
        problems = []
        for i, (member, scene) in enumerate(
            zip(self.members, self.scenes, strict=True)
        ):
            experiment, content = member.experiment, scene.content
            tiling = None
            if experiment.tile:
                tiling = self._tiling(i, arrays)
                content = content[: experiment.tile, : experiment.tile]
            keys = [
                (j, *(self._key(i, j, kind) for kind in kinds))
                for j, kinds in enumerate(dependencies)
            ]
            if any(key not in targets for key in keys):
                computed = compute_targets(
                    self.network,
                    self.objectives[i],
                    content,
                    scene.styles,
                    scene.regions,
                )
                for key, target in zip(keys, computed, strict=True):
                    targets.setdefault(key, target)
            problems.append(
                Problem(
                    self.network,
                    self.objectives[i],
                    tuple(targets[key] for key in keys),
                    experiment.solver_record(),
                    tolerance=float(experiment.solver.tolerance),
                    averaging=float(experiment.solver.averaging),
                    fixed_pixels=self._fixed_pixels(scene, arrays),
                    coarse_blend=self._coarse_blend(i, arrays),
                    tiling=tiling,
                    parametrisation=parametrisation(
                        experiment.parametrisation, scene.content.shape
                    ),
                )
            )
        return problems

    @property
    def _terms(self) -> tuple[Any, ...]:
        return self.objectives[0].terms

    @functools.cached_property
    def _needs_content(self) -> tuple[bool, ...]:
        """True for each term with a target that depends on the content image."""
        count = len(self._terms)
        return tuple(self._depends_on(j, "content") for j in range(count))

    def _tiling(self, i: int, cache: dict[Hashable, Any]) -> Tiling:
        """Return the tiling of a member; members share equal images."""
        scene = self.scenes[i]
        needs_content = self._needs_content
        content_key, styles_key = id(scene.content), tuple(map(id, scene.styles))
        if content_key not in cache:
            cache[content_key] = jnp.asarray(scene.content)
        if styles_key not in cache:
            terms = itertools.compress(self.objectives[i].terms, needs_content)
            objective = Objective(tuple(terms))
            call = self.network.numerics.call
            cache[styles_key] = tuple(
                call(Objective.view, objective, self.network, style)
                for style in scene.styles
            )
        return Tiling(
            cache[content_key], cache[styles_key], self.experiment.tile, needs_content
        )

    def _fixed_pixels(
        self, scene: Scene, cache: dict[Hashable, Any]
    ) -> FixedPixels | None:
        """Return the fixed pixels of a scene; members share equal ones."""
        if scene.frozen is None:
            return None
        key = "fixed", id(scene.frozen), id(scene.content)
        if key not in cache:
            arrays = jnp.asarray(scene.frozen), jnp.asarray(scene.content)
            cache[key] = FixedPixels(*arrays)
        return cache[key]

    def _coarse_blend(self, i: int, cache: dict[Hashable, Any]) -> CoarseBlend | None:
        """Return the images to mix into a member's start; members share equal ones."""
        ladder, content = self.members[i].experiment.ladder, self.scenes[i].content
        if self.coarser is None or not (ladder.content_mix or ladder.content_details):
            return None
        key = "blend", id(content), ladder.content_details
        if key not in cache:
            details = finest_band(content) if ladder.content_details else 0.0
            cache[key] = jnp.asarray(content), details
        image, details = cache[key]
        return CoarseBlend(image, float(ladder.content_mix), details)

    def _key(self, i: int, j: int, kind: str) -> Hashable:
        """Return a key for one kind of argument of a member's j-th target."""
        scene = self.scenes[i]
        if kind == "numbers":
            leaves = map(np.asarray, jax.tree.leaves(self.objectives[i].terms[j]))
            return tuple((leaf.shape, leaf.tobytes()) for leaf in leaves)
        if kind == "styles":
            return tuple(map(id, scene.styles))
        return id(getattr(scene, kind))

    def _dependencies(self, j: int) -> list[str]:
        """Return the kinds of arguments by which members' j-th targets differ."""
        return [
            kind
            for kind in ("numbers", "content", "styles", "regions")
            if len({self._key(i, j, kind) for i in range(len(self.members))}) > 1
            and self._depends_on(j, kind)
        ]

    def _depends_on(self, j: int, kind: str) -> bool:
        """Return whether the j-th term's target depends on one kind of argument."""
        arguments = {
            "numbers": self._terms[j],
            "content": jnp.asarray(self.content),
            "styles": tuple(map(jnp.asarray, self.styles)),
            "regions": jax.tree.map(jnp.asarray, self.scenes[0].regions),
        }

        # The network is an argument because JAX keeps what a failed trace closed over.
        def target(network: Network, arguments: dict[str, Any]) -> Any:
            term, *images = (arguments[name] for name in _ARGUMENTS)
            return Objective((term,)).targets(network, *images)

        axes = {name: 0 if name == kind else None for name in arguments}
        arguments[kind] = jax.tree.map(
            lambda leaf: jnp.stack([leaf] * 2), arguments[kind]
        )
        mapped = jax.vmap(target, in_axes=(None, axes), out_axes=None)
        try:
            # vmap refuses an unmapped output that depends on the mapped argument.
            jax.eval_shape(mapped, self.network, arguments)
        except RequestError:
            raise
        except ValueError:
            return True
        return False

    def starting_images(
        self, indices: Sequence[int], result: Callable[[int], np.ndarray] | None = None
    ) -> np.ndarray:
        """Return the starting images [n, H, W, 3] of some members.

        Args:
          indices: positions of the members in this group.
          result: returns the result [H, W, 3] of a member of the plan; needed by
            members that start from one.
        """
        images = []
        for i in indices:
            experiment, scene = self.members[i].experiment, self.scenes[i]
            canvas, previous = scene.canvas, self.previous[i]
            if previous is not None:
                assert result is not None
                canvas = colour.prepare_canvas(experiment.colour, result(previous))
            images.append(
                draw_canvas(
                    experiment.canvas,
                    self.members[i].seed,
                    scene.content,
                    scene.styles,
                    canvas,
                    experiment.frame,
                )
            )
        return np.stack(images)

    def finish_images(self, indices: Sequence[int], canvases: np.ndarray) -> np.ndarray:
        """Return canvases [n, H, W, 3] of some members as results.

        Original colours are restored, smoothing is applied, and frozen pixels are set.
        """
        pairs = zip(indices, canvases, strict=True)
        return np.stack([self._finish_image(i, canvas) for i, canvas in pairs])

    def _finish_image(self, i: int, canvas: np.ndarray) -> np.ndarray:
        experiment, scene = self.members[i].experiment, self.scenes[i]
        result = colour.restore(
            experiment.colour, canvas, scene.original, scene.styles, scene.alphas
        )
        smoothing = experiment.smoothing
        if smoothing.radius:
            smoothed = _smooth(result, scene.original, smoothing.radius, smoothing.eps)
            result = np.asarray(smoothed)
        if scene.frozen is None:
            return result
        return np.where(scene.frozen, scene.original, result)


_ARGUMENTS = ("numbers", "content", "styles", "regions")


_smooth = jax.jit(guided_filter, static_argnums=2)
