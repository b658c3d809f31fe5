"""What a batch run reads and writes, from names alone."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.batch.manifest import ENDINGS, Item, endings_of, name_within, read_items
from geofsrcnn.errors import InputError, OutputError, UsageError


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """An archive: two folders with the same name in both, a store, and files that are no rasters."""
    for name in ("a/dem.tif", "b/dem.tif", "b/tas.nc", "b/readme.txt", "b/.hidden.tif", "c.zarr/zarr.json", "d/x.tif"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "in" / "c.zarr" / "inner").mkdir()
    (tmp_path / "in" / "c.zarr" / "inner" / "zarr.json").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(inputs, tree, **options) -> dict[str, str]:
    """Inputs by outputs, both relative."""
    items = read_items(inputs, str(tree / "out"), 3, **options)
    return {item.target: str(Path(item.source).relative_to(tree)) for item in items}


def test_a_folder_comes_again_with_its_subfolders(tree):
    assert names(["in"], tree) == {
        "a/dem_x3.tif": "in/a/dem.tif",
        "b/dem_x3.tif": "in/b/dem.tif",
        "b/tas_x3.nc": "in/b/tas.nc",
        "c_x3.zarr": "in/c.zarr",
        "d/x_x3.tif": "in/d/x.tif",
    }


@pytest.mark.parametrize(
    ("driver", "inside", "name", "output"),
    [
        ("JP2OpenJPEG", None, "T33UUP_B05.jp2", "T33UUP_B05_x3.tif"),
        ("jp2openjpeg", None, "T33UUP_B05.JP2", "T33UUP_B05_x3.tif"),
        ("HFA", None, "landsat.img", "landsat_x3.tif"),
        (None, "*.tif", "chirps-v2.0.tif.gz", "chirps-v2.0_x3.tif"),
        (None, "*.nc", "era5.zip", "era5_x3.tif"),
    ],
)
def test_a_folder_of_other_rasters(tree, driver, inside, name, output):
    """Those of the driver are taken, and their outputs are GeoTIFFs; packed ones where a file within is asked for."""
    (tree / "in" / "e").mkdir()
    (tree / "in" / "e" / name).write_bytes(b"")
    assert names(["in"], tree, endings=endings_of(driver, inside)) == {f"e/{output}": f"in/e/{name}"}
    assert names([f"in/e/{name}"], tree) == {output: f"in/e/{name}"}
    assert endings_of("NoSuchDriver", None) == ENDINGS


def test_outputs_within_a_folder_of_inputs_are_no_inputs(tree):
    """So that the same command can be given again."""
    fine = tree / "fine"
    before = read_items([tree, f"{tree}/**/*.tif"], str(fine), 3)
    for item in before:
        (fine / item.target).parent.mkdir(parents=True, exist_ok=True)
        (fine / item.target).write_bytes(b"")
    assert read_items([tree, f"{tree}/**/*.tif"], str(fine), 3) == before
    for inputs in (fine, fine / "**/*.tif"):  # the next run would take the outputs of this one for inputs
        with pytest.raises(UsageError, match=r"outputs would lie among the inputs in .*fine: choose another"):
            read_items([inputs], str(fine), 2)


def test_links_that_lead_around_end(tree):
    """Each folder is looked into once, whatever leads to it."""
    expected = names(["in"], tree)
    for name in ("self", "again"):
        (tree / "in" / "a" / name).symlink_to(tree / "in")
    assert names(["in"], tree) == expected


def test_a_search_can_be_ended(tree):
    """In each folder, so that a signal need not wait for the last of a large archive."""
    looked = []

    def check() -> None:
        looked.append(1)
        if len(looked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        names(["in"], tree, check=check)
    assert len(looked) == 2


def test_lists_that_cannot_be(tree):
    """One that lists itself, in any way, and one that is no text."""
    Path("l.txt").write_text("@m.txt\n", encoding="utf-8")
    Path("m.txt").write_text("@../" + tree.name + "/l.txt\n", encoding="utf-8")
    with pytest.raises(InputError, match="lists itself"):
        names(["@l.txt"], tree)
    Path("l.txt").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"cannot read the list l\.txt .not UTF-8"):
        names(["@l.txt"], tree)
    Path("l.txt").write_text("\ufeffin/d/x.tif\r\n# one\u2028line\r\n", newline="", encoding="utf-8")
    assert names(["@l.txt"], tree) == {"x_x3.tif": "in/d/x.tif"}
    Path("m.jsonl").write_text('{"input": "in/a/dem.tif", "input": "in/b/dem.tif"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1 is no JSON .input stands there twice"):
        names(["m.jsonl"], tree)


def test_odd_names_are_the_problem_of_their_file(tree):
    """Names that no output can have; a question mark is one of a file, and begins a query in a URL alone."""
    for name in ("new\nline.tif", f"{'x' * 250}.tif", "q?1.tif", "q?2.tif"):
        (tree / "in" / "d" / name).write_bytes(b"")
    found = {Path(item.target).name: item.problem for item in read_items(["in/d"], str(tree / "out"), 3)}
    assert found["q?1_x3.tif"] == found["q?2_x3.tif"] == found["x_x3.tif"] == ""
    assert "control characters: rename it" in found["new\nline_x3.tif"]
    assert "longer than 255 bytes" in found[f"{'x' * 250}_x3.tif"]
    [item] = read_items(["https://h/q.tif?k=1"], str(tree / "out"), 3)
    assert item.target == "q_x3.tif"


@pytest.mark.parametrize("pattern", ["{stem:d}", "{stem:{foo}}.tif", "{stem!x}.tif", "{0}.tif", "{stem.x}", "{stem"])
def test_patterns_that_cannot_be(tree, pattern):
    with pytest.raises(UsageError, match="pattern "):
        names(["in"], tree, pattern=pattern)


def test_globs_keep_the_folders_below_their_fixed_part(tree):
    assert names(["in/*/dem.tif"], tree) == {"a/dem_x3.tif": "in/a/dem.tif", "b/dem_x3.tif": "in/b/dem.tif"}
    assert names(["in/b/*.nc"], tree) == {"tas_x3.nc": "in/b/tas.nc"}
    assert set(names(["in/**/*.tif"], tree)) == {"a/dem_x3.tif", "b/dem_x3.tif", "d/x_x3.tif"}
    assert set(names([str(tree / "in" / "*.zarr")], tree)) == {"c_x3.zarr"}


def test_a_name_with_brackets_is_a_name(tree):
    (tree / "in" / "scene[1].tif").write_bytes(b"")
    assert names(["in/scene[1].tif"], tree) == {"scene[1]_x3.tif": "in/scene[1].tif"}


def test_an_input_given_twice_comes_once(tree):
    assert names(["in/b/tas.nc", "in/b/*.nc"], tree) == {"tas_x3.nc": "in/b/tas.nc"}


def test_lists_and_manifests(tree):
    (tree / "list.txt").write_text("# ours\n\nin/a/dem.tif\nin/b/*.nc\n")
    lines = [
        {"input": "in/b/dem.tif", "output": "sub/other.tif"},
        {"input": "in/c.zarr", "variables": ["tas", "pr"]},
        {"input": "s3://bucket/far.tif"},
    ]
    (tree / "run.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    items = read_items(["@list.txt", "run.jsonl"], str(tree / "out"), 2)
    assert items == [
        Item(str(tree / "in/a/dem.tif"), "dem_x2.tif"),
        Item(str(tree / "in/b/tas.nc"), "tas_x2.nc"),
        Item(str(tree / "in/b/dem.tif"), "sub/other.tif"),
        Item(str(tree / "in/c.zarr"), "c_x2.zarr", ("tas", "pr")),
        Item("s3://bucket/far.tif", "far_x2.tif"),
    ]


def test_urls_are_listed_where_they_have_a_star(tree):
    asked = []

    def listing(url):
        asked.append(url)
        return ["s3://b/1.tif", "s3://b/2.tif"]

    items = read_items(["s3://b/*.tif", "https://h/x.zarr.zip?key=1"], "s3://out/x", 4, listing=listing)
    assert asked == ["s3://b/*.tif"]
    assert [item.target for item in items] == ["1_x4.tif", "2_x4.tif", "x_x4.zarr"]


def test_the_pattern_names_outputs(tree):
    assert names(["in/b/tas.nc"], tree, pattern="{factor}/{stem}.zarr") == {"3/tas.zarr": "in/b/tas.nc"}


@pytest.mark.parametrize(
    ("inputs", "options", "error", "words"),
    [
        (["in/a/dem.tif", "in/b/dem.tif"], {}, UsageError, "have the same output, dem_x3.tif"),
        (["in/a/dem.tif"], {"pattern": "../{stem}{suffix}"}, UsageError, "leaves the folder of outputs"),
        (["in/a/dem.tif"], {"pattern": "/x/{stem}{suffix}"}, UsageError, "leaves the folder of outputs"),
        (["in/a/dem.tif"], {"pattern": "x" * 300}, OutputError, "longer than 255 bytes"),
        (["in/none*.tif"], {}, InputError, "no file fits in/none"),
        (["empty"], {}, InputError, "no .tif, .tiff"),
        (["@none.txt"], {}, InputError, "cannot read the list none.txt"),
        ([], {}, InputError, "no inputs"),
        (["in/b/tas.nc"], {"pattern": "{stem"}, UsageError, "is wrong"),
        (["in/b/tas.nc"], {"pattern": "{stem}_{name}.tif"}, UsageError, "has {name}"),
        (["in/b/tas.nc"], {"pattern": "{}.tif"}, UsageError, "has {}"),
    ],
)
def test_refusals(tree, inputs, options, error, words):
    (tree / "empty").mkdir()
    with pytest.raises(error, match=words):
        names(inputs, tree, **options)


def test_an_output_that_is_an_input_is_refused(tree):
    with pytest.raises(UsageError, match="output is an input"):
        read_items(["in/a/dem.tif"], str(tree / "in" / "a"), 3, pattern="{stem}{suffix}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is no JSON"),
        ("[]", 'line 2 must be an object with "input"'),
        ('{"input": 1}', 'line 2 must be an object with "input"'),
        ('{"input": "a.tif", "factor": 2}', "line 2 has factor"),
        ('{"input": "a.tif", "output": 1}', '"output" is a name'),
        ('{"input": "a.tif", "variables": "tas"}', "a list of names"),
        ('{"input": "a.tif", "output": "../../a.tif"}', "leaves the folder"),
    ],
)
def test_wrong_manifests(tree, line, words):
    (tree / "run.jsonl").write_text('{"input": "in/a/dem.tif"}\n' + line + "\n")
    with pytest.raises((InputError, UsageError), match=words):
        names(["run.jsonl"], tree)


@given(st.text(min_size=1, max_size=20))
def test_no_name_leaves_the_folder(tmp_path_factory, name):
    """Whatever a manifest says, the output lies in the folder of outputs."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "run.jsonl").write_text(json.dumps({"input": "/x/a.tif", "output": name}))
    try:
        [item] = read_items([str(folder / "run.jsonl")], str(folder / "out"), 3)
    except (UsageError, OutputError):
        return
    assert (folder / "out" / item.target).resolve().is_relative_to((folder / "out").resolve())


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("a.tif", "a.tif"),
        ("a\\b.tif", "a/b.tif"),
        ("a/../b.tif", "b.tif"),
        ("..\\b.tif", ""),
        ("a\\..\\..\\b.tif", ""),
        ("C:\\b.tif", ""),
        ("C:b.tif", ""),
        ("\\b.tif", ""),
        ("\\\\server\\share\\b.tif", ""),
        (".", ""),
    ],
)
def test_an_output_on_windows_never_leaves_its_folder(name, within):
    """Drives, shares and backslashes lead out of a folder there, and do not here."""
    assert name_within(PureWindowsPath(name)) == within
    assert name_within(PurePosixPath("a\\b.tif")) == "a\\b.tif"
