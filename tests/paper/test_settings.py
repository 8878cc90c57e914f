"""The settings that all rows share."""

from keras_frcnn.paper.settings import Settings


def test_what_must_stay_the_same_for_one_output_folder(tmp_path):
    def fixed(**changes):
        return Settings(output_dir=tmp_path, configs_dir=tmp_path, **changes).fixed

    first = {"budget_minutes": 5.0, "overrides": ("--pixel_std=58",)}
    assert fixed(**first, data_dir="moved", seeds=(4,)) == fixed(**first)
    assert fixed(**first, replaced_splits={"a": "b"}) == {
        "budget": 5.0,
        "replaced_splits": {"a": "b"},
        "overrides": ["--pixel_std=58"],
    }
    assert fixed()["budget"] == "full"
