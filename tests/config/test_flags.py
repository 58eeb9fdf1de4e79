"""Config files with neighbours, and flags for one entry of a tuple."""

import sys

import pytest

import nst_jax
from configs.transfer import get_config
from nst_jax.config.flags import (
    load_config,
    parse_tuple,
    split_overrides,
    with_overrides,
)
from nst_jax.core import paths


@pytest.fixture(autouse=True)
def _own_paths(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(paths, "_FOLDERS", paths._FOLDERS.copy())


def write_config(folder, weight, late=False):
    """A config that takes its weight from the module y beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "y.py").write_text(f"weight = {weight}\n")
    (folder / "z.py").write_text("from y import weight\n")
    imports = "import y\n" if not late else "    import y\n"
    (folder / "x.py").write_text(
        "import nst_jax\n"
        + ("" if late else imports)
        + "from configs.transfer import get_config as base\n"
        "def get_config():\n" + (imports if late else "") + "    from z import weight\n"
        "    assert weight == y.weight\n"
        "    config = base()\n"
        "    return config.with_field('terms[0].weight', y.weight)\n"
    )
    return str(folder / "x.py")


@pytest.mark.parametrize("late", [False, True])
def test_a_config_imports_its_neighbours(tmp_path, late):
    one = write_config(tmp_path / "one", 3.0, late)
    two = write_config(tmp_path / "two", 4.0, late)
    modules = set(sys.modules)
    for config, weight in ((one, 3.0), (two, 4.0), (one, 3.0)):
        assert load_config(config).terms[0].weight == weight
    assert set(sys.modules) == modules, "another config's neighbours would be taken"
    (tmp_path / "one" / "y.py").write_text("weight = 5.0\n")
    assert load_config(one).terms[0].weight == 5.0


def test_a_neighbour_does_not_hide_what_is_imported_later(tmp_path):
    config = write_config(tmp_path, 3.0)
    (tmp_path / "wave.py").write_text("")
    load_config(config)
    import wave

    assert hasattr(wave, "open")


def test_what_a_config_raises_is_one_sentence_even_an_exit(tmp_path):
    (tmp_path / "x.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(nst_jax.RequestError, match=r"x.py', line 2: SystemExit: 0"):
        load_config(str(tmp_path / "x.py"))


ENTRIES = {
    "styles[1]": ("c,d.png", ("a.png", "c,d.png")),
    "seeds[0]": ("7", (7, 1)),
    "terms[1].layers[0]": ("relu1_2", None),
    "ladder.sizes[1]": ("48", (32, 48)),
}


@pytest.mark.parametrize("path", ENTRIES)
def test_a_flag_sets_one_entry(path):
    config = get_config()
    config.styles, config.seeds = ("a.png", "b.png"), (0, 1)
    config.ladder.sizes = (32, 64)
    text, wanted = ENTRIES[path]
    config = with_overrides(config, [(path, text)])
    if wanted is None:
        assert config.terms[1].layers[0] == "relu1_2"
        assert len(config.terms[1].layers) > 1
    else:
        field = path.partition("[")[0]
        node = config.ladder if field.startswith("ladder") else config
        assert getattr(node, field.rpartition(".")[2]) == wanted


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("styles[1]", r"styles\[1\] does not exist; .* has 1 entries, counted from 0"),
        ("styles[-1]", r"styles\[-1\] does not exist"),
        ("stiles[0]", "has no field 'stiles'; did you mean 'styles'"),
        ("terms[0]", r"terms\[0\] is a record: set its fields"),
        ("size[0]", "size is .*, which has no field '0'"),
    ],
)
def test_an_entry_that_is_not_there(path, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        with_overrides(get_config(), [(path, "1")])


def test_overrides_are_split_from_other_flags():
    other_arguments, overrides = split_overrides(
        [
            *("launch.py", "--config", "x.py", "--config.seeds[0]", "3"),
            *("--config.canvas.ulps", "-3", "--workdir=x", "--config.styles=a,b"),
            *("--config.output.exact", "--noconfig.solver.clip", "--dry_run"),
        ]
    )
    assert other_arguments == [
        *("launch.py", "--config", "x.py", "--workdir=x", "--dry_run")
    ]
    assert overrides == [
        *(("seeds[0]", "3"), ("canvas.ulps", "-3"), ("styles", "a,b")),
        *(("output.exact", ""), ("solver.clip", "false")),
    ]


def test_entries_come_after_whole_fields_and_the_last_flag_counts():
    config = with_overrides(
        get_config(),
        [
            *(("styles[0]", "a.png"), ("styles[0]", "b.png"), ("size", "16")),
            *(("styles", "x.png,y.png"), ("styles", "x.png,z.png"), ("size", "32")),
            *(("output.exact", ""), ("terms.style.weight", "3")),
        ],
    )
    assert config.styles == ("b.png", "z.png")
    assert (config.size, config.output.exact, config.terms[1].weight) == (32, True, 3.0)


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        (
            "canvas.new",
            "noise",
            "config.canvas.new is now called config.canvas.per_fra",
        ),
        ("ensemble.process", "own", "ensemble.process='own' is now called .*'inline'"),
        ("ensemble.process", "fresh", "now called ensemble.process='subprocess'"),
    ],
)
def test_a_former_name_is_answered_with_the_new_one(path, text, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        with_overrides(get_config(), [(path, text)])


def test_an_assignment_to_a_frozen_term_says_what_to_write(tmp_path):
    (tmp_path / "x.py").write_text(
        "from configs.transfer import get_config as base\n"
        "def get_config():\n    base().terms[0].weight = 9.0\n"
    )
    with pytest.raises(nst_jax.RequestError, match=r"line 3: .*weight.*with_field"):
        load_config(str(tmp_path / "x.py"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a,b.png", ("a", "b.png")),
        ("a photo.jpg", ("a photo.jpg",)),
        ("there, is one.png", ("there, is one.png",)),
        ("'one, two.jpg',b.jpg", ("one, two.jpg", "b.jpg")),
        ('b.jpg, "one, two.jpg"', ("b.jpg", "one, two.jpg")),
        ("'one, two.jpg'", ("one, two.jpg",)),
        ("o'brien.jpg,b.jpg", ("o'brien.jpg", "b.jpg")),
        ("('a,b.png', 'c.png')", ("a,b.png", "c.png")),
        ("1,2", (1, 2)),
        ("", ("",)),
    ],
)
def test_commas_separate_paths_unless_they_are_in_a_files_name(
    text, value, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there, is one.png").touch()
    assert parse_tuple(text) == value
