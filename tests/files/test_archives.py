"""Packed files are named for what they are, and one of their files can be read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
import rasterio.crs

from geofsrcnn import upscale_file
from geofsrcnn.errors import InputError, UsageError
from geofsrcnn.files.archives import refuse_packed, unpack
from geofsrcnn.files.kinds import PACKED, driver_of, sniff
from tests.support import processes
from tests.support.rasters import opened, read, state, terrain, write


@pytest.fixture
def dem(tmp_path):
    """A raster that is to be packed."""
    (tmp_path / "plain").mkdir()
    return write(tmp_path / "plain" / "dem.tif", terrain((20, 21)).astype("float32"))


def packed(path, dem):
    """The raster packed as the end of a name says."""
    content = dem.read_bytes()
    if path.suffix in (".gz", ".bz2", ".xz"):
        packer = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[path.suffix]
        path.write_bytes(packer(content))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("N47E011/readme.txt", "as portals deliver them")
        archive.writestr("N47E011/dem.tif", content)
    return path


@pytest.mark.parametrize("name", ["dem.zip", "era5.nc", "dem.tif", "dem.tif.gz", "dem.tif.bz2", "dem.tif.xz"])
def test_what_is_packed_is_said_and_can_be_read(tmp_path, dem, name):
    """The message names what is in it, how to unpack it, and the option that reads it as if it were unpacked."""
    path = packed(tmp_path / name, dem)
    inside = "dem.tif" if path.suffix in (".gz", ".bz2", ".xz") else "N47E011/dem.tif"
    (tmp_path / "out").mkdir()
    before = state(path)
    words = r"unpack it first \((unzip|gunzip|bunzip2|unxz)\), or read .* with inside="
    with pytest.raises(InputError, match=words) as caught:
        upscale_file(path, tmp_path / "out" / "out.tif", 3, "bilinear")
    assert inside in str(caught.value)
    upscale_file(path, tmp_path / "out" / "out.tif", 3, "bilinear", inside=inside)
    upscale_file(dem, tmp_path / "out" / "expected.tif", 3, "bilinear")
    assert np.array_equal(read(tmp_path / "out" / "out.tif"), read(tmp_path / "out" / "expected.tif"))
    assert state(path) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("dem.zip", "a ZIP archive, of "), ("dem.tif.gz", "a gzip file: "), ("dem.tif.bz2", "a bzip2 file: "),
     ("dem.tif.xz", "an xz file: ")],
)  # fmt: skip
def test_a_packed_file_is_called_what_its_kind_is_called(tmp_path, dem, name, words):
    """By one table of names, `files.kinds.PACKED`."""
    path = packed(tmp_path / name, dem)
    assert words.startswith(PACKED[sniff(path)])
    with pytest.raises(InputError) as caught:
        refuse_packed(path, sniff(path))
    assert str(caught.value).startswith(words)


def test_the_commands_read_what_is_packed(tmp_path, dem):
    """``upscale`` and ``info`` take --inside, the last part of the name does as well."""
    path = packed(tmp_path / "dem.zip", dem)
    done = processes.run("upscale", path, tmp_path / "out.tif", "-m", "bilinear", "--inside", "dem.tif", "-q")
    assert (done.code, done.err) == (0, "")
    done = processes.run("info", path, "--inside", "dem.tif")
    assert done.code == 0
    assert "dem.tif" in done.out
    assert "unpack it first (unzip)" in processes.run("info", path).refused(3)


def test_names_that_are_not_in_it(tmp_path, dem):
    """A name that is not there, and a file that is not packed: refused, with what there is."""
    path = packed(tmp_path / "dem.zip", dem)
    with pytest.raises(UsageError, match=r"no file b.tif in dem.zip: there are N47E011/readme.txt, N47E011/dem.tif"):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", inside="b.tif")
    with pytest.raises(UsageError, match=r"inside= is for packed files, which dem.tif is not"):
        upscale_file(dem, tmp_path / "out.tif", 3, "bilinear", inside="b.tif")


def test_several_files_that_a_pattern_fits_are_named(tmp_path, dem):
    """A pattern for one file that several fit is no missing file: they are listed."""
    path = packed(tmp_path / "dem.zip", dem)
    with pytest.raises(
        UsageError, match=r"2 files in dem.zip fit N47\*: N47E011/readme.txt, N47E011/dem.tif: name one"
    ):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", inside="N47*")


def test_headers_beside_a_raster_come_with_it(tmp_path):
    """A .bil of a ZIP, as PRISM delivers them, is read with the header and the projection that lie beside it."""
    values = terrain((20, 21)).astype("float32")
    lines = ("BYTEORDER I", "LAYOUT BIL", "NROWS 20", "NCOLS 21", "NBANDS 1", "NBITS 32", "PIXELTYPE FLOAT")
    header = "\n".join((*lines, "ULXMAP 10.5", "ULYMAP 49.5", "XDIM 1", "YDIM 1", "NODATA -9999", ""))
    projection = rasterio.crs.CRS.from_epsg(4269).to_wkt(version="WKT1_ESRI")
    names = {"ppt.bil": values.tobytes(), "ppt.hdr": header, "ppt.prj": projection}
    with zipfile.ZipFile(tmp_path / "ppt.zip", "w") as archive:
        for name, content in {**names, "other.hdr": "NROWS 1"}.items():
            archive.writestr(f"PRISM/{name}", content)
    with unpack(tmp_path / "ppt.zip", "*.bil") as path:
        assert sorted(each.name for each in path.parent.iterdir()) == sorted(names)
    upscale_file(tmp_path / "ppt.zip", tmp_path / "out.tif", 2, "nearest", inside="*.bil", driver="EHdr")
    assert np.array_equal(read(tmp_path / "out.tif", 1)[::2, ::2], values)
    with opened(tmp_path / "out.tif") as d:
        assert d.crs.to_epsg() == 4269
        assert (d.nodata, d.bounds.left) == (-9999, 10)


def test_broken_archives(tmp_path, dem):
    """Cut files give one line and leave nothing unpacked."""
    path = packed(tmp_path / "dem.tif.gz", dem)
    path.write_bytes(path.read_bytes()[:-400])
    with (
        pytest.raises(InputError, match=r"cannot unpack dem.tif of dem.tif.gz \(Compressed file ended"),
        unpack(path, "dem.tif"),
    ):
        pass


def test_a_name_that_leads_out_of_the_archive_stays_in_the_folder(tmp_path):
    """Only the last part of a name is used."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.tif", b"II*\0")
    with unpack(tmp_path / "evil.zip", "../../evil.tif") as path:
        assert path.name == "evil.tif"
        assert path.parent.name.startswith("geofsrcnn-")
        folder = path.parent
    assert not folder.exists()


