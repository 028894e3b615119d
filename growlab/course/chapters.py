"""The chapters of the course, one line each: exercises, progress, tools and tests read this table.

A chapter's notebook is ``notebooks/NUMBER_SUBJECT.ipynb``, its exercises are ``exercises/SUBJECT.py``. The table in the
README repeats it, and a test compares the two.
"""

from typing import NamedTuple


class Chapter(NamedTuple):
    number: str
    subject: str  # in the names of its files
    title: str
    question: str
    seconds: int  # to run all cells on two CPU cores: measured and written by ``make times``

    @property
    def notebook(self) -> str:
        """The name of its notebook, without the ending."""
        return f"{self.number}_{self.subject}"


CHAPTERS = (
    Chapter("00", "start_here", "Start here", "Is my machine ready? What does growing look like?", 40),
    Chapter("01", "neuron_splitting", "Neuron splitting",
            "What does a copy of a neuron learn, and which neuron is worth copying?", 30),
    Chapter("02", "random_growth", "Random growth",
            "What do new neurons do to a network that is already trained?", 20),
    Chapter("03", "firefly", "Firefly", "Can we score new neurons before we build them?", 20),
    Chapter("04", "cosine_map", "The cosine map", "How alike are the neurons, and what follows from it?", 30),
    Chapter("05", "cifar_experiments", "CIFAR experiments", "Does it help, in a fair comparison?", 20),
    Chapter("06", "grad_cam", "Grad-CAM", "Does the network look at the whole animal?", 20),
)  # fmt: skip
