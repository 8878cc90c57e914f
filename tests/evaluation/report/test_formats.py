"""Times and tables as text."""

import pytest

from keras_frcnn.evaluation.report.formats import duration, markdown_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 min"), (89, "1 min"), (3569, "59 min"), (3600, "1 h 00 min"), (90000, "25 h 00 min")],
)
def test_a_time_in_words(seconds, text):
    assert duration(seconds) == text


def test_a_table_escapes_the_lines_between_cells():
    assert markdown_table([("a", "b|c"), ("1", "2")]) == "| a | b\\|c |\n| --- | --- |\n| 1 | 2 |"
