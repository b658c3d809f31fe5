"""Archives of files on a dask cluster: journalled, resumable, equal to single runs."""
