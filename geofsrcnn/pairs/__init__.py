"""Networks that learn from coarse and fine fields of the same times.

Reading, fitting, training, applying, evaluating.
"""
