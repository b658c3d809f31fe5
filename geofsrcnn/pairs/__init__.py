"""Networks that learn from coarse and fine fields of the same times.

In the order of reading: `spec` (arguments), `fields` (files as fields on one grid, with `times`, `frames` and
`dimensions`), `match_times` and `read` (all of them as `Pairs`), `fit` and `pairing` (what stands around the network),
`diagnose`, `train`. A model is applied by `apply` (`match`, `downscaling`, `lazy`) and scored by `evaluate`; `section`
is its part of a checkpoint.
"""
