"""Programs are compiled once, beside what runs, as they would be without a thread."""

import gc
import threading
import weakref

import jax
import pytest
from small_runs import eight_members, read_manifest, run_experiment

import nst_jax
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.plan import stages
from nst_jax.plan.stages import Compiler

LADDER = nst_jax.Ladder(sizes=(32,), steps=(2,))


def test_the_next_stage_is_compiled_while_this_one_runs(tmp_path, monkeypatch):
    """Its compiler waits here for the first step of the stage before it."""
    stepped = threading.Event()
    compiled, optimised = Ensemble.compile, Ensemble.optimise

    def compile_late(*posed, coarser=None, **options):
        assert coarser is None or stepped.wait(60)
        return compiled(*posed, coarser=coarser, **options)

    def optimise(self, *args, **options):
        for look in optimised(self, *args, **options):
            if look.step:
                stepped.set()
            yield look

    monkeypatch.setattr(Ensemble, "compile", compile_late)
    monkeypatch.setattr(Ensemble, "optimise", optimise)
    assert run_experiment(eight_members(size=48, ladder=LADDER), tmp_path) == "done"
    assert read_manifest(tmp_path)["status"] == "done"


def test_a_program_is_compiled_where_and_as_wide_as_asked(monkeypatch):
    """Contexts of JAX are a thread's own, and these are carried to the compiler's."""
    seen = []

    def compile_(*_, **__):
        seen.append((jax.config.jax_default_device, jax.config.jax_enable_x64))
        raise KeyError("enough")

    monkeypatch.setattr(Ensemble, "compile", compile_)
    group = nst_jax.build(eight_members(size=48)).groups[0]
    problems, device = group.problems(), jax.devices()[0]
    for where, wide in ((device, True), (None, False)):
        with Compiler() as compiler:
            with jax.default_device(where), jax.enable_x64(wide):
                (stage,) = compiler.stages(group, problems, 8)
            with pytest.raises(KeyError, match="enough"):
                _ = stage.ensemble
    assert seen == [(device, True), (None, False)]


def test_groups_of_one_program_share_it():
    """Two poolings are two programs; the same group again asks for none."""
    asked = eight_members(size=48, ladder=LADDER)
    asked.axes = (*asked.axes, nst_jax.Vary("pooling", ("max", "avg")))
    one, other = nst_jax.build(asked).groups
    with Compiler() as compiler:
        first, again, different = (
            [stage.ensemble for stage in compiler.stages(group, group.problems(), 8)]
            for group in (one, one, other)
        )
        assert compiler.program_count == 4
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert not any(a is b for a, b in zip(first, different, strict=True))
    spent = sum(each.compile_s for each in (*first, *different))
    assert compiler.compile_s == pytest.approx(spent)


class _Program:
    compile_s = 0.0


def test_programs_used_least_recently_are_freed(monkeypatch):
    """A process has too few memory mappings for the programs of a long sweep."""
    monkeypatch.setattr(stages, "MAX_PROGRAMS", 2)
    monkeypatch.setattr(Ensemble, "compile", lambda *_, **__: _Program())
    config = eight_members(size=32)
    values = ("zeros", "reflect", "replicate")
    config.axes = (*config.axes, nst_jax.Vary("padding", values))
    groups = nst_jax.build(config).groups
    with Compiler() as compiler:

        def program(index):
            group = groups[index]
            return weakref.ref(compiler.stages(group, group.problems(), 8)[0].ensemble)

        kept, freed = program(0), program(1)
        assert kept() is program(0)()
        program(2)
        assert program(2)() is not None
        gc.collect()
        assert freed() is None
        assert kept() is not None
        assert compiler.program_count == 3
