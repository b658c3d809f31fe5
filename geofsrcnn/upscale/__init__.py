"""Files and datasets made finer: where formats, engine and metadata meet."""
