"""What the README promises, as properties."""
