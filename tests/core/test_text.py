"""Names from outside are text wherever they are shown: in a terminal, in HTML and Markdown, in figures."""

import json
from html.parser import HTMLParser
from pathlib import Path

import mistune
import numpy as np
import pytest
import torch

import growlab as gl
from growlab import plots
from growlab.__main__ import main
from growlab.course.explore.shell import Explorer, slider
from growlab.data import Split
from growlab.history import History
from growlab.text import label, markup, printable

NAMES = {
    "tag": '<img src=x onerror="alert(1)">', "script": "<script>alert(1)</script>",
    "closing": "</em></p><svg onload=a>",
    "quote": '" onmouseover="alert(1)', "link": "[a](javascript:alert(1))", "reference": "[a][b]",
    "picture": "![a](https://a.example/b.png)", "address": "https://a.example www.a.example a@a.example",
    "code": "``` `a` ~~~", "emphasis": "*a* _b_ **c** ~~d~~",
    "table": "|a|b|\n|-|-|\n|c|d|", "lines": "a\n\n# b\n- c\n    d",
    "formula": r"$\frac{1}{$", "bad formula": r"$\bad$",
    "other formula": r"\(a\) \[b\] \begin{c}d\end{c} $$e$$",
    "link in a formula": r"$\href{javascript:alert(1)}{a}$", "backslash": r"\$ \\", "entity": "&lt;img&gt; &#60;",
    "colour": "\x1b[31mred\x1b[0m", "title": "\x1b]0;title\x07",
    "link in a terminal": "\x1b]8;;http://a\x1b\\a\x1b]8;;\x1b\\",
    "bell": "\a", "8 bit": "\x9b31m", "back": "good\rbad\b\b", "turned": "\u202etxt.exe", "isolated": "\u2066a\u2069",
    "no UTF-8": "\udcff", "no space": "a\u200bb\ufeff",
}  # fmt: skip
MARKDOWN = mistune.create_markdown(escape=False, plugins=["strikethrough", "table", "url"])
RECORD = Path(gl.__file__).parents[1] / "data" / "results" / "growth_lab.json"
SAFE = "déjà-vu (a), 5 %: x = 1/2; 猫 ǅ é\u200dx\xa0y − it's"


class Reader(HTMLParser):
    """The tags and the text of HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(params=NAMES.values(), ids=list(NAMES))
def name(request):
    return request.param


def test_what_is_printed_moves_no_cursor_and_turns_no_letters(name):
    said = printable(name)
    assert all(sign.isprintable() or sign == "\n" for sign in said) and said.encode()
    assert printable(said) == said and printable("\x1b\u202e\udcff") == r"\x1b\u202e\udcff"


def test_good_names_stay_as_they_are():
    assert printable(SAFE) == markup(SAFE) == label(SAFE) == SAFE


def test_markup_is_one_line_of_text_in_html_and_in_markdown(name):
    said = markup(name)
    found = Reader(f'<p title="{said}">{said}</p>')
    assert found.tags == [("p", {"title": printable(name)})] and found.text == printable(name)
    found = Reader(MARKDOWN(f'<em class="a">{said}</em>'))
    assert found.tags == [("p", {}), ("em", {"class": "a"})] and found.text.rstrip("\n") == printable(name).rstrip("\n")


def drawn(figure):
    """Draw it, and return all its texts as they are seen."""
    figure.png()
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def figures(name):
    shape = (4, 3, 8, 8)
    pictures = torch.zeros(shape, dtype=torch.uint8)
    split = Split(pictures, torch.tensor([0, 1, 0, 1]), (name, "dog"), torch.zeros(3), torch.ones(3))
    rows = [{"epoch": i, "val_accuracy": 0.5, "parameters": 10, "widths": {name: 4}} for i in (1, 2)]
    yield plots.contact_sheet(split, 1)
    yield plots.forms(np.zeros((2, 2, 4, 4)), [name, "b"], [name, "b"])
    yield plots.growth({name: History({}, {}, rows, [])})
    yield plots.compare({name: [0.5, 0.6]})
    yield plots.curves({name: ([1, 2], [3, 4])}, name, name, name)
    yield plots.differences({name: ([1, 2], 0, 3)}, name)
    yield plots.scatter({name: {name: ([1, 2], [3, 4])}}, name)
    yield plots.cosine_maps({name: np.eye(3)})
    yield plots.distributions({name: {name: np.ones((2, 4))}}, 0.1, np.linspace(-1, 1, 5))
    yield plots.heats(pictures[:1], [name], {name: np.ones((1, 8, 8))})


@pytest.mark.parametrize("name", [r"$\bad$", "$a$", "<b>", "\x1b[1m"])
def test_figures_draw_names_as_they_are(name, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *what: shown.extend(what))
    for figure in figures(name):
        assert label(name) in drawn(figure), figure.alt
        figure._ipython_display_()
        words = Reader(shown[-1].data)
        assert [tag for tag, _ in words.tags] == ["em"] and words.text == printable(figure.alt)
        assert "mathjax_ignore" in words.tags[0][1]["class"]


def test_a_dollar_begins_no_formula(name):
    text = plots.panels()[1].set_title(label(name))
    assert text._preprocess_math(text.get_text()) == (printable(name), False)  # what is drawn, and whether as a formula


def test_notes_and_captions_hold_one_element_of_text(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path))
    for note in (gl.check("fool-the-mean", lambda: name), gl.predict(name, name), gl.predict(name, measured=name)):
        found = Reader(note._repr_html_())
        assert {tag for tag, _ in found.tags} <= {"div", "b", "br"} and "mathjax_ignore" in found.tags[0][1]["class"]
        assert printable(str(note)) == str(note)

    def show(k):
        raise ValueError(name)

    caption = Reader(Explorer(show, {"k": slider("k", (1, 2), 1)}).caption.value)
    assert [tag for tag, _ in caption.tags] == ["div"] and printable(name) in caption.text


def test_records_and_folders_send_nothing_to_the_terminal(name, tmp_path, capsys):
    assert main(["results", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("growlab: ") and printable(said) == said
    with pytest.raises(SystemExit):
        main(["run", "--epochs", "1", name.lstrip("-"), name])
    said = capsys.readouterr().err
    assert printable(said) == said


def test_arms_of_a_record_send_nothing_to_the_terminal(name, tmp_path, capsys):
    record = json.loads(RECORD.read_text())
    arms = [line["run"]["arm"] for line in record["runs"]]
    record["runs"] = [line for line in record["runs"] if line["run"]["arm"] in sorted({*arms})[:2]]
    for line in record["runs"]:
        line["run"]["arm"] = line["run"]["arm"].replace(min(arms), name)
    (tmp_path / "runs.json").write_text(json.dumps(record))
    assert main(["results", str(tmp_path / "runs.json")]) == 0
    said = capsys.readouterr().out
    assert printable(said) == said and "finished" in said
