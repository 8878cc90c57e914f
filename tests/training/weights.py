"""The weights of a detector's parts, to tell which ones have changed."""


def weights_of(model, name):
    """Returns the weights of a part of the model as arrays; None if the model lacks the part."""
    part = getattr(model, name)
    return None if part is None else [w.numpy() for w in part.weights]


def same(one, other) -> bool | None:
    """Whether two lists of weights agree to the bit; None if some do and some do not."""
    equal = {bool((a == b).all()) for a, b in zip(one, other, strict=True)}
    return equal.pop() if len(equal) == 1 else None
