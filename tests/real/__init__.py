"""Real and odd files, and the models that are shipped."""
