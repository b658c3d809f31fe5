"""Write golden.json anew, and say what changed: ``python tests/golden/make.py [RUN...]``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from contents import GOLDEN, differing, entries, library_key, probe_key
from runs import RUNS, items_of


def made(name: str) -> dict[str, object]:
    """The entries of a run, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return entries(items_of(name, Path(folder).resolve()))


def main(names: list[str]) -> None:
    """Make all runs, or those of these names, and keep the others as they are."""
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"numbers": {}, "libraries": {}, "runs": {}}
    numbers, libraries = probe_key(), library_key()
    for words in filter(None, (differing(numbers, kept["numbers"]), differing(libraries, kept["libraries"]))):
        print(f"another machine: {words}")
        if names and kept["runs"]:
            sys.exit("make all runs there")
    runs = dict(kept["runs"]) if names else {}
    for name in names or RUNS:
        start = time.perf_counter()
        found, before = made(name), kept["runs"].get(name)
        seconds = f"{time.perf_counter() - start:.1f} s"
        runs[name] = found
        if before is None:
            print(f"{name}: new, {len(found)} items, {seconds}")
            continue
        changed = [key for key in sorted({*found, *before}) if found.get(key) != before.get(key)]
        print(f"{name}: {'changed: ' + ', '.join(changed) if changed else 'the same'}, {seconds}")
    for name in sorted(set(kept["runs"]) - set(runs)):
        print(f"{name}: gone")
    whole = {"numbers": numbers, "libraries": libraries, "runs": dict(sorted(runs.items()))}
    lines = json.dumps({**whole, "runs": {}}, indent=1).removesuffix("{}\n}")
    rows = [
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in run.items())
        + "\n  }"
        for name, run in whole["runs"].items()
    ]
    GOLDEN.write_text(lines + "{\n" + ",\n".join(rows) + "\n }\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
