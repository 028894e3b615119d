"""The growth lab: a run in a process of its own, started, stopped and saved in any order."""

import html
import itertools
import math
import signal
import threading
from dataclasses import replace

import pytest
import torch
from waiting import until

import growlab as gl
from growlab import explore
from growlab.course.explore import live_run
from growlab.history import History

SMALL = replace(live_run.QUICK, limit=100, epochs=4)
TRAIN = live_run._train
pytestmark = pytest.mark.processes


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(live_run, "QUICK", SMALL)
    lab = explore.growth_lab(tmp_path)
    yield lab
    lab.stop()


def finish(lab):
    lab.wait()
    assert not lab.thread.is_alive() and lab.process is None


def first_epoch(lab):
    until(lambda: lab.kept[-1][1].epochs or lab.process is None)
    assert lab.process, lab.status.value


def stand_still(run, pipe):
    """What the process does: it trains one epoch, and the second one never ends."""

    class Once:
        def send(self, said):
            pipe.send(said)
            if isinstance(said, History):
                threading.Event().wait()

    TRAIN(run, Once())


@pytest.fixture
def endless(monkeypatch):
    """Runs of the lab that do not end by themselves."""
    monkeypatch.setattr(live_run, "_train", stand_still)


def test_a_run_ends_with_its_curve_its_widths_and_a_record_that_results_and_summary_read(lab, tmp_path):
    empty = lab.picture.value
    lab.knobs["k"].value = 5
    lab.start_button.click()
    assert lab.start_button.disabled and not lab.stop_button.disabled and lab.save_button.disabled
    finish(lab)
    run, history = lab.kept[-1]
    assert lab.status.value == "finished" and lab.bar.value == 1 and len(history.epochs) == run.epochs
    assert lab.picture.value != empty and "random 35 %, K = 5" in lab.caption.value and not lab.save_button.disabled
    lab.save_button.click()
    for name, value in (("k", 0), ("rate", 50)):  # three runs of one seed, with labels that tell them apart
        lab.knobs[name].value = value
        lab.start()
        lab.wait()
        lab.save()
        assert html.unescape(lab.status.value) == f'saved; gl.results("{tmp_path}") shows it'
    table = gl.results(tmp_path)
    assert set(table["arm"]) == {"random+k5", "random", "random 50 %"} and set(table["state"]) == {"finished"}
    assert table.set_index("arm")["test_accuracy"]["random+k5"] == history.result["test_accuracy"]
    assert gl.summary(table)["arm"].tolist() == ["random+k5"]


def test_the_live_run_is_the_one_that_execute_trains(tmp_path):
    run = replace(live_run.run_of("net2net", 5, 35, 1), limit=100, epochs=4)
    history = live_run.live(run, gl.load_data("critters", limit=100, seed=1, reliability=0.8))
    (row,) = gl.execute([run], tmp_path, jobs=1, progress=False).to_dict("records")
    assert {name: row[name] for name in history.result} == history.result


def test_other_cells_meet_neither_its_random_numbers_nor_its_tracing(lab, monkeypatch):
    monkeypatch.setattr(live_run, "QUICK", replace(live_run.QUICK, limit=1000))
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    drawn, net, batch = [torch.rand(1)], gl.vgg5(4).eval(), torch.zeros(2, 3, 32, 32)
    torch.manual_seed(7)
    torch.rand(1)
    lab.start()
    first_epoch(lab)
    while lab.process:
        net(batch), gl.units(net)
    drawn.append(torch.rand(3))
    assert torch.equal(torch.cat(drawn), expected) and lab.status.value == "finished"


def test_stop_works_at_once_in_the_middle_of_an_epoch(lab, endless):
    lab.start()
    first_epoch(lab)
    process = lab.process
    lab.stop_button.click()  # returns at once, although the epoch would never end
    assert lab.status.value == "stopped after epoch 1 of 4"
    assert not lab.start_button.disabled and lab.save_button.disabled
    process.join()
    assert process.exitcode == -signal.SIGKILL and lab.status.value == "stopped after epoch 1 of 4"


