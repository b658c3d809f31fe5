"""Metadata of xarray objects after CF: which dimensions are horizontal, how values are stored, what each variable
becomes on the finer grid. No files, no torch.
"""
