"""The content of cells: missing cells, packing, filling, block means, kernels, normalisation, units. Numpy only."""
