"""Is it any good: scores, comparisons with classical methods, pages about them."""
