"""Growlab: neural networks that grow while they learn.

The public names below are loaded when they are first used, so that
``import growlab`` costs next to nothing beyond PyTorch itself.
"""

from importlib import import_module

try:
    from .units import units  # noqa: F401  at once: imported later, the module of this name would hide the function
except (ImportError, OSError):  # PyTorch is missing or broken: ``growlab doctor`` must still be able to say so
    pass

_HOME = {
    "data": ["load_data"],
    "models": ["mlp", "vgg5", "vgg16", "mobilenet", "parameter_count"],
    "units": ["units", "Unit", "Edit"],
    "plans": ["GrowthPlan", "Candidate", "propose", "apply", "preview"],
    "splitting": ["splitting_matrices"],
    "similarity": [
        "cosine_map", "mean_cosine", "twin_angle", "null_bands", "welch_bound", "effective_rank", "similarity_penalty",
        "weight_change", "similarity_figures",
    ],
    "decorrelation": ["decorrelate", "refresh_statistics"],
    "records": ["History", "save", "load"],
    "training": ["train", "evaluate", "Growth", "learning_rate"],
    "experiments": ["Run", "grid"],
    "execution": ["execute"],
    "evidence": ["results", "summary", "collect"],
    "attention": [
        "heatmaps", "coverage", "part_votes", "effective_parts", "accuracy_by_hidden_parts", "background_votes", "road", "auc",
    ],
    "exercises": ["check", "hint", "solution", "answer", "predict", "progress"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name == "explore":  # a module: gl.explore.k()
        return import_module(".explore", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"growlab has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return [*globals(), *__all__, "explore"]
