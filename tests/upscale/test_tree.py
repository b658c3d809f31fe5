"""Trees of datasets through the accessor: nodes with fields are made finer, the others follow."""

import numpy as np
import pytest
import xarray as xr

import geofsrcnn
from geofsrcnn.errors import InputError, UsageError
from tests.support.grids import regular


def test_nodes_come_out_as_datasets_do():
    """An empty root, two nodes, one of dask chunks: each as the dataset alone, lazily where it was lazy."""
    one, other = regular(), regular(times=3) + 1
    tree = xr.DataTree.from_dict({"/a": one, "/b/c": other.chunk(time=1)})
    fine = tree.fsrcnn.upscale(3, "small")
    assert [node.path for node in fine.subtree] == [node.path for node in tree.subtree]
    xr.testing.assert_identical(fine["a"].to_dataset(), geofsrcnn.upscale_dataset(one, 3, "small"))
    assert fine["b/c"]["tas"].chunks is not None
    xr.testing.assert_allclose(fine["b/c"].to_dataset(), geofsrcnn.upscale_dataset(other, 3, "small"))


def test_coordinates_of_the_root_follow():
    """Fields that take latitude and longitude from the root: the root gets the finer ones, other variables pass."""
    dataset = regular()
    places = ["lat", "lon", "lat_bnds", "lon_bnds"]
    root = dataset[[name for name in places if name in dataset.variables]].assign(title=((), 7))
    tree = xr.DataTree.from_dict({"/": root, "/a": dataset[["tas"]].drop_vars(["lat", "lon"])})
    fine = tree.fsrcnn.upscale(3, "small", variables="tas")
    right = geofsrcnn.upscale_dataset(dataset, 3, "small")
    np.testing.assert_array_equal(fine["lat"], right["lat"])
    np.testing.assert_array_equal(fine["a"]["lon"], right["lon"])
    np.testing.assert_array_equal(fine["a"]["tas"], right["tas"])
    assert int(fine["title"]) == 7


def test_xarray_can_walk_the_tree_itself():
    """`map_over_datasets`: nodes without variables pass, coordinates alone come out finer."""
    dataset = regular()
    tree = xr.DataTree.from_dict({"/": dataset[["lat", "lon"]], "/a": dataset[["tas"]].drop_vars(["lat", "lon"])})
    fine = tree.map_over_datasets(lambda node: node.fsrcnn.upscale(3, "small"))
    np.testing.assert_array_equal(fine["a"]["tas"], geofsrcnn.upscale_dataset(dataset, 3, "small")["tas"])
    empty = xr.DataTree.from_dict({"/a": dataset}).map_over_datasets(lambda node: node.fsrcnn.upscale(3, "small"))
    assert empty["a"]["tas"].sizes["lat"] == 72


def test_refusals():
    """A tree without fields, and what is none."""
    with pytest.raises(InputError, match="no node of the tree has a variable"):
        xr.DataTree.from_dict({"/a": xr.Dataset({"n": 1})}).fsrcnn.upscale(3)
    with pytest.raises(UsageError, match="a DataTree is needed, got Dataset"):
        geofsrcnn.upscale_datatree(regular())
