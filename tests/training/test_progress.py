"""The progress of a run on a terminal and elsewhere."""

import io

from keras_frcnn.console import Console
from keras_frcnn.training.progress import ProgressBar, prediction_bar
from tests import fakes

LOSSES = {
    "loss": 3.14159,
    "rpn_cls_loss": 0.5,
    "rpn_box_loss": 0.25,
    "roi_cls_loss": 2.0,
    "roi_box_loss": 0.125,
    "weight_decay_loss": 0.01,
}
WORDS = "loss 3.142 rpn cls 0.500 box 0.250 roi cls 2.000 box 0.125  7.50 images/s"


def test_elsewhere_every_log_is_one_line():
    output = io.StringIO()
    with ProgressBar(fakes.SMALL, Console(file=output, width=60), first_step=2) as bar:
        bar.advance()
        bar.advance()
        bar.show(LOSSES, 7.5)
        with bar.evaluation(3) as callback:
            callback.on_predict_batch_end(0)
    (line,) = output.getvalue().splitlines()
    assert line.startswith(f"step 4/6  {WORDS}  ")
    assert line.endswith(" min left")


def test_the_time_left_is_reckoned_from_this_runs_own_steps(monkeypatch):
    output, now = io.StringIO(), [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    settings = fakes.SMALL.replace(steps=1000, eval_every=0)
    with ProgressBar(settings, Console(file=output, width=200), first_step=600) as bar:
        for _ in range(10):
            bar.advance()
        now[0] += 60
        bar.show(LOSSES, 7.5)
    assert output.getvalue().endswith("  39 min left\n")  # 390 steps of 6 seconds


def test_on_a_terminal_one_bar_moves():
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=True)
    with ProgressBar(fakes.SMALL, console, first_step=2) as bar:
        bar.advance()
        bar.show(LOSSES, 7.5)
        with bar.evaluation(2) as callback:
            callback.on_predict_batch_end(0)
            assert [task.completed for task in bar.bar.tasks] == [3, 1]
        assert [(task.completed, task.total) for task in bar.bar.tasks] == [(3, 6)]
    assert "loss 3.142" in output.getvalue()
    assert "min left" not in output.getvalue()


def test_the_bar_of_a_prediction():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with prediction_bar(console, 2, "evaluate") as callback:
        callback.on_predict_batch_end(0)
        callback.on_predict_batch_end(1)
    assert "evaluate" in console.file.getvalue()
    assert "100%" in console.file.getvalue()
    quiet = Console(file=io.StringIO(), width=100)
    with prediction_bar(quiet, 2, "evaluate") as callback:
        callback.on_predict_batch_end(0)
    assert quiet.file.getvalue().strip() == ""


def test_epochs_are_counted_from_the_start_of_the_phase():
    output = io.StringIO()
    with ProgressBar(fakes.SMALL, Console(file=output, width=200), first_step=0) as bar:
        bar.start_from(3, 2, 2.5)
        bar.advance()
        bar.show(LOSSES, 7.5)
    assert output.getvalue().startswith(f"step 4/6  epoch 0.80  {WORDS}  ")
