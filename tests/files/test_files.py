"""Names that may be opened, what files are, and outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from geofsrcnn import system
from geofsrcnn.errors import InputError, OutputError, RemoteError, UsageError
from geofsrcnn.files import staging
from geofsrcnn.files.kinds import head, sniff
from geofsrcnn.files.locks import lock_file, open_to_lock
from geofsrcnn.files.paths import expand, local_path, match_names, refuse_same, says_more_than_statistics, sidecars_of
from geofsrcnn.files.staging import check_target, staged, syncing


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("", InputError, "not a file name: ''"),
        ("a\0b.tif", InputError, r"not a file name: 'a\\x00b.tif' \(empty or with control characters\)"),
        ("a\nb.tif", InputError, "control characters"),
        ("\x7f.tif", InputError, "control characters"),
        ("-", InputError, "not a file name: '-': give the path of a local file"),
        ("<VRTDataset></VRTDataset>", InputError, "not a file name: '<VRTDataset>"),
        ("http://127.0.0.1:9/x.tif", RemoteError, "remote input is not allowed: http://127.0.0.1:9/x.tif"),
        ("s3://bucket/x.tif", RemoteError, "remote input is not allowed"),
        ("vrt://x.tif?bands=1", RemoteError, "remote input is not allowed: vrt://x.tif:"),
        ("/vsicurl/http://127.0.0.1:9/x.tif", RemoteError, "remote input is not allowed: /vsicurl/"),
        ("/vsizip/x.zip/x.tif", RemoteError, "GDAL's virtual file systems are not read"),
        ("/vsimem/x.tif", RemoteError, "virtual file systems"),
        ("NETCDF:x.nc:t2m", InputError, r"not a file name: NETCDF:x.nc:t2m \(NETCDF: names a GDAL driver\)"),
        ("HDF5:x.h5://a/b", RemoteError, "remote input is not allowed"),
        ("GTIFF_DIR:1:x.tif", InputError, "no such file: GTIFF_DIR:1:x.tif"),
        ("MEM:::DATAPOINTER=1", InputError, "MEM: names a GDAL driver"),
        ("nowhere.tif", InputError, "no such file: nowhere.tif"),
        ("nowhere/in/x.tif", InputError, "no such file"),
        ("x" * 300, InputError, "cannot look at x.*name too long"),
    ],
)
def test_names_that_are_not_local_files_are_refused(tmp_path, monkeypatch, name, error, words):
    """Names that GDAL would take for something else are refused before any library sees them."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"(?i){words}"):
        local_path(name)


def test_secrets_are_cut_from_messages():
    """User names, passwords and query strings of URLs are in no message."""
    with pytest.raises(RemoteError, match=r"https://host.org/x.tif: download the file first") as caught:
        local_path("https://me:secret@host.org/x.tif?token=abc")
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
    with pytest.raises(RemoteError, match=r"/vsicurl/https://host.org/x.tif: download") as caught:
        local_path("/vsicurl/https://me:secret@host.org/x.tif?token=abc")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("name", ["a:b.tif", "GTiff:x.tif", "größe %20 ;'\".tif", "http:x", " x"])
