"""Drawing boxes on images, charts, and HTML pages."""
