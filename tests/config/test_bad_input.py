"""Bad input costs one sentence and status 2, and leaves nothing behind.

Commands run through `command_line.launch` and may not compile, so a status of 2 also
proves that nothing was compiled.
"""

import concurrent.futures
import copy
import dataclasses
import functools
import io
import json
import math
import os
import pathlib
import shlex
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import jax
import msgspec
import numpy as np
import pytest
from command_line import COMPILED, ROOT, Outcome, launch
from pictures import smooth_picture
from PIL import Image

import nst_jax
from configs.transfer import get_config
from nst_jax import losses
from nst_jax.models.weights import DEFAULT_PATH
from nst_jax.workdir.writer import RunWriter

SMOKE = "--config=configs/transfer.py:smoke"


def launch_uncompiled(*flags: object) -> Outcome:
    return launch(*flags, may_compile=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("files")
    buffer = io.BytesIO()
    picture = (smooth_picture(1, 64, 96) * 255).astype(np.uint8)
    Image.fromarray(picture).save(buffer, "JPEG")
    bomb = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    weights = DEFAULT_PATH.read_bytes()
    contents = {
        "photo.jpg": buffer.getvalue(),
        "empty.jpg": b"",
        "text.jpg": b"Dear Sir or Madam,\n",
        "truncated.jpg": buffer.getvalue()[:-500],
        "bomb.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bomb) + chunk(b"IDAT"),
        "short.safetensors": weights[: len(weights) // 2],
        "damaged.safetensors": weights[:-1] + bytes([weights[-1] ^ 1]),
        "text.safetensors": b"Dear Sir or Madam,\n",
        "syntax.py": b"import nst_jax\n\ndef get_config(:\n",
        "raises.py": b"def get_config():\n    raise RuntimeError('out of\\nluck')\n",
        "refuses.py": b"import nst_jax\nnst_jax.Gram(weight=-3)\n",
        "imports.py": b"import no_such_module\n",
        "nothing.py": b"",
        "none.py": b"def get_config():\n    pass\n",
        "dict.py": b"def get_config():\n    return {'steps': 3}\n",
        "no_argument.py": b"def get_config():\n    return None\n",
        "binary.py": b"\x00\xff\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    Image.new("RGB", (1000, 1)).save(folder / "strip.png")
    np.save(folder / "grey.npy", np.zeros((4, 5), np.float32))
    return folder


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    crc = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + crc


# Command lines.


def assert_refused(outcome: Outcome, *fragments: str) -> None:
    """Status 2 and one line that holds all of the fragments."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("launch.py: ")
    assert "Traceback" not in outcome.err
    assert "flag --config=" not in outcome.err  # absl's words
    for fragment in fragments:
        assert fragment in outcome.err


#: Flags, and what the sentence says of them; {} is the folder of broken files.
REFUSED = {
    # Flags.
    "unknown flag": ("--nosuch=3", "--nosuch"),
    "flag misspelt": ("--confg=x", "unknown flag --confg", "did you mean '--config'?"),
    "flag without config": ("--steps=3", "--steps", "did you mean '--config.steps'?"),
    "flag without a value": ("--config.steps", "config.steps must be an integer"),
    "no flag file": ("--flagfile=nowhere", "nowhere", "Unable to open"),
    "no report": ("--report=", "report is empty"),
    "nested without end": (f"--config.seeds={'-' * 20_000}1", "seeds"),
    "no flag": ("content.png", "'content.png'", "--name=value"),
    "unknown field": ("--config.stepz=3", "no field 'stepz'", "mean 'steps'?"),
    "field of nothing like it": ("--config.xyzzy=3", "'xyzzy'", "it has content, styl"),
    "unknown nested field": ("--config.solver.nam=adam", "config.solver", "'name'?"),
    "field one level too high": ("--config.max_step=2", "mean 'solver.max_step'?"),
    "unknown field of a term": ("--config.terms[1].wait=1", "'wait'", "'weight'?"),
    "term that is not there": (
        "--config.terms[7].weight=1",
        "config.terms[7] does not exist",
        "has 4 entries",
    ),
    "negative index": ("--config.terms[-1].weight=1", "terms[-1]", "counted from 0"),
    "index that is no number": (
        "--config.terms[x].weight=1",
        "terms[x] does not exist",
    ),
    "field of a number": ("--config.steps.x=1", "config.steps is 50, which has no"),
    "field with no name": ("--config..x=1", "config has no field 'x'"),
    "a record as a whole": ("--config.solver=adam", "--config.solver.name"),
    "a term as a whole": ("--config.terms[0]=gram", "--config.terms[0].weight"),
    "one entry of many": ("--config.styles[0]=x", "styles[0]: no file 'x' in"),
    "no such entry": (
        "--config.styles[1]=x",
        "config.styles[1] does not exist",
        "has 1 entries",
    ),
    "an entry that is a text": ("--config.seeds[0]=x", "seeds[0] must be an integer"),
    "text for an integer": ("--config.size=big", "config.size", "integer", "'big'"),
    "fraction for an integer": ("--config.steps=1.5", "config.steps", "integer", "1.5"),
    "nothing for an integer": ("--config.steps=", "config.steps", "integer", "''"),
    "text for a number": (
        "--config.canvas.mix=x",
        "config.canvas.mix",
        "number",
        "'x'",
    ),
    "text for a switch": (
        "--config.solver.clip=x",
        "config.solver.clip",
        "true or fal",
    ),
    "override before config": (
        "--config.steps=3 --config=configs/seeds.py",
        "--config.steps=3",
    ),
    # Config files.
    "config missing": ("--config=configs/transfr.py", "config", "mean 'transfer.py'?"),
    "config empty": ("--config=", "config is empty"),
    "config a folder": ("--config=configs", "config", "'configs' is a folder"),
    "config with wrong syntax": (
        "--config={}/syntax.py",
        "syntax.py', line 3",
        "Syntax",
    ),
    "config that raises": (
        "--config={}/raises.py",
        "line 2",
        "RuntimeError: out of luck",
    ),
    "config that is refused": (
        "--config={}/refuses.py",
        "line 2",
        "style.weight",
        "-3",
    ),
    "config that imports": ("--config={}/imports.py", "line 1", "'no_such_module'"),
    "config without get_config": ("--config={}/nothing.py", "defines no get_config()"),
    "config that returns nothing": (
        "--config={}/none.py",
        "None",
        "nst_jax.Experiment",
    ),
    "config that returns a dict": ("--config={}/dict.py", "dict", "nst_jax.Experiment"),
    "config without an argument": (
        "--config={}/no_argument.py:x",
        "get_config() takes",
    ),
    "config of bytes": ("--config={}/binary.py", "binary.py", "null bytes"),
    # Pictures.
    "picture missing": (
        "--config.content={}/foto.jpg",
        "content",
        "foto.jpg",
        "did you mean 'photo.jpg'?",
    ),
    "style missing": (
        "--config.styles=samples/swirl.jpg",
        "styles[0]",
        "'swirls.jpg'?",
    ),
    "second style missing": (
        "--config.styles=samples/swirls.jpg,samples/mosaics.jpg",
        "styles[1]",
        "'mosaic.jpg'?",
    ),
    "style with spaces missing": ("'--config.styles=my photo.jpg'", "'my photo.jpg'"),
    "picture without a name": ("--config.content=", "content is empty"),
    "picture a folder": (
        "--config.styles=samples",
        "styles[0]",
        "'samples' is a folder",
    ),
    "picture of 0 bytes": ("--config.content={}/empty.jpg", "content", "(0 bytes)"),
    "picture a text": (
        "--config.content={}/text.jpg",
        "content",
        "text.jpg' is not a p",
    ),
    "picture cut short": ("--config.styles={}/truncated.jpg", "styles[0]", "truncated"),
    "decompression bomb": ("--config.content={}/bomb.png", "content", "100,000,000"),
    "size beyond memory": (
        "--config.size=1000000",
        "content",
        "1000000",
        "100,000,000",
    ),
    "picture too narrow": (
        "--config.content={}/strip.png",
        "content is 256×1 px",
        "relu5_1",
        "at least 16 px",
    ),
    "style too narrow": ("--config.styles={}/strip.png", "styles[0] is 256×1 px"),
    "style size too small": ("--config.style_size=8", "styles[0] is 8×6 px", "16 px"),
    "canvas missing": (
        "--config.canvas.kind=file --config.canvas.path={}/foto.jpg",
        "canvas.path",
        "did you mean 'photo.jpg'?",
    ),
    "canvas no picture": (
        "--config.canvas.kind=file --config.canvas.path={}/grey.npy",
        "canvas.path",
        "float32 [4, 5]",
        "float [H, W, 3]",
    ),
    # Weight files.
    "weights missing": ("--config.weights={}/x.safetensors", "weights: no file"),
    "weights cut short": ("--config.weights={}/short.safetensors", "short.safetensors"),
    "weights damaged": ("--config.weights={}/damaged.safetensors", "SHA-256"),
    "weights a text": (
        "--config.weights={}/text.safetensors",
        "not a complete safetensors",
    ),
    # Values.
    "size negative": ("--config.size=-64", "size must be at least 0, got -64"),
    "style size negative": (
        "--config.style_size=-1",
        "style_size",
        "at least 0, got -1",
    ),
    "steps negative": (
        "--config.steps=-1",
        "steps must be from 0 to 2,147,483,647, got -1",
    ),
    "batch size negative": ("--config.ensemble.batch_size=-1", "ensemble.batch_size"),
    "log every zero": ("--config.output.log_every=0", "output.log_every", "at least 1"),
    "checkpoint never": (
        "--config.output.checkpoint_every=nan",
        *("output.checkpoint_every", "at least 0"),
    ),
    "snapshot negative": ("--config.output.snapshots=3,-2", "output.snapshots", "-2"),
    "no seeds": ("--config.seeds=()", "seeds must be at least one", "()"),
    "seeds twice": ("--config.seeds=3,4,3", "must differ, got (3, 4, 3)"),
    "seed negative": (
        "--config.seeds=0,-1",
        "seeds[1] must be from 0",
        "4,294,967,295",
        "-1",
    ),
    "seed too large": (
        "--config.seeds=4294967296",
        "seeds[0] must be from 0 to 4,294,967,295, got 4294967296",
    ),
    "seed a text": ("--config.seeds=one", "seeds[0] must be an integer, got 'one'"),
    "seed a fraction": ("--config.seeds=0.5", "seeds[0] must be an integer, got 0.5"),
    "style a number": ("--config.styles=3", "styles[0] must be a string, got 3"),
    "no style": (
        "--config.styles=()",
        "style needs at least one style image, got none",
    ),
    "no terms": ("--config.terms=()", "terms is empty"),
    "term a number": ("--config.terms=3", "terms[0] must be of type Term, got 3"),
    "weight negative": (
        "--config.terms[1].weight=-1",
        "style.weight",
        "at least 0 and fi",
    ),
    "weight infinite": ("--config.terms[1].weight=inf", "style.weight", "inf"),
    "weight not a number": ("--config.terms[1].weight=nan", "style.weight", "nan"),
    "unknown layer": ("--config.terms[0].layers=relu4_22", "layer", "mean 'relu4_2'?"),
    "layer twice": ("--config.terms[0].layers=relu1_1,1", "layer", "twice"),
    "layers empty": ("--config.terms[0].layers=()", "content.layers is empty"),
    "layer weights too few": (
        "--config.terms[1].layer_weights=1,2",
        "style.layer_weights has 2 entries",
        "5 layers",
    ),
    "layer weight a text": (
        "--config.terms[1].layer_weights=a,b,c,d,e",
        "style.layer_weights must be a number, got 'a'",
    ),
    "blend too long": (
        "--config.terms[1].blend=1,2",
        "style.blend has 2 entries",
        "1 s",
    ),
    "blend negative": ("--config.terms[1].blend=(-1,)", "style.blend", "-1"),
    # Names.
    "unknown solver": ("--config.solver.name=lbgfs", "solver.name", "mean 'lbfgs'?"),
    "unknown line search": (
        "--config.solver.name=lbfgs --config.solver.line_search=zom",
        "line_search",
        "'zoom'",
    ),
    "field of another solver": (
        "--config.solver.b1=0.5",
        "solver.b1 is not a field of 'lbfgs_fixed', which has first_step, history",
    ),
    "learning rate zero": (
        "--config.solver.name=adam --config.solver.learning_rate=0",
        "solver.learning_rate must be above 0 and at most 3e+38, got 0",
    ),
    "tolerance negative": ("--config.solver.tolerance=-1", "solver.tolerance", "-1"),
    "too many steps": (
        "--config.steps=2147483648",
        "steps must be from 0 to 2,147,483,647, got 2147483648",
    ),
    "too many steps of a stage": (
        "--config.ladder.sizes=(64,) --config.ladder.steps=(2147483648,)",
        "ladder.steps[0] must be from 0 to 2,147,483,647",
    ),
    "too many members": (
        "--config.ensemble.batch_size=9999999999999999999",
        "ensemble.batch_size must be from 0 to 65,536",
    ),
    "too many pictures a second": (
        "--config.output.fps=1000",
        "output.fps must be from 1 to 240, got 1000",
    ),
    "infinite in float32": (
        "--config.solver.name=adam --config.solver.learning_rate=1e300",
        "solver.learning_rate must be above 0 and at most 3e+38, got 1e+300",
    ),
    "members of too many digits": ("--members=" + "9" * 5000, "members must be"),
    "shares of too many digits": ("--shard=1/" + "9" * 5000, "shard must be K/N"),
    "a process of none": ("--process=1", "process is for a cluster", "--coordinator"),
    "unknown pooling": ("--config.pooling=mean", "pooling", "'max', 'avg'", "'mean'"),
    "unknown padding": ("--config.padding=same", "padding", "'reflect'", "'same'"),
    "unknown filter": ("--config.resample=cubic", "resample", "mean 'bicubic'?"),
    "unknown precision": (
        "--config.numerics.precision=x",
        "precision",
        "'highest'",
        "'x'",
    ),
    "unknown dtype": (
        "--config.numerics.feature_dtype=x",
        "feature_dtype",
        "'float32'",
    ),
    "64 bits that are off": (
        "--config.numerics.feature_dtype=float64",
        "numerics.feature_dtype='float64'",
        "JAX_ENABLE_X64=1",
    ),
    "unknown strategy": ("--config.ensemble.strategy=vmpa", "strategy", "mean 'vmap'?"),
    "unknown convention": (
        "--config.terms[1].convention=Gatys",
        "convention",
        "did you mean 'gatys'?",
    ),
    "unknown canvas": ("--config.canvas.kind=noisy", "canvas.kind", "mean 'noise'?"),
    "unknown noise": (
        "--config.canvas.noise=pink",
        "canvas.noise",
        "'uniform'",
        "pink",
    ),
    "amplitude negative": ("--config.canvas.amplitude=-1", "canvas.amplitude", "-1"),
    "mix above one": (
        "--config.canvas.mix=1.5",
        "canvas.mix must be from 0 to 1",
        "1.5",
    ),
    "canvas without a file": (
        "--config.canvas.kind=file",
        "canvas.path",
        "kind 'file'",
    ),
    "file without a canvas": ("--config.canvas.path=x.png", "canvas.path", "'x.png'"),
    "canvas without a style": (
        "--config.canvas.kind=style --config.styles=()",
        "canvas.kind='style' needs a style picture",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_command_is_refused(
    files: pathlib.Path, tmp_path: pathlib.Path, case: tuple[str, ...]
):
    flags, *fragments = case
    flags = shlex.split(flags.replace("{}", str(files)))
    outcome = launch_uncompiled(*flags, f"--workdir={tmp_path / 'run'}")
    assert_refused(outcome, *fragments)
    assert not list(tmp_path.iterdir())


def test_the_script_itself_says_the_same(files: pathlib.Path):
    """A plain `python launch.py` and the forked one end alike."""
    commands = ["--config.stepz=3"], [f"--config={files / 'raises.py'}"]

    def plainly(flags: list[str]) -> Outcome:
        command = [sys.executable, "launch.py", *flags]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for flags, outcome in zip(commands, pool.map(plainly, commands), strict=True):
            assert_refused(outcome)
            assert outcome == launch_uncompiled(*flags)


@pytest.mark.parametrize(
    ("flags", "fragments"),
    [
        (("--members=0", "--shard=1/2"), ("--members and --shard: give one",)),
        (("--merge=a", "--dry_run"), ("--merge and --dry_run: give one of them",)),
        (("--distributed", "--dry_run"), ("--distributed and --dry_run: give one",)),
        (("--process=0", "--shard=1/2"), ("--distributed and --shard: give one",)),
        (("--report=a", "--merge=b"), ("--report and --merge: give one of them",)),
        (("--merge=",), ("merge must name run directories, got none",)),
        (("--shard=3/2",), ("shard must be K/N with K from 1 to N", "'3/2'")),
        (("--coordinator=localhost:1",), ("workdir must be given for a cluster",)),
    ],
)
def test_flags_of_which_one_would_be_ignored(flags, fragments):
    assert_refused(launch_uncompiled(SMOKE, *flags), *fragments)


def test_a_platform_that_is_not_there(tmp_path: pathlib.Path):
    done = subprocess.run(
        [sys.executable, "launch.py", SMOKE, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "abacus"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("launch.py: jax_platforms is 'abacus': ")
    assert not (tmp_path / "run").exists()


def test_launch_would_notice_a_compilation(tmp_path: pathlib.Path):
    """A good command ends with `COMPILED`."""
    assert launch_uncompiled(SMOKE, f"--workdir={tmp_path / 'run'}").status == COMPILED


# Run directories.


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_of_members_of_no_known_run(tmp_path: pathlib.Path):
    """Nothing of it is touched."""
    (tmp_path / "members" / "000").mkdir(parents=True)
    (tmp_path / "members" / "000" / "final.png").write_text("precious")
    before = snapshot(tmp_path)
    assert_refused(launch_uncompiled(SMOKE, f"--workdir={tmp_path}"), "no run.json")
    assert snapshot(tmp_path) == before


def test_help_is_no_failure():
    outcome = launch_uncompiled("--help")
    assert outcome.status == 0
    assert "--workdir" in outcome.out


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file", "is a file, wanted a folder"),
        ("file/below/it", "is a file, wanted a folder"),
        ("/proc/nst_jax", "cannot write to '/proc"),
        ("link", "is a link to nothing"),
    ],
    ids=["a file", "below a file", "not writable", "a link to nothing"],
)
def test_a_workdir_that_cannot_be(tmp_path: pathlib.Path, path: str, reason: str):
    """For root too, whom the mode of a folder does not stop."""
    if path.startswith("/proc") and not pathlib.Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert_refused(
        launch_uncompiled(SMOKE, f"--workdir={tmp_path / path}"), "workdir", reason
    )
    assert snapshot(tmp_path) == {str(tmp_path / "file"): b"precious"}


def run_json(**changes: object) -> str:
    """What an earlier run of the smoke test would have left, but for `changes`."""
    plan = nst_jax.build(get_config("smoke"))
    manifest = RunWriter(ROOT / "runs" / "never", plan).manifest
    return json.dumps(msgspec.to_builtins(manifest) | changes)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1, 2]", b'{"status": "done"}', b"\0\xff"],
    ids=["cut short", "a list", "lacking fields", "bytes"],
)
def test_a_workdir_with_a_broken_record(tmp_path: pathlib.Path, content: bytes):
    (tmp_path / "run.json").write_bytes(content)
    outcome = launch_uncompiled(SMOKE, f"--workdir={tmp_path}")
    assert_refused(outcome, "run.json that cannot be read", "a new --workdir")
    assert snapshot(tmp_path) == {str(tmp_path / "run.json"): content}


@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--config.size=32", "size is 64 in it and 32 in this"),
        ("--config.terms[1].weight=2", "terms.1.weight is 1.0 in it and 2.0 in this"),
        ("--config.seeds=1,2", "seeds is [0] in it and [1, 2] in this"),
    ],
    ids=["size", "weight", "seeds"],
)
def test_a_workdir_that_holds_another_run(
    tmp_path: pathlib.Path, flag: str, difference: str
):
    (tmp_path / "run.json").write_text(run_json())
    before = snapshot(tmp_path)
    outcome = launch_uncompiled(SMOKE, f"--workdir={tmp_path}", flag)
    assert_refused(outcome, "workdir", "holds another run", difference)
    assert snapshot(tmp_path) == before


def test_a_workdir_whose_picture_was_another(tmp_path: pathlib.Path):
    """The same path is not enough: the run remembers the hash."""
    inputs = json.loads(run_json())["inputs"]
    inputs[0]["sha256"] = "0" * 64
    (tmp_path / "run.json").write_text(run_json(inputs=inputs))
    outcome = launch_uncompiled(SMOKE, f"--workdir={tmp_path}")
    assert_refused(outcome, "holds another run", "is another file now", "inputs.0.sha2")


# Experiments, as a config file or a notebook makes them.


def experiment(**fields: object) -> nst_jax.Experiment:
    """The smoke test with other fields; a double underscore is a dot."""
    config = get_config("smoke")
    for path, value in fields.items():
        *parents, name = path.split("__")
        setattr(functools.reduce(getattr, parents, config), name, value)
    return config


class Undecorated(nst_jax.Term):
    """A term whose author forgot what makes it one."""


@nst_jax.term
class Leaving(nst_jax.Term):
    """A term that computes outside of JAX."""

    def __call__(self, view, target):
        return np.asarray(view.image).mean()


WRONG_TYPES = {
    "size a text": ({"size": "64"}, "size must be an integer, got '64'"),
    "size a fraction": ({"size": 64.5}, "size must be an integer, got 64.5"),
    "size a switch": ({"size": True}, "size must be an integer, got True"),
    "steps a switch": ({"steps": False}, "steps must be an integer, got False"),
    "steps None": ({"steps": None}, "steps must be an integer, got None"),
    "content a path": (
        {"content": pathlib.Path("x")},
        "content must be a string, got PosixPath",
    ),
    "styles a text": ({"styles": "x.png"}, "styles must be a tuple, got 'x.png'"),
    "styles of paths": ({"styles": (pathlib.Path("x"),)}, r"styles\[0\] must be a str"),
    "seeds an integer": ({"seeds": 3}, "seeds must be a tuple, got 3"),
    "seeds of fractions": (
        {"seeds": np.array([0.5])},
        r"seeds\[0\] must be an integer, got 0.5",
    ),
    "seeds of switches": (
        {"seeds": (True, False)},
        r"seeds\[0\] must be an integer, got True",
    ),
    "terms a term": (
        {"terms": nst_jax.Gram()},
        "terms must be a tuple, got Gram",
    ),
    "terms of classes": (
        {"terms": (nst_jax.Gram,)},
        "terms.0. must be of type Term, got <class",
    ),
    "a term that is no pytree": (
        {"terms": (Undecorated(),)},
        "terms.0. is of Undecorated, which is no pytree: write @nst_jax.term above",
    ),
    "a term that leaves JAX": (
        {"terms": (Leaving(),)},
        "the code converts a pixel or feature to NumPy; use jax.",
    ),
    "solver a name": ({"solver": "adam"}, "solver must be an optax transformation"),
    "canvas a name": ({"canvas": "noise"}, "canvas must be of type Canvas, got"),
    "numerics a name": ({"numerics": "high"}, "numerics must be of type Numerics, got"),
    "mix a text": (
        {"canvas__mix": "half"},
        "canvas.mix must be a number, got 'half'",
    ),
    "history a fraction": (
        {"solver__history_size": 1.5},
        "solver.history_size must be",
    ),
    "history a switch": ({"solver__history_size": True}, "solver.history_size must be"),
    "clip a number": ({"solver__clip": 1}, "solver.clip must be True or False, got 1"),
    "snapshots a text": (
        {"output__snapshots": ("1",)},
        r"snapshots\[0\] must be an integer, got '1'",
    ),
}


@pytest.mark.parametrize(("fields", "message"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_refused(fields: dict, message: str):
    with pytest.raises(nst_jax.RequestError, match=message) as caught:
        nst_jax.build(experiment(**fields))
    assert len(str(caught.value).splitlines()) == 1


INF = math.inf
INFINITE = {
    "weight": lambda: nst_jax.Content(weight=INF),
    "layer weights": lambda: nst_jax.Gram(layers=("relu1_1",), layer_weights=(INF,)),
    "blend": lambda: nst_jax.Gram(blend=(1.0, INF)),
    "strength": lambda: nst_jax.Gram(strength=INF),
    "shift": lambda: nst_jax.Gram(activation_shift=INF),
    "exponent": lambda: nst_jax.TotalVariation(kind="power", exponent=INF),
    "matting eps": lambda: losses.Photorealism(eps=INF),
    "learning rate": lambda: nst_jax.Adam(learning_rate=INF),
    "tolerance": lambda: nst_jax.SolverOptions(tolerance=INF).solver(),
    "amplitude": lambda: nst_jax.Canvas("noise", amplitude=INF).check(),
    "smoothing": lambda: nst_jax.Smoothing(1, eps=INF).check(),
    "style scales": lambda: nst_jax.Ladder((8,), style_scales=(INF,)).check(),
    "input scale": lambda: experiment(input_scale=INF).check(),
    "axis": lambda: experiment(
        axes=(nst_jax.Vary("terms.style.weight", (1.0, INF)),)
    ).members(),
}


@pytest.mark.parametrize("make", INFINITE.values(), ids=INFINITE)
def test_infinity_is_called_not_finite(make: Callable[[], object]):
    with pytest.raises(nst_jax.RequestError, match=r"(finite|at most 3e.38).*inf"):
        make()


def test_a_copy_with_another_field_leaves_the_original_alone():
    original = get_config("smoke")
    for derived in (copy.deepcopy(original), dataclasses.replace(original)):
        assert derived == original
        derived = derived.with_field("terms.style.weight", 9)
        derived = derived.with_field("numerics.precision", "high")
        assert (original.terms[1].weight, derived.terms[1].weight) == (1, 9)
        assert original.numerics.precision == "highest"
        assert derived != original
        assert isinstance(derived.terms[1], losses.Covariance)
        assert derived.terms[1] == dataclasses.replace(original.terms[1], weight=9)


@pytest.mark.parametrize(
    ("assign", "says"),
    [
        (
            lambda config: setattr(config, "stepss", 4),
            "config has no field 'stepss'; d",
        ),
        (lambda config: setattr(config.canvas, "knd", 4), "canvas .*mean 'kind'"),
        (
            lambda config: setattr(config.canvas, "new", "noise"),
            "called canvas.per_fram",
        ),
        (
            lambda config: setattr(config.ensemble, "process", "fresh"),
            "ensemble.process='fresh' is now called ensemble.process='subprocess'",
        ),
        (lambda config: nst_jax.Canvas(new="noise"), "is now called canvas.per_frame"),
        (lambda config: nst_jax.Ladder(strat=3), "no field 'strat'; did you mean 'st"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest_or_the_new_name(assign, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        assign(get_config())


# Odd, but valid.


PICTURE = np.round(smooth_picture(3, 48, 64) * 255).astype(np.uint8)
GREY = PICTURE[..., 0]


def odd_picture(kind: str) -> tuple[Image.Image, dict, np.ndarray]:
    """(picture, options to save it with, what a person sees of it in levels)."""
    rgb = Image.fromarray(PICTURE)
    grey = np.repeat(GREY[..., None], 3, -1)
    if kind == "greyscale.jpg":
        return Image.fromarray(GREY), {"quality": 95}, grey
    if kind == "16 bits.png":
        return Image.fromarray(GREY.astype(np.uint16) * 257), {}, grey
    if kind == "cmyk.tiff":
        return rgb.convert("CMYK"), {}, PICTURE
    if kind == "palette, transparent.png":
        indexed = Image.fromarray((GREY > 127).astype(np.uint8), "L")
        indexed.putpalette([200, 10, 30, 5, 6, 7])
        # What nobody sees has the colour of what is nearest.
        seen = np.broadcast_to([200, 10, 30], PICTURE.shape)
        return indexed, {"transparency": 1}, seen
    if kind == "turned by EXIF.png":
        exif = Image.Exif()
        exif[0x0112] = 6
        return rgb.transpose(Image.Transpose.ROTATE_90), {"exif": exif}, PICTURE
    if kind == "animation.gif":
        frames = [Image.new("RGB", (64, 48), colour) for colour in ("lime", "red")]
        seen = np.broadcast_to([0, 255, 0], PICTURE.shape)
        return frames[0], {"save_all": True, "append_images": frames[1:]}, seen
    assert kind == "one pixel.png"
    return (
        Image.new("RGB", (1, 1), (9, 80, 200)),
        {},
        np.full((64, 64, 3), (9, 80, 200)),
    )


#: Kind -> by how many levels the format itself may lie.
ODD = {
    "greyscale.jpg": 2,
    "16 bits.png": 0,
    "cmyk.tiff": 1,
    "palette, transparent.png": 0,
    "turned by EXIF.png": 0,
    "animation.gif": 0,
    "one pixel.png": 0,
}


@pytest.mark.parametrize(("kind", "tolerance"), ODD.items(), ids=ODD)
def test_an_odd_picture_is_what_a_person_sees(
    tmp_path: pathlib.Path, kind: str, tolerance: int
):
    """As content and as style, through `build`."""
    image, options, seen = odd_picture(kind)
    path = str(tmp_path / kind)
    image.save(path, **options)
    plan = nst_jax.build(experiment(content=path, styles=(path,)))
    (group,) = plan.groups
    for found in (group.content, *group.styles):
        np.testing.assert_allclose(found * 255, seen, atol=tolerance + 1e-4)
    assert [(item.role, item.size) for item in plan.inputs] == [
        ("content", seen.shape[:2]),
        ("styles[0]", seen.shape[:2]),
        ("weights", None),
    ]


def test_building_compiles_nothing():
    """A request is read, checked and traced; what needs XLA waits for the run."""
    compiled: list[str] = []

    def listen(event: str, _: float, **__: object) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        plan = nst_jax.build(get_config("smoke"))
        assert not compiled
        assert plan.groups[0].problems()[0].targets
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
