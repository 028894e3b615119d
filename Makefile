# make lab     the course in JupyterLab
# make test    every test: the library, the notebooks, and their knobs in a browser
# make quick   the tests for between: no notebooks, no browser, no processes, no large models
# make times   how long each notebook takes; writes it into them and the README
#
# Both use .venv. It is made on first use, and brought up to date when pyproject.toml or constraints.txt changes.
# `make lab PYTHON=python3.12` takes another Python (after `make clean`, if there is a .venv already);
# `make test PYTEST="-x -k units"` passes options to pytest.

PYTHON ?= python3

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# Without these, a shell's settings would slow every kernel down (12 s of imports instead of 5), take the figures out
# of the notebooks, or bring in packages from elsewhere.
unexport PYTHONDONTWRITEBYTECODE MPLBACKEND PYTHONPATH PYTHONHOME

# Two processes, a file at a time; tests/ and notebooks compute with one thread each (conftest.py). The summary is the
# same as without; PYTEST="" runs one after the other.
PYTEST ?= -n 2 --dist loadfile

# A virtual environment does not survive being moved; its activate script names the folder that it was made in.
HERE = grep -qsF "$(CURDIR)/$(VENV)" $(VENV)/bin/activate && $(RUN) -c "" 2> /dev/null
ifneq ($(shell $(HERE) && echo here),here)
$(STAMP): FORCE
endif

.DEFAULT_GOAL := help
.PHONY: help lab test quick bench times clean FORCE

help:
	@echo "make lab     open the course in JupyterLab"
	@echo "make test    run every test"
	@echo "make quick   run the tests that take less than three minutes together"
	@echo "make bench   measure how long things take"
	@echo "make times   measure how long each notebook takes, and write it into them and the README"
	@echo "make clean   remove .venv and caches; notebooks, data and runs stay"

# The whole project is JupyterLab's folder, so that the notebooks' neighbours (growlab/, data/) can be opened too.
lab: $(STAMP)
	@echo "==> Starting JupyterLab; stop it with Ctrl-C, twice"
	@set -- --log-level=WARN --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb; \
	[ "$$(id -u)" != 0 ] || set -- "$$@" --allow-root; \
	[ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ] || set -- "$$@" --no-browser; \
	exec $(RUN) -m jupyterlab "$$@"

test: $(STAMP)
	@echo "==> Running all tests: the library's and, as tests, the notebooks"
	@$(RUN) -m pytest $(PYTEST)

quick: $(STAMP)
	@echo "==> Running the quick tests"
	@$(RUN) -m pytest $(PYTEST) -m "not browser and not notebooks and not processes and not slow" tests

bench: $(STAMP)
	@echo "==> Measuring training, surgery, imports and drawing"
	@$(RUN) tools/bench.py

times: $(STAMP)
	@echo "==> Running all cells of each notebook"
	@OMP_NUM_THREADS=1 $(RUN) tools/store_notebooks.py --times

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis
	find growlab tests notebooks -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

# The stamp is written last, so that an interrupted installation is finished next time.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Growlab needs Python 3.11 or newer, and \"$(PYTHON)\" is not: install one and name it, make lab PYTHON=python3.12" >&2; exit 1; }
	@$(HERE) || { \
	    echo "==> Making a virtual environment in $(VENV)"; \
	    $(PYTHON) -m venv --clear $(VENV) || { \
	        echo "Python could not make it. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; }
	@echo "==> Installing Growlab and what it needs into $(VENV) (the first time: minutes, and about 6 GB of disk)"
	@$(RUN) -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]' || { \
	    echo "The installation failed; run the same command again when the cause above is gone: it goes on from here." >&2; \
	    echo "No matching version? constraints.txt was tested with Python 3.11: try make lab PYTHON=python3.11" >&2; exit 1; }
	@touch $@
	@echo "==> Installed"