def test_a_stopped_run_is_not_saved_and_stays_beside_the_next_one(lab, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(live_run, "_train", stand_still)
        lab.start()
    first_epoch(lab)
    lab.stop()
    lab.save()  # from code, since the button is off
    assert "only a run that has finished" in lab.status.value and not any(lab.folder.iterdir())
    lab.knobs["method"].value = "never"
    lab.start()
    lab.stop()  # before any epoch: it is not kept beside the next one
    lab.start()
    finish(lab)
    assert (
        [run.method for run, _ in lab.kept] == ["random", None]
        and "never grown" in lab.caption.value
        and "random 35 %" in lab.caption.value
    )


def test_start_and_stop_in_quick_order_leave_one_run_and_its_words(lab):
    for _ in range(5):
        lab.start()
        lab.stop()
    lab.start()
    lab.start()
    finish(lab)
    assert lab.status.value == "finished" and len(lab.kept) == 1 and len(lab.kept[-1][1].epochs) == SMALL.epochs


def test_what_ends_late_does_not_speak_for_the_next_run(lab):
    lab.start()
    late = lab.process
    lab.start()
    lab._end(late, "finished", finished=True)
    assert lab.status.value == "starting" and lab.save_button.disabled and not lab.stop_button.disabled


def test_a_run_that_takes_too_long_ends_in_words(lab, endless):
    now = 1000.0
    lab.limit, lab.clock = 20, lambda: now + 5 * len(lab.kept[-1][1].epochs)
    lab.start()
    first_epoch(lab)
    until(lambda: lab.status.value == "15 s left")  # three more epochs of 5 seconds
    lab.limit = 12
    until(lambda: lab.status.value == "7 s left")
    now += 7
    assert lab.process
    now += 1
    finish(lab)
    assert lab.status.value == "12 seconds are over after epoch 1 of 4"
    assert lab.save_button.disabled and not lab.start_button.disabled


def test_the_limit_is_20_seconds_unless_the_environment_says_otherwise(monkeypatch):
    assert live_run.seconds_allowed() == math.inf  # conftest.py
    monkeypatch.delenv("GROWLAB_LIVE_SECONDS")
    assert live_run.seconds_allowed() == 20
    for wrong in ("soon", "nan", "-1", "0"):
        monkeypatch.setenv("GROWLAB_LIVE_SECONDS", wrong)
        with pytest.raises(ValueError, match="GROWLAB_LIVE_SECONDS must be in .*, got"):
            explore.growth_lab()


def test_a_run_that_fails_says_why_and_a_process_that_dies_too(lab, monkeypatch):
    monkeypatch.setattr(live_run, "QUICK", replace(SMALL, lr=1e30))
    lab.start()
    finish(lab)
    assert "cannot be trained: the loss became" in lab.status.value and not lab.start_button.disabled
    lab.start()
    lab.process.kill()
    finish(lab)
    assert "has died" in lab.status.value and not lab.start_button.disabled


def test_words_in_the_status_are_no_markup(lab):
    lab.tell("a < b")
    assert "<" not in lab.status.value and html.unescape(lab.status.value) == "a < b"


def test_save_and_wait_before_any_run_say_so_and_pass(lab):
    lab.wait()
    lab.save()
    assert "only a run that has finished" in lab.status.value


def test_reset_clears_the_runs(lab):
    lab.start()
    lab.reset.click()
    assert not lab.kept and lab.status.value == "ready" and "No run yet" in lab.caption.value
    finish(lab)
    assert not lab.kept


def test_the_band_has_ten_seeds_of_every_arm_that_can_be_chosen_and_names_its_k():
    for method, k in itertools.product(live_run.METHODS.values(), (0, 1)):
        figure, numbers = live_run.show(method, k, 35, 0)
        assert numbers["seeds"] == 10
        assert (f"with K = {live_run.K.get(method)}" in figure.alt) == (k > 0 and method != "never")
