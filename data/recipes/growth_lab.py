"""What the growth lab of notebook 05 shows a live run beside: ``gl.grid("quick")`` and copies, ten seeds.

    python data/recipes/growth_lab.py FOLDER    trains in FOLDER, goes on where it was stopped, writes the record

vgg5 from width 4 on 1,600 critters whose parts are right with probability 0.8; 35 % more neurons after epochs 1, 2
and 3 of 8. K as the paper reports it for each method, 10 % relative movement.
``growlab results growth_lab.json`` shows it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import growlab as gl

if __name__ == "__main__":
    runs = gl.grid("quick", seeds=10)
    copies = [
        replace(run, method="net2net", arm=run.arm.replace("random", "net2net"))
        for run in runs
        if run.arm in ("random", "random+penalty")
    ]
    gl.execute([*runs, *copies], folder := sys.argv[1])
    gl.collect(folder, Path(__file__).parents[1] / "results" / f"{Path(__file__).stem}.json")
