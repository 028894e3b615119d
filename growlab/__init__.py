"""Growlab: neural networks that grow while they learn.

The public names below, in the order of the flow, are loaded when they are first used, so that ``import growlab`` costs
next to nothing, and ``growlab doctor`` can speak where PyTorch is broken.
"""

from importlib import import_module

_HOME = {
    "data.sources": ["load_data"],
    "models": ["mlp", "vgg5", "vgg16", "mobilenet", "parameter_count"],
    "structure.units": ["units", "Unit", "Edit"],
    "plans": ["GrowthPlan", "Candidate", "propose", "apply", "preview"],
    "methods.splitting": ["splitting_matrices"],
    "similarity": [
        "cosine_map", "mean_cosine", "twin_angle", "null_bands", "welch_bound", "effective_rank",
    ],
    "penalties": ["similarity_penalty", "weight_change"],
    "norms": ["refresh_statistics"],
    "decorrelation": ["decorrelate"],
    "growth": ["Growth"],
    "training": ["train", "evaluate", "learning_rate"],
    "history": ["History", "similarity_figures"],
    "records": ["save", "load"],
    "attention.heat_maps": ["heatmaps"],
    "attention.interventions": ["part_votes", "effective_parts", "accuracy_by_hidden_parts", "background_votes"],
    "attention.measures": ["coverage", "road", "auc"],
    "lab.run": ["Run"],
    "lab.grids": ["grid"],
    "lab.execute": ["execute"],
    "lab.results": ["results", "collect"],
    "lab.statistics": ["summary"],
    "lab.verdicts": ["verdicts"],
    "course.exercises": ["check", "hint", "solution", "answer", "predict", "progress"],
}  # fmt: skip
_ROOMS = {"critters": "data.critters", "attention": "attention", "plots": "plots", "explore": "course.explore"}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted([*_MODULE_OF, *_ROOMS])


def __getattr__(name):
    if name in _ROOMS:
        value = import_module(f".{_ROOMS[name]}", __name__)
    elif name in _MODULE_OF:
        value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    else:
        raise AttributeError(f"growlab has no {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
