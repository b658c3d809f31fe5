"""What cells hold: missing cells, packing, filling, block means, kernels, normalisation, units. Numpy only."""
