"""Every exercise: its solution passes, its stub stops nothing, its typical mistakes fail with the hint that fits."""

import json
from importlib import import_module

import nbformat
import pytest
import torch
from lessons import FOLDER

import growlab as gl
from growlab import exercises
from growlab.course.chapters import CHAPTERS
from growlab.course.exercises.checking import examine, hints_shown
from growlab.course.exercises.exercise import Exercise, exercises_of, find

LESSONS = {chapter.number: exercises_of(chapter.subject) for chapter in CHAPTERS}
ALL = [exercise for lesson in LESSONS.values() for exercise in lesson]
MISTAKES = [(e, words) for e in ALL for words in e.mistakes]
FILES = {number: import_module(f"exercises_{number}") for number in LESSONS}  # as students would write them
WRONG = [(id, *wrong) for file in FILES.values() for id, answers in file.WRONG.items() for wrong in answers]
RIGHT = [(id, right) for file in FILES.values() for id, answers in file.RIGHT.items() for right in answers]


def label(value):
    return value.__name__ if callable(value) else value if isinstance(value, str) and len(value) < 40 else ""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path))
    hints_shown.clear()
    return tmp_path


@pytest.fixture(params=ALL, ids=[e.id for e in ALL])
def exercise(request):
    return request.param


# ------------------------------------------------------------------------------------------- all exercises


def test_names_are_unique():
    assert len({e.id for e in ALL}) == len(ALL)


def test_the_solution_passes(exercise):
    note = gl.check(exercise.id, exercise.solution)
    assert note.good is True, note


def test_a_stub_is_not_attempted_and_the_course_goes_on(exercise, capsys):
    assert gl.check(exercise.id, lambda *_: ...).good is None
    assert gl.answer(exercise.id, lambda *_: ...) is exercise.solution
    assert "not attempted" in capsys.readouterr().out


def test_an_answer_that_raises_is_told_and_stops_nothing(exercise):
    def broken(*_):
        raise RuntimeError("oh dear")

    note = gl.check(exercise.id, broken)
    assert note.good is False and "RuntimeError: oh dear" in str(note) and "line" in str(note)


def test_it_has_mistakes_and_hints(exercise):
    assert len(exercise.mistakes) >= 3 and len(exercise.hints) >= 2


@pytest.mark.parametrize(("exercise", "words"), MISTAKES, ids=[f"{e.id}-{i}" for i, (e, _) in enumerate(MISTAKES)])
def test_a_typical_mistake_fails_with_the_hint_that_fits(exercise, words):
    note = gl.check(exercise.id, exercise.mistakes[words])
    assert note.good is False
    others = [hint for hint in exercise.mistakes if hint != words and hint in str(note)]
    assert words in str(note) and not others, note


def test_the_cases_are_the_same_at_every_call_and_no_solution_changes_its_input(exercise):
    first, second = list(exercise.cases()), list(exercise.cases())
    assert len(first) == len(second) and all(exercises.equal(a, b) for a, b in zip(first, second))


@pytest.mark.parametrize(("id", "wrong", "words"), WRONG, ids=label)
def test_a_wrong_answer_written_by_somebody_else_gets_the_same_hint(id, wrong, words):
    note = gl.check(id, wrong)
    assert note.good is False and words in str(note), note


@pytest.mark.parametrize(("id", "right"), RIGHT, ids=label)
def test_a_right_answer_written_in_another_way_passes(id, right):
    note = gl.check(id, right)
    assert note.good is True, note


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_every_lesson_has_four_exercises_or_more_and_each_is_in_its_notebook_as_a_stub(chapter):
    lesson, file = LESSONS[chapter.number], FILES[chapter.number]
    ids = {e.id for e in lesson}
    assert len(lesson) >= 4 and set(file.RIGHT) == ids and set(file.WRONG) == ids
    assert all(len(answers) >= 3 for answers in file.WRONG.values())
    cells = nbformat.read(FOLDER / f"{chapter.notebook}.ipynb", 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    for id in ids:
        (stub,) = [source for source in code if f'gl.check("{id}"' in source]
        assert "..." in stub, stub


# -------------------------------------------------------------------------------------------- the machinery


def test_hints_go_a_step_further_at_each_call_and_then_name_the_solution():
    id, hints = ALL[0].id, ALL[0].hints
    notes = [str(gl.hint(id)) for _ in range(len(hints) + 1)]
    assert all(hint in note for hint, note in zip([*hints, hints[-1]], notes))
    assert "a step further" in notes[0] and f'gl.solution("{id}")' in notes[-1]


def test_the_solution_is_shown_folded_and_runs_as_shown(exercise):
    note = gl.solution(exercise.id)
    assert "<details>" in note._repr_html_() and note.code in str(note)
    space = {
        "torch": torch,
        "F": torch.nn.functional,
        "math": __import__("math"),
        "np": __import__("numpy"),
        "nn": torch.nn,
        "gl": gl,
    }
    exec(note.code, space)
    assert gl.check(exercise.id, space[exercise.solution.__name__]).good is True


def test_an_unknown_exercise_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match="exercise must be one of .*cosine-map.*, got 'cosine'"):
        gl.check("cosine", None)


