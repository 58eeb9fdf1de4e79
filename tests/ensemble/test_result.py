"""`nst_jax.run`: cached programs, progress, callbacks and Ctrl-C."""

import io
import os
import signal
import sys

import jax
import numpy as np
import pytest
from pictures import smooth_picture
from small_runs import eight_members

import nst_jax
from nst_jax.ensemble import result
from nst_jax.ensemble.observer import Observer
from nst_jax.ensemble.progress import Progress

TRACES = []


@nst_jax.term
class Distance(nst_jax.Term):
    """Mean squared distance from the content; counts how often it is traced."""

    name: str = nst_jax.static(default="distance")

    def target(self, content, styles):
        return content.image

    def __call__(self, view, target):
        TRACES.append(view.image.shape)
        return ((view.image - target) ** 2).mean()


def pose(network, seed=0, weight=1.0, rate=0.02):
    content = smooth_picture(seed, 16, 16)
    objective = nst_jax.Objective((Distance(weight),))
    return nst_jax.Problem.from_images(
        network, objective, content, [], nst_jax.Adam(learning_rate=rate)
    )


STARTS = np.stack([smooth_picture(10 + i, 16, 16) for i in range(3)])


def test_an_equal_problem_is_compiled_once(network):
    first = nst_jax.run(pose(network), STARTS, steps=3)
    seen, programs = len(TRACES), len(result._programs)
    again = nst_jax.run(pose(network), STARTS, steps=3)
    other = nst_jax.run(pose(network, 1, 2.0, 0.1), STARTS[::-1], steps=5)
    assert (len(TRACES), len(result._programs)) == (seen, programs)
    np.testing.assert_array_equal(first.canvas, again.canvas)
    assert not np.allclose(first.canvas, other.canvas)
    alone = nst_jax.run([pose(network, 1, 2.0, 0.1)] * 3, STARTS[::-1], steps=5)
    np.testing.assert_array_equal(other.canvas, alone.canvas)


def test_another_program_is_compiled_for_another_shape_or_setting(network):
    nst_jax.run(pose(network), STARTS[:2], steps=1)
    for options in ({"strategy": "loop"}, {"batch_size": 1}):
        last_used = next(reversed(result._programs))
        nst_jax.run(pose(network), STARTS[:2], steps=1, **options)
        assert next(reversed(result._programs)) != last_used
    seen = len(TRACES)
    with jax.debug_nans(True):
        nst_jax.run(pose(network), STARTS[:2], steps=1)
    assert len(TRACES) > seen


def test_cached_programs_are_few_and_hold_no_images(network, monkeypatch):
    monkeypatch.setattr(result, "_KEPT_PROGRAMS", 2)
    for count in (1, 2, 3):
        nst_jax.run(pose(network), STARTS[:count], steps=0)
    assert len(result._programs) == 2
    for ensemble in result._programs.values():
        assert ensemble.problem is None
        assert not any(
            isinstance(x, jax.Array) for x in jax.tree.leaves(vars(ensemble))
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps must be an integer from 0 to 2147483647, got -1"),
        ({"steps": 2.5}, "steps must be an integer from 0 .* got 2.5"),
        ({"steps": True}, "steps must be an integer from 0 .* got True"),
        ({"steps": 2**31}, "steps must be an integer from 0"),
        ({"log_every": 0}, "log_every must be an integer from 1, got 0"),
        ({"log_every": 1.5}, "log_every must be an integer from 1, got 1.5"),
        ({"batch_size": 0}, "batch_size must be an integer from 1, got 0"),
        ({"batch_size": "all"}, "batch_size must be an integer from 1, got 'all'"),
        ({"strategy": "vmp"}, "strategy must be one of"),
        ({"problems": ["x"]}, r"problems\[0\] must be a nst_jax.Problem, got str"),
        ({"problems": []}, "problems has 0 entries for 3 canvases"),
        ({"canvases": STARTS * np.nan}, "canvases holds NaN"),
        ({"canvases": STARTS * 255}, "canvases must be on a scale where white is 1"),
        ({"canvases": STARTS[0]}, r"canvases must be one or more pictures"),
    ],
)
def test_wrong_arguments_are_refused_before_compilation(network, options, message):
    usual = {"problems": pose(network), "canvases": STARTS, "steps": 1}
    programs = len(result._programs)
    with pytest.raises(nst_jax.RequestError, match=message):
        nst_jax.run(**{**usual, **options})
    assert len(result._programs) == programs


def test_a_callback_gets_every_entry_of_the_history(network):
    infos = []
    ended = nst_jax.run(
        pose(network), STARTS, steps=5, batch_size=2, log_every=2, callback=infos.append
    )
    silent = nst_jax.run(pose(network), STARTS, steps=5, batch_size=2, log_every=2)
    np.testing.assert_array_equal(ended.canvas, silent.canvas)
    assert [(t.members, t.step) for t in infos] == [
        (members, step) for members in ((0, 1), (2,)) for step in (0, 2, 4, 5)
    ]
    for t in infos:
        report = ended.history[ended.steps.index(t.step)]
        np.testing.assert_array_equal(t.loss, report.loss[list(t.members)])
        np.testing.assert_array_equal(t.terms["distance"], t.loss)
        assert t.canvas.shape == (len(t.members), 16, 16, 3)
    np.testing.assert_array_equal(infos[0].canvas, STARTS[:2])
    np.testing.assert_array_equal(infos[3].canvas, ended.canvas[:2])


