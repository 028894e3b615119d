"""Answers to exercises that would stop a notebook, lie, hang, or leave something changed behind them."""

import asyncio
import itertools
import os
import random
import signal
import sys
import threading
import types
import warnings
from fractions import Fraction
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

import growlab as gl
from growlab.course.chapters import CHAPTERS
from growlab.course.exercises import checking, fence
from growlab.course.exercises.exercise import exercises_of, show

ALL = [exercise for chapter in CHAPTERS for exercise in exercises_of(chapter.subject)]
SPREAD = {"spend-exactly", "what-is-35-percent", "cosine-map", "fresh-but-silent"}  # the others: -m slow


def broken(*names, error=RuntimeError):
    """An object of which these methods raise."""

    def method(*_, **__):
        raise error("touched")

    return type("Broken", (), dict.fromkeys(names, method))()


def raising(error):
    def answer(*_):
        raise error

    return answer


def setting(change, result=1.0):
    def answer(*_):
        change()
        return result

    return answer


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


class Interrupted(KeyboardInterrupt):
    """Not the user's Ctrl-C."""


class Yes:
    """Equal to everything."""

    def __eq__(self, other):
        return True

    __ne__ = __lt__ = __gt__ = lambda self, other: False
    __le__ = __ge__ = __eq__
    __hash__ = None


class Liar(str):
    __eq__ = Yes.__eq__
    __hash__ = None


def itself():
    found = []
    found.append(found)
    return found


def circle():
    found = {}
    found["a"] = found
    return found


def recursive(*arguments):
    return recursive(*arguments)


def clears(*arguments):
    """Takes apart whatever it was given."""
    for argument in arguments:
        if isinstance(argument, torch.Tensor) and not argument.is_floating_point():
            argument.bitwise_not_()
        elif isinstance(argument, torch.Tensor):
            argument.add_(1)
        elif isinstance(argument, list):
            argument.append(broken("__eq__"))
    return arguments


def chatty(*arguments):
    print("here I am", *map(type, arguments))
    return 0


def warning(*_):
    warnings.warn("careful", stacklevel=1)
    return 0


VALUES = {
    "int": lambda: 3, "float": lambda: 0.3, "True": lambda: True, "zero": lambda: 0, "negative": lambda: -1,
    "NaN": lambda: float("nan"), "inf": lambda: float("inf"), "complex": lambda: 1j, "fraction": lambda: Fraction(1, 3),
    "huge": lambda: 10**400, "too long to write": lambda: 10**5000, "text": lambda: "1", "empty text": lambda: "",
    "bytes": lambda: b"1", "surrogates": lambda: "\udcff", "html": lambda: "<img src=x onerror=alert(1)>",
    "None in a list": lambda: [None], "list": lambda: [1, 2], "texts": lambda: ["1", "2"], "empty": list,
    "tuple": lambda: (1, "2", None), "dict": dict, "dict of lists": lambda: {"a": [1]}, "set": lambda: {1, 2},
    "ragged": lambda: [[1], [2, 3]], "list in itself": itself, "dict in itself": circle,
    "generator": lambda: (i for i in range(3)), "endless": itertools.count, "range": lambda: range(3),
    "object": object, "class": lambda: int, "function": lambda: print, "module": lambda: types, "mock": MagicMock,
    "meta": lambda: torch.zeros(2, 2, device="meta"), "bfloat16": lambda: torch.eye(2).bfloat16(),
    "sparse": lambda: torch.eye(2).to_sparse(), "complex tensor": lambda: torch.ones(2, 2, dtype=torch.complex64),
    "no elements": lambda: torch.zeros(0, 3), "bools": lambda: torch.ones(2, dtype=torch.bool),
    "with gradient": lambda: torch.ones(2, 2, requires_grad=True), "objects": lambda: np.array([object()]),
    "NumPy text": lambda: np.array("a"), "huge floats": lambda: torch.full((2, 2), 1e308, dtype=torch.float64),
    "no repr": lambda: broken("__repr__", "__str__"), "no eq": lambda: broken("__eq__", "__ne__"),
    "no len": lambda: broken("__len__", "__iter__", "__getitem__"), "no bool": lambda: broken("__bool__"),
    "no array": lambda: broken("__array__", "__float__", "__repr__"), "equal to all": Yes, "a liar": lambda: Liar("?"),
    "exits when shown": lambda: broken("__repr__", "__iter__", "__float__", "__eq__", error=SystemExit),
}  # fmt: skip
ANSWERS = {name: (lambda make: lambda *_: make())(make) for name, make in VALUES.items()} | {
    "exit": raising(SystemExit(0)), "generator exit": raising(GeneratorExit()), "a subclass": raising(Interrupted()),
    "cancelled": raising(asyncio.CancelledError()), "wordless": raising(Wordless()), "assertion": raising(OSError),
    "group": raising(ExceptionGroup("many", [ValueError("one")])), "recursion": recursive, "changes input": clears,
    "prints": chatty, "warns": warning, "wrong number": lambda: 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path))


