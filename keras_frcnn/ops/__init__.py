"""Pure functions on tensors: boxes, suppression, matching, losses."""
