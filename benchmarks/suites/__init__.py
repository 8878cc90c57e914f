"""The suites: one module each, with a function ``run(case) -> Result``."""
