"""Names, labels and titles from outside, made safe for where they are shown: plain text, and never run."""

import re

PLAIN = "tex2jax_ignore mathjax_ignore"  # classes of an HTML element in which MathJax leaves the text alone


def printable(text) -> str:
    """For terminals: what moves the cursor, rings or turns the order of letters is written as an escape."""
    kept = "\n\xa0\u200c\u200d"  # line ends, spaces and joiners are harmless
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode() for sign in f"{text}"
    )


def markup(text) -> str:
    """For a paragraph of HTML or Markdown in an element of the classes ``PLAIN``, and for HTML in double quotes."""
    special = r'[&<>"`*_$\\~@\n]|\](?=[(\[])|:(?=//)|(?<=www)\.'  # such as [a](b), $a$, https://a.b, www.a.b
    return re.sub(special, lambda found: f"&#{ord(found[0])};", printable(text))


def label(text) -> str:
    """For matplotlib: a dollar begins no formula."""
    return printable(text).replace("$", r"\$")