def test_a_callback_may_write_into_its_canvas(network):
    def paint(info):
        info.canvas[:] = 0

    options = {"steps": 3, "log_every": 1, "progress": False}
    painted = nst_jax.run(pose(network), STARTS, **options, callback=paint)
    alone = nst_jax.run(pose(network), STARTS, **options)
    np.testing.assert_array_equal(painted.canvas, alone.canvas)


def test_a_callback_must_be_callable(network):
    with pytest.raises(nst_jax.RequestError, match="callback must be a function"):
        nst_jax.run(pose(network), STARTS, steps=1, callback=3)


def test_canvases_of_another_size_than_the_targets_are_refused(network):
    with pytest.raises(nst_jax.RequestError, match=r"shape \[12, 16, 3\] do not fit"):
        nst_jax.run(pose(network), STARTS[:, :12], steps=1)


def test_a_failing_callback_does_not_change_the_result(network, caplog):
    infos = []

    def fail(info):
        infos.append(info)
        raise ValueError("an exception of the callback")

    ended = nst_jax.run(pose(network), STARTS, steps=4, log_every=1, callback=fail)
    silent = nst_jax.run(pose(network), STARTS, steps=4, log_every=1)
    np.testing.assert_array_equal(ended.canvas, silent.canvas)
    assert len(infos) == 1
    assert "callback failed at step 0" in caplog.text
    assert "an exception of the callback" in caplog.text


def interrupting(step, members=None):
    """A callback that presses Ctrl-C at a step."""

    def press(info):
        if info.step == step and members in (None, info.members):
            os.kill(os.getpid(), signal.SIGINT)

    return press


def test_ctrl_c_returns_the_progress(network):
    before = signal.getsignal(signal.SIGINT)
    ended = nst_jax.run(
        pose(network), STARTS, steps=50, log_every=1, callback=interrupting(3)
    )
    made = int(ended.step[0])
    assert ended.step.tolist() == [made] * 3
    assert 3 <= made <= 5  # A chunk is on its way while the last is looked at.
    whole = nst_jax.run(pose(network), STARTS, steps=made, log_every=1)
    np.testing.assert_array_equal(ended.canvas, whole.canvas)
    assert ended.steps == whole.steps == list(range(made + 1))
    assert whole.step.tolist() == [made] * 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_a_later_batch_leaves_later_members_at_their_start(network):
    ended = nst_jax.run(
        *(pose(network), STARTS),
        steps=50,
        batch_size=1,
        log_every=10,
        callback=interrupting(10, (1,)),
    )
    first, second, third = ended.step.tolist()
    assert (first, third) == (50, 0)
    assert 10 <= second < 50
    np.testing.assert_array_equal(ended.canvas[2], STARTS[2])
    losses = np.stack([report.loss for report in ended.history])
    assert losses.shape == (6, 3)
    np.testing.assert_array_equal(np.isnan(losses).sum(0), [0, 5 - second // 10, 6])


def test_a_keyboard_interrupt_in_a_callback_is_a_request_to_stop(network):
    def press(info):
        raise KeyboardInterrupt

    ended = nst_jax.run(pose(network), STARTS, steps=50, log_every=1, callback=press)
    assert ended.step.max() < 50


def test_a_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with Observer() as observer:
        assert not observer.stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert observer.stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_handler_of_the_program_is_kept(network):
    received = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        ended = nst_jax.run(
            pose(network), STARTS, steps=4, log_every=1, callback=interrupting(1)
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]
    assert ended.step.tolist() == [4] * 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_unless_it_is_off(network, monkeypatch):
    for shown in (True, False):
        monkeypatch.setattr(sys, "stderr", Terminal())
        nst_jax.run(pose(network), STARTS, steps=4, progress=shown)
        text = sys.stderr.getvalue()
        assert ("12/12" in text and "loss" in text) == shown
        assert bool(text) == shown


def test_a_bar_shows_in_a_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress(3) as progress:
        assert progress._bar.disable
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with Progress(3) as progress:
        assert not progress._bar.disable


def test_execute_calls_back_stops_and_resumes(tmp_path, caplog):
    """After Ctrl-C the same call resumes from the checkpoint to the same bits."""
    config = eight_members()
    config.ensemble.batch_size = 4
    config.output.snapshots = (4,)
    infos = []

    def press(info):
        infos.append(info)
        if info.members == (0, 1, 2, 3) and info.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    plan = nst_jax.build(config)
    assert nst_jax.execute(plan, tmp_path / "a", callback=press) == "interrupted"
    assert (tmp_path / "a/members/000/state.safetensors").exists()
    made = [info.step for info in infos]
    assert nst_jax.execute(plan, tmp_path / "a", callback=infos.append) == "done"
    # The row of the checkpoint comes again, as the first of the second call.
    resumed = [info.step for info in infos[len(made) :]]
    assert made == [0, 2, 4][: len(made)]
    assert resumed == [*range(made[-1], 7, 2), 0, 2, 4, 6]
    whole = nst_jax.execute(plan, tmp_path / "b", callback=fail, progress=False)
    assert whole == "done"
    assert "callback failed at step 0" in caplog.text
    for member in range(8):
        name = f"members/{member:03d}/final.npy"
        final, other = np.load(tmp_path / "a" / name), np.load(tmp_path / "b" / name)
        np.testing.assert_array_equal(final, other)
        info = next(t for t in infos if t.step == 6 and member in t.members)
        np.testing.assert_array_equal(info.canvas[info.members.index(member)], final)
    assert [t.canvas is not None for t in infos[-4:]] == [False, False, True, True]


def fail(info):
    raise ValueError("an exception of the callback")
