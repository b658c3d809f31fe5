"""How networks for images are trained and scored in the literature: what all studies share."""
