"""Pages of an evaluation and of a comparison, written from Jinja2 templates."""