def test_odd_names_of_files_that_exist_are_local(tmp_path, monkeypatch, name):
    """A file that exists is opened under its absolute path, however its name looks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    assert local_path(name) == tmp_path / name


def test_special_files_are_refused_at_once(tmp_path):
    """FIFOs, devices and sockets are neither files nor folders; nothing is read from them, nothing hangs."""
    fifo = tmp_path / "fifo.tif"
    os.mkfifo(fifo)
    for name in (fifo, "/dev/zero", "/dev/stdin"):
        if Path(name).is_file():
            continue
        with pytest.raises(InputError, match=r"neither a file nor a folder: .* \(type 0o\d+\)"):
            local_path(name)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"II*\0", "GeoTIFF"),
        (b"MM\0*", "GeoTIFF"),
        (b"II+\0", "GeoTIFF"),
        (b"MM\0+", "GeoTIFF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"CDF\1", "NetCDF"),
        (b"CDF\2", "NetCDF"),
        (b"CDF\5", "NetCDF"),
        (b"CDF\3", "unknown"),
        (b"GRIB", "GRIB"),
        (b"", "unknown"),
        (b"II", "unknown"),
        (b"<VRTDataset", "unknown"),
        (b"CDF", "unknown"),
    ],
)
def test_the_first_bytes_say_what_a_file_is(tmp_path, start, kind):
    """Magic numbers decide, the suffix does not."""
    path = tmp_path / "x.tif"
    path.write_bytes(start + b"more" * (len(start) > 3))
    assert sniff(path) == kind
    assert head(path, 4) == start[:4]


@pytest.mark.parametrize(("mark", "kind"), [(".zarray", "Zarr"), ("zarr.json", "Zarr"), ("other", "unknown")])
def test_folders_are_zarr_by_their_marks(tmp_path, mark, kind):
    """A folder is a Zarr store if one of Zarr's files is in it."""
    (tmp_path / mark).write_text("{}")
    assert sniff(tmp_path) == kind


@pytest.mark.parametrize("name", ["a.TFW", "a.tfw", "a.tab", "a.TAB", "a.tif.aux.xml", "a_RPC.TXT", "a.IMD", "a.RPB"])
def test_sidecars_are_found_in_any_case(tmp_path, name):
    """World files in capitals, as old software writes them, and MapInfo's .tab count as sidecars."""
    for each in ("a.tif", "b.tfw", "a.txt", name):
        (tmp_path / each).write_bytes(b"x")
    assert sidecars_of(tmp_path / "a.tif") == [tmp_path / name]


@pytest.mark.parametrize("length", [240, 248, 255])
def test_sidecars_of_a_long_name(tmp_path, length):
    """A name to which nothing can be added has none."""
    path = tmp_path / ("x" * (length - 4) + ".tif")
    path.write_bytes(b"x")
    assert sidecars_of(path) == []


def test_a_file_that_cannot_be_read(tmp_path):
    """What cannot be read is an InputError with the system's words."""
    with pytest.raises(InputError, match=r"cannot read .* \(Is a directory\)"):
        head(tmp_path)
    with pytest.raises(InputError, match=r"no such file: .*nowhere.tif$"):
        head(tmp_path / "nowhere.tif")


@pytest.mark.parametrize("kind", ["path", "dots", "symlink", "hard link", "symlink to symlink"])
def test_the_output_is_never_the_input(tmp_path, kind):
    """Under whatever name the output is the input, it is refused."""
    source = tmp_path / "x.tif"
    source.write_bytes(b"x")
    other = tmp_path / "y.tif"
    if kind == "path":
        other = source
    elif kind == "dots":
        (tmp_path / "sub").mkdir()
        other = tmp_path / "sub" / ".." / "x.tif"
    elif kind == "hard link":
        other.hardlink_to(source)
    else:
        middle = tmp_path / "z.tif"
        middle.symlink_to(source)
        other.symlink_to(middle if "to" in kind else source)
    with pytest.raises(UsageError, match=r"output is the input: .*: give another name"):
        refuse_same(other, tmp_path / "elsewhere.tif", source)
    refuse_same(tmp_path / "new.tif", source)


def names(folder):
    """All names in a folder."""
    return sorted(p.name for p in folder.iterdir())


