"""Training: from a ``Config`` to the checkpoints of a detector in a run folder."""
