"""Networks learn from fine rasters: schedules, patches, states from which a training goes on, several processes."""