def test_a_block_that_ends_well_publishes(tmp_path):
    """The file appears under its name with the block's end, and nothing else is left."""
    target = tmp_path / "x.tif"
    with staged(target) as path:
        path.write_bytes(b"whole")
        assert not target.exists()
        assert path.suffix == ".tif"
        assert path.parent.parent == tmp_path
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == ["x.tif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit, InputError])
@pytest.mark.parametrize("old", [False, True])
def test_a_block_that_fails_leaves_nothing(tmp_path, error, old):
    """Whatever ends the block, the target is as before and nothing is left."""
    target = tmp_path / "x.tif"
    if old:
        target.write_bytes(b"old")
    with pytest.raises(error, match="why"), staged(target, overwrite=True) as path:  # noqa: PT012
        path.write_bytes(b"half")
        raise error("why")
    assert names(tmp_path) == (["x.tif"] if old else [])
    assert not old or target.read_bytes() == b"old"


def test_system_errors_are_output_errors(tmp_path):
    """An OSError of the block is an OutputError that names the target."""
    with (
        pytest.raises(OutputError, match=r"cannot write .*x.tif \(No space left on device\)"),
        staged(tmp_path / "x.tif"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_target_that_exists_needs_overwrite(tmp_path):
    """An existing target is refused before the block, replaced with overwrite, and keeps its mode."""
    target = tmp_path / "x.tif"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with pytest.raises(OutputError, match=r"output exists: .*x.tif: use overwrite=True"), staged(target):
        pytest.fail("the block must not run")
    with staged(target, overwrite=True) as path:
        path.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path, umask, mode):
    """A new file's mode is what the umask says, not a temporary's."""
    before = os.umask(umask)
    try:
        with staged(tmp_path / "x.tif") as path:
            path.write_bytes(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.tif").stat().st_mode) == mode


def test_a_target_that_appears_meanwhile_is_kept(tmp_path):
    """A file that appears under the name before publication is not replaced."""
    target = tmp_path / "x.tif"
    with pytest.raises(OutputError, match=r"output exists: .*another run made it"), staged(target) as path:  # noqa: PT012
        path.write_bytes(b"mine")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["x.tif"]


@pytest.mark.parametrize("there", [False, True])
def test_file_systems_without_hard_links(tmp_path, monkeypatch, there):
    """Where links are not possible, the name is taken exclusively first."""

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "x.tif"
    if there:
        with pytest.raises(OutputError, match=r"output exists: .*another run made it"), staged(target) as path:  # noqa: PT012
            path.write_bytes(b"mine")
            target.write_bytes(b"theirs")
        assert target.read_bytes() == b"theirs"
    else:
        with staged(target) as path:
            path.write_bytes(b"mine")
        assert target.read_bytes() == b"mine"
    assert names(tmp_path) == ["x.tif"]


def test_the_file_is_synced_before_it_appears(tmp_path, monkeypatch):
    """The file is fsynced before it is published, its folder after."""
    target = tmp_path / "x.tif"
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append((os.fstat(fd).st_ino, target.exists())), sync(fd)))
    with staged(target) as path:
        path.write_bytes(b"new")
        inode = path.stat().st_ino
    assert synced == [(inode, False), (tmp_path.stat().st_ino, True)]


def test_a_file_is_synced_while_it_is_read_back(tmp_path, monkeypatch):
    """An error of the disk is raised there: the system tells it once."""
    path = tmp_path / "x.tif"
    path.write_bytes(b"new")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    with syncing(path):
        pass
    assert synced == [path.stat().st_ino]

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), syncing(path):
        pass


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    """If the target is a link, the file that it points to is replaced, and only with overwrite."""
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "real.tif", tmp_path / "link.tif"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with pytest.raises(OutputError, match=r"output exists: .*real.tif"), staged(link):
        pytest.fail("the block must not run")
    with staged(link, overwrite=True) as path:
        assert path.parent.parent == real.parent
        path.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_dangling_link_is_written_through(tmp_path):
    """A link to nothing gets its file."""
    link = tmp_path / "link.tif"
    link.symlink_to(tmp_path / "real.tif")
    with staged(link) as path:
        path.write_bytes(b"new")
    assert (tmp_path / "real.tif").read_bytes() == b"new"
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "output is a folder: .*: give a file name"),
        ("none/x.tif", "output folder is missing: .*none: make it first"),
        ("file/x.tif", "output folder is missing: .*file"),
        ("x" * 252 + ".tif", "output name is longer than 255 bytes: .*x"),
        ("ü" * 126 + ".tif", "output name is longer than 255 bytes"),
    ],
)
def test_targets_that_cannot_be(tmp_path, name, words):
    """Folders, missing folders and names that are too long are refused before any work."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=words):
            check_target(tmp_path / name, overwrite=overwrite)
    assert names(tmp_path) == ["file", "folder"]


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    """The longest name that the file system takes works: the temporary's name is no longer."""
    target = tmp_path / ("ä" * 125 + ".tif!")
    assert len(os.fsencode(target.name)) == 255
    with staged(target) as path:
        path.write_bytes(b"new")
    assert names(tmp_path) == [target.name]


