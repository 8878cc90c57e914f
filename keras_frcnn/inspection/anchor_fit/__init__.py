"""How well anchors fit the objects of a data set."""
