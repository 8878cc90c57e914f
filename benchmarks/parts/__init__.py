"""One module a part, each with ``run(case) -> Result``."""