def test_a_wrong_answer_shows_the_smallest_case_with_expected_and_got_and_a_picture():
    note = gl.check("cosine-map", lambda weight: torch.zeros(len(weight), len(weight), dtype=weight.dtype))
    assert (
        "weight = shape (2, 2)" in str(note)
        and "expected shape (2, 2)" in str(note)
        and "got shape (2, 2)" in str(note)
    )
    assert "data:image/png;base64," in note._repr_html_() and 'alt="' in note._repr_html_()


def test_a_property_speaks_about_the_case_that_is_shown():
    def not_flattened(weight):  # right for matrices; raises for filters, which come before the filter of zeros
        rows = weight / weight.norm(dim=1, keepdim=True)
        return torch.einsum("id, jd -> ij", rows, rows)

    note = str(gl.check("cosine-map", not_flattened))
    assert "raised" in note and "weight = shape (4, 2, 3, 3)" in note and "gets longer" not in note


def test_html_in_answers_is_text():
    assert "<script>" not in gl.check("cosine-map", lambda weight: "<script>")._repr_html_()


def test_changing_the_input_and_forgetting_the_return_are_told():
    def in_place(weight):
        return gl.cosine_map(weight.mul_(2))

    assert "changed its input" in str(gl.check("cosine-map", in_place))
    assert "returned None" in str(gl.check("cosine-map", lambda weight: None))


def test_answer_takes_the_readers_own_only_if_it_is_right(capsys):
    mine = lambda weight: gl.cosine_map(weight)
    assert gl.answer("cosine-map", mine) is mine
    assert gl.answer("cosine-map", lambda weight: weight) is find("cosine-map").solution
    assert capsys.readouterr().out.splitlines() == [
        "cosine-map: your own is used from here on",
        "cosine-map: not solved yet, the course's own is used from here on",
    ]  # fmt: skip


def test_values_can_be_answers_and_many_answers_can_be_right():
    is_even = lambda answer: None if answer() % 2 == 0 else "That is odd."
    even = Exercise("even", lambda: 2, lambda: [()], {}, (is_even,), same=None)
    assert examine(even, 4).good and examine(even, lambda: 8).good
    assert "That is odd." in str(examine(even, 3)) and examine(even, ...).good is None


def test_answers_are_equal_up_to_rounding_whatever_they_are_made_of():
    equal = exercises.equal
    assert equal({"a": [1, (2.0, torch.tensor(3))]}, {"a": [1 + 1e-12, (2, 3.0)]}) and equal("yes", "yes")
    for got in ({"a": 1}, [1, 2], "yes", None, float("nan"), torch.zeros(2), object()):
        assert not equal(got, 2.0)
    assert not any(equal(got, [1.0, 2.0]) for got in (torch.tensor(1.0), 1.0, None, [1.0]))
    assert equal(float("nan"), float("nan")) and not equal([1, 2], [1, 2, 3]) and not equal(1 + 1e-6, 1.0)
    third = torch.tensor([1 / 3], dtype=torch.float64)
    assert equal(third.float(), third) and not equal(third.float() + 1e-4, third) and not equal(third + 1e-6, third)
    assert not equal(third.float(), third.float() + 1e-6)  # float32 was expected: to its last digits


def test_predictions_are_kept_and_shown_beside_the_measurement(own_folder):
    assert "no prediction yet" in str(gl.predict("angle")) and "no prediction yet" in str(gl.predict("angle", ...))
    assert "no prediction" in str(gl.predict("angle", measured=0.123456))
    gl.predict("angle", 0.5)
    assert str(gl.predict("angle", measured=0.123456)) == "angle: measured 0.123\n  You predicted 0.5."
    assert json.loads((own_folder / "progress.json").read_text())["predictions"] == {"angle": 0.5}


def test_progress_is_kept_and_a_later_mistake_takes_nothing_away(own_folder):
    gl.check("cosine-map", gl.cosine_map)
    gl.check("cosine-map", lambda weight: weight)
    row = gl.progress().set_index("notebook").loc["04 cosine_map"]
    assert row["solved"] == 1 and row["of"] == len(LESSONS["04"]) and "cosine-map" not in row["still open"]
    (own_folder / "progress.json").write_text("no json")
    assert gl.progress()["solved"].sum() == 0


def test_where_nothing_can_be_written_everything_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path / "file" / "folder"))
    assert gl.check("cosine-map", gl.cosine_map) and "set GROWLAB_PROGRESS" in capsys.readouterr().out
