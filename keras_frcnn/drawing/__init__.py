"""Drawing: boxes on images, charts, and the frame of HTML pages."""