def tarred():
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.tif"), io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b'{"version": 1, "refs": {".zgroup": "{}"}}', "kerchunk", "references of kerchunk, .* engine="),
        (b'{\n ".zattrs": {}, "t/0.0": ["a.nc", 0, 9]}', "kerchunk", "references of kerchunk"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page", "a web page, not data: .* went wrong"),
        (b"\n<HTML>", "web page", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer", "git lfs pull"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "7z", "a 7z archive: .* unpack it first"),
        (tarred(), "tar", "a tar archive: .* unpack it first"),
        (b"{}", "unknown", "not a GeoTIFF"),
        (b"<VRTDataset>", "unknown", "read it with driver='VRT'"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "unknown", "read it with driver='JP2OpenJPEG'"),
        (b"SQLite format 3\0", "unknown", "read it with driver='GPKG'"),
    ],
)
@pytest.mark.parametrize("name", ["x.tif", "x.nc"])
def test_what_is_no_raster_is_named(tmp_path, content, kind, words, name):
    """What portals and tools leave under the names of rasters."""
    path = tmp_path / name
    path.write_bytes(content)
    assert sniff(path) == kind
    with pytest.raises(InputError, match=words):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear")


def test_an_empty_zip(tmp_path):
    """It holds nothing."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w"):
        pass
    with pytest.raises(InputError, match=r"a ZIP archive, of nothing: x\.zip: unpack it first"):
        upscale_file(tmp_path / "x.zip", tmp_path / "out.tif", 3, "bilinear")
    assert driver_of(tmp_path / "x.zip") is None
