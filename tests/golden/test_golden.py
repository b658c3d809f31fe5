"""What came out before comes out again: to the last bit on the kind of machine that it was kept on, nearly elsewhere.

``python tests/golden/make.py`` writes what is kept anew, after a change that is meant to change results.
"""

from __future__ import annotations

import json

import pytest
from contents import GOLDEN, differing, entries, library_key, probe_key, roughly
from runs import HERE_ONLY, LOOSE, RUNS, TIGHT, items_of

KEPT = json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def other_numbers() -> str:
    """In what this machine differs that decides on the last bits; empty if in nothing."""
    return differing(probe_key(), KEPT["numbers"])


@pytest.fixture(scope="module")
def other_libraries() -> str:
    """In which libraries this machine differs that write files; empty if in none."""
    return differing(library_key(), KEPT["libraries"])


def test_this_machine_compares_bits(other_numbers, other_libraries):
    """Skipped, and the reason said, where only values within a tolerance can be compared."""
    if other_numbers:
        pytest.skip(f"last bits are not compared, values are within a tolerance, as this machine has {other_numbers}")
    if other_libraries:
        pytest.skip(f"attributes and tags are not compared, as this machine has {other_libraries}")


def test_every_run_is_kept():
    """Runs and what is kept of them have the same names."""
    assert sorted(KEPT["runs"]) == sorted(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_what_it_gave(name, tmp_path, other_numbers, other_libraries):
    """The same items with the same content."""
    if other_numbers and name in HERE_ONLY:
        pytest.skip(f"only for the machine that it was kept on, this one has {other_numbers}")
    found, kept = entries(items_of(name, tmp_path.resolve())), KEPT["runs"][name]
    assert sorted(found) == sorted(kept)
    wrong = {}
    for key, item in found.items():
        if "facts" in item:
            if item != kept[key] and not other_libraries:
                wrong[key] = _difference(item["facts"], kept[key]["facts"])
        elif other_numbers:
            if words := roughly(item, kept[key], LOOSE.get(name, TIGHT)):
                wrong[key] = words
        elif item != kept[key]:
            wrong[key] = roughly(item, kept[key], 0) or "other bits, nearly the same values"
    assert not wrong, "\n".join(f"{key}: {words}" for key, words in wrong.items())


def _difference(new: object, old: object, where: str = "") -> str:
    """The first place at which facts differ."""
    if isinstance(new, dict) and isinstance(old, dict):
        for key in sorted({*new, *old}):
            if key not in new or key not in old:
                return f"{where}.{key} is {'new' if key in new else 'gone'}: {new.get(key, old.get(key))}"
            if words := _difference(new[key], old[key], f"{where}.{key}"):
                return words
        return ""
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for place, (one, other) in enumerate(zip(new, old, strict=True)):
            if words := _difference(one, other, f"{where}[{place}]"):
                return words
        return ""
    return "" if new == old else f"{where} is {new}, was {old}"
