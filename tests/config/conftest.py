"""What every concern's tests use: the problems that changed settings have."""

import pytest


@pytest.fixture
def problems():
    """Returns a function that gives the lines of the error that changed settings raise."""

    def lines(concern, **changes) -> list[str]:
        with pytest.raises(ValueError) as caught:
            concern(**changes).validate()
        title, *lines = str(caught.value).splitlines()
        assert title == "Invalid settings:"
        return [line.removeprefix("  - ") for line in lines]

    return lines