def state():
    """All that check and answer must leave as it is."""
    name, keys, *rest = np.random.get_state()
    return (
        random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist(), torch.get_num_threads(),
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device(), np.geterr(),
        sys.getrecursionlimit(), list(warnings.filters), signal.getsignal(signal.SIGALRM),
    )  # fmt: skip


def tried(exercise, answer):
    """Nothing raises, nothing is right, nothing has changed."""
    before = state()
    note = gl.check(exercise.id, answer)
    assert note.good is False, note
    assert str(note) and note._repr_html_()
    chosen = gl.answer(exercise.id, answer)
    assert chosen is not answer
    assert state() == before


def test_there_are_sixty_five():
    assert len(ANSWERS) == 65 and len(ALL) == 34 and {exercise.id for exercise in ALL} > SPREAD


@pytest.mark.parametrize("exercise", [e for e in ALL if e.id in SPREAD], ids=lambda exercise: exercise.id)
@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_stops_a_notebook(exercise, name, recwarn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried(exercise, ANSWERS[name])


@pytest.mark.skipif("GROWLAB_LONG" not in os.environ, reason="takes many minutes: GROWLAB_LONG=1 runs it")
@pytest.mark.parametrize("exercise", [e for e in ALL if e.id not in SPREAD], ids=lambda exercise: exercise.id)
def test_no_answer_stops_a_notebook_in_any_exercise(exercise):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, answer in ANSWERS.items():
            try:
                tried(exercise, answer)
            except BaseException as error:
                raise AssertionError(f"{exercise.id}, {name}: {type(error).__name__} {error}") from error


@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
def test_the_solution_changes_nothing_either(exercise):
    before = state()
    assert gl.check(exercise.id, exercise.solution).good is True
    assert state() == before


CHANGES = {
    "torch": lambda: torch.manual_seed(5), "numpy": lambda: np.random.seed(5), "random": lambda: random.seed(5),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "grad": lambda: torch.set_grad_enabled(False),
    "dtype": lambda: torch.set_default_dtype(torch.float64), "device": lambda: torch.set_default_device("meta"),
    "filters": lambda: warnings.simplefilter("ignore"), "numpy's errors": lambda: np.seterr(all="raise"),
    "recursion": lambda: sys.setrecursionlimit(5000), "alarm": lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_an_answer_sets_is_as_before_and_judged_all_the_same(name):
    def answer(weight):
        CHANGES[name]()
        return gl.cosine_map(weight) if name != "device" else weight

    before = state()
    gl.check("cosine-map", lambda *_: CHANGES[name]())
    assert state() == before
    assert gl.check("cosine-map", answer).good is (name != "device")
    assert state() == before


def test_an_answer_left_to_chance_is_seen_to_be():
    solution = next(e for e in ALL if e.id == "spend-exactly").solution

    def by_chance(widths, rate):
        shares = solution(widths, rate)
        if len(set(widths)) == 1 and len(widths) > 1:
            random.shuffle(shares)
        return shares

    assert "The same question got two answers" in str(gl.check("spend-exactly", by_chance))


@pytest.mark.parametrize("stop", [lambda: raising(KeyboardInterrupt)(), lambda: signal.raise_signal(signal.SIGINT)])
@pytest.mark.parametrize("function", [gl.check, gl.answer])
def test_ctrl_c_of_the_user_still_stops_and_leaves_nothing_changed(stop, function):
    before = state()
    with pytest.raises(KeyboardInterrupt):
        function("cosine-map", setting(lambda: (torch.manual_seed(1), stop())))
    assert state() == before


def for_ever(*_):
    while True:
        pass


def not_even_by_an_exception(*_):
    caught = 0
    while caught < 2:
        try:
            for_ever()
        except BaseException:
            caught += 1
    for_ever()


def in_its_words(*_):
    class Slow:
        def __repr__(self):
            for_ever()

    return Slow()


def in_its_numbers(*_):
    return (for_ever() for _ in range(3))


@pytest.mark.skipif(not fence.endable(), reason="nothing can be ended here")
@pytest.mark.parametrize("answer", [for_ever, not_even_by_an_exception, in_its_words, in_its_numbers])
def test_an_answer_that_hangs_is_ended(answer, monkeypatch):
    monkeypatch.setattr(fence, "SECONDS", 0.1)
    before = state()
    note = gl.check("spend-exactly", answer)
    assert note.good is False and "was ended after 0.1 seconds" in str(note) and "widths = [4, 4, 4, 4]" in str(note)
    assert gl.answer("spend-exactly", answer) is not answer
    assert state() == before


@pytest.mark.skipif(not fence.endable(), reason="there are no alarms here")
def test_an_alarm_of_the_reader_s_own_stays():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        assert gl.check("cosine-map", gl.cosine_map)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 3600 and not rung
        signal.raise_signal(signal.SIGALRM)
        assert rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def test_where_it_cannot_be_ended_a_word_comes_first(capsys, monkeypatch):
    notes = []
    thread = threading.Thread(target=lambda: notes.append(gl.check("cosine-map", gl.cosine_map)))
    thread.start()
    thread.join()
    assert notes[0].good and "cannot be ended here: interrupt" in capsys.readouterr().out
    monkeypatch.delattr(signal, "setitimer", raising=False)  # Windows
    assert gl.check("cosine-map", gl.cosine_map) and "cannot be ended here" in capsys.readouterr().out
    monkeypatch.undo()


def test_no_word_where_it_can(capsys):
    if fence.endable():
        gl.check("cosine-map", gl.cosine_map)
        assert capsys.readouterr().out == ""


def test_hint_and_predict_never_raise(own_folder):
    for name, make in VALUES.items():
        value = make()
        assert str(gl.predict(name, value)) and gl.predict(name, value)._repr_html_(), name
        assert "ou " in str(gl.predict(name, measured=make())), name
        assert gl.predict(make(), 1).title.endswith("you predict 1"), name
    assert str(gl.predict("float", measured=np.float64(1 / 3))).startswith("float: measured 0.333\n")
    for exercise in ALL:
        assert [str(gl.hint(exercise.id)) for _ in range(5)]
    assert gl.progress()["solved"].sum() == 0


def test_a_wrong_answer_that_is_hard_to_show_still_gets_its_hint():
    exercise = next(e for e in ALL if e.id == "cosine-map")
    for words, mistake in exercise.mistakes.items():
        note = gl.check("cosine-map", lambda weight, mistake=mistake: mistake(weight).requires_grad_())
        assert note.good is False and words in str(note)


def test_what_cannot_be_shown_is_told_by_its_type():
    assert show(broken("__repr__")) == "a Broken that cannot be shown"
    assert show(10**5000) == "a int that cannot be shown"
    assert show(itself()) == "[[[[[...]]]]]" and len(show([[list(range(8))] * 8] * 8)) < 3000
    assert "bfloat16" not in show(torch.eye(2).bfloat16()) and checking.LONG == 200