LEFT = ".x.tif.0123abcd.part"


@pytest.mark.parametrize("when", [0.0, 2.0**33, None])
def test_leftovers_of_dead_runs_are_removed(tmp_path, when):
    """A work folder whose lock is free goes in the next run for the same output, whatever its date."""
    (tmp_path / LEFT).mkdir()
    (tmp_path / LEFT / "output.tif").write_bytes(b"half")
    if when is not None:
        os.utime(tmp_path / LEFT, (when, when))
    with staged(tmp_path / "x.tif") as path:
        assert names(tmp_path) == [path.parent.name]
        path.write_bytes(b"new")
    assert names(tmp_path) == ["x.tif"]


@pytest.mark.parametrize("folders_open", [True, False])
def test_work_of_live_runs_is_left_alone(tmp_path, monkeypatch, folders_open):
    """A work folder that is locked stays, or where folders cannot be opened, one that holds a locked file."""
    if not folders_open:
        monkeypatch.setattr(system, "open_folder", lambda _: None)
    (tmp_path / LEFT).mkdir()
    lock = open_to_lock(tmp_path / LEFT)
    lock_file(lock)
    with staged(tmp_path / "x.tif") as path:
        path.write_bytes(b"new")
    os.close(lock)
    assert names(tmp_path) == [LEFT, "x.tif"]


