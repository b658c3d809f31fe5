"""Tests of geofsrcnn.

A folder for each package, with the same name; and apart what is about the product as a whole: ``promises`` (what
docs/promises.md says), ``docs`` (what all pages say is so), ``faults`` (kills, signals, full disks), ``real`` (files
and models as they are out there), ``golden`` (what came out before comes out again). Helpers stand in ``support``,
fixtures that several share in ``conftest``; no test imports another. Nothing is asserted about time: a run that
something happens to waits at a gate (``support.faults``), and clocks, minutes, only end what hangs. GEOFSRCNN_SEEDS=10
has more kills at more moments.
"""
