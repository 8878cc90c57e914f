"""Command lines for tests."""


def overriding(*flags: str) -> list[str]:
    """Returns the flags, of each only the last one: a command line may give a flag only once."""
    return list({flag.partition("=")[0]: flag for flag in flags}.values())