@pytest.mark.parametrize(
    "name",
    [".y.tif.0123abcd.part", ".x.tif.0123abc.part", ".x.tif.0123abcd.parts", "x.tif.0123abcd.part", ".x.tif.part"],
)
def test_nothing_else_is_ever_removed(tmp_path, name):
    """Only names of this output's own work folders are removed; files and links of such names stay."""
    (tmp_path / name).mkdir()
    (tmp_path / LEFT).write_bytes(b"a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".x.tif.89abcdef.part").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    with staged(tmp_path / "x.tif") as path:
        path.write_bytes(b"new")
    assert names(tmp_path) == sorted([*before, "x.tif"])


def test_what_cannot_be_removed_is_named(tmp_path, monkeypatch):
    """If the work folder cannot be removed, the error names it."""

    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with (  # noqa: PT012
        pytest.raises(OutputError, match=r"cannot remove .*\.x\.tif\.[0-9a-f]{8}\.part \(Input/output error\)"),
        staged(tmp_path / "x.tif") as path,
    ):
        path.write_bytes(b"new")
        monkeypatch.setattr(staging.shutil, "rmtree", refuse)
    assert (tmp_path / "x.tif").read_bytes() == b"new"


def test_a_folder_that_is_removed_meanwhile(tmp_path, monkeypatch):
    """If the folder of the output goes before the work folder is made, that is an error."""
    target = tmp_path / "folder" / "x.tif"
    target.parent.mkdir()
    monkeypatch.setattr(staging, "_remove_leftovers", lambda _: target.parent.rmdir())
    with pytest.raises(OutputError, match=r"cannot write into .*folder \(No such file or directory\)"), staged(target):
        pytest.fail("the block must not run")


def test_a_path_that_is_too_long_for_windows(tmp_path, monkeypatch):
    """Windows says of a path of more than 247 characters that it finds it not: the error says why."""
    deep = tmp_path / "/".join(["x" * 50] * 5)
    deep.mkdir(parents=True)

    def refuse(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified")

    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(Path, "mkdir", refuse)
    words = r"specified\): its path has more than 247 characters: write to a folder nearer to the root$"
    with pytest.raises(OutputError, match=words), staged(deep / "x.tif"):
        pytest.fail("the block must not run")


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    """A block that ends without having made its file is an OutputError."""
    with (
        pytest.raises(OutputError, match=r"cannot write .*x.tif \(No such file or directory\)"),
        staged(tmp_path / "x.tif"),
    ):
        pass
    assert names(tmp_path) == []


def test_a_pipe_is_never_replaced(tmp_path):
    """An output that exists and is no file, a pipe or a device, is refused with --overwrite too, and stays."""
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"output is a device or pipe, not a file: .*pipe.tif"):
            check_target(pipe, overwrite=overwrite)
        with pytest.raises(OutputError, match="device or pipe"), staged(pipe, overwrite=overwrite):
            pass
    assert pipe.is_fifo()


def test_a_writer_that_goes_on_for_a_moment_leaves_nothing(tmp_path, monkeypatch):
    """Threads of a failed writer may make a file while the work folder is being removed: it is removed again."""
    remove, tries = staging.shutil.rmtree, []

    def disturbed(work, *arguments, **options):
        tries.append(work)
        if len(tries) <= 2:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        remove(work, *arguments, **options)

    monkeypatch.setattr(staging.shutil, "rmtree", disturbed)
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "x.zarr", folder=True):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("inner", "more"),
    [
        ("", False),
        ('<Metadata><MDI key="STATISTICS_MEAN">3</MDI><MDI key="STATISTICS_STDDEV">1</MDI></Metadata>', False),
        ("<Histograms><HistItem><HistMin>0</HistMin><HistCounts>1|2</HistCounts></HistItem></Histograms>", False),
        ("<NoDataValue>0</NoDataValue>", True),
        ('<Metadata><MDI key="STATISTICS_MEAN">3</MDI></Metadata><NoDataValue le_hex_equiv="0">0</NoDataValue>', True),
        ("<Scale>0.1</Scale>", True),
    ],
)
def test_statistics_beside_a_raster_change_nothing(tmp_path, inner, more):
    """An .aux.xml of statistics and histograms tells nothing new; a nodata value or a scale does."""
    path = tmp_path / "a.jp2.aux.xml"
    path.write_text(
        f'<?xml version="1.0"?>\n<PAMDataset>\n <PAMRasterBand band="1">{inner}</PAMRasterBand>\n</PAMDataset>'
    )
    assert says_more_than_statistics(path) is more


def test_patterns_are_read_in_one_way(tmp_path):
    """With folders below by ``**``, names that exist as they are, and names that are no patterns untouched."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    for name in (below / "1.nc", tmp_path / "2.nc", tmp_path / "odd[1].nc"):
        name.touch()
    found = [str(tmp_path / "2.nc"), str(below / "1.nc"), str(tmp_path / "odd[1].nc")]
    assert match_names(f"{tmp_path}/**/*.nc") == sorted(found)
    assert match_names(f"{tmp_path}/odd[1].nc") == [f"{tmp_path}/odd[1].nc"]
    assert match_names("none.nc") == ["none.nc"]
    assert match_names(f"{tmp_path}/*.tif") == []
    assert expand([f"{tmp_path}/**/1.nc"]) == [below / "1.nc"]


def test_a_store_that_appears_while_another_is_published_is_replaced(tmp_path, monkeypatch):
    """Of runs that may overwrite one output the last one stays, even where there was none when it looked."""
    final, real = tmp_path / "x.zarr", system.rename_exclusively

    def appear_first(old, new):
        new.mkdir()
        (new / "of_another").touch()
        return real(old, new)

    monkeypatch.setattr(system, "rename_exclusively", appear_first)
    with staged(final, overwrite=True, folder=True) as work:
        work.mkdir()
        (work / "mine").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
    assert [path.name for path in final.iterdir()] == ["mine"]
    with pytest.raises(OutputError, match="another run made it"), staged(tmp_path / "y.zarr", folder=True) as work:
        work.mkdir()
