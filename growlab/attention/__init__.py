"""Where does a network look? Interventions on critters, heat maps, and whether heat maps can be trusted. Notebook 06.

The last station of the flow (train, record, **attention**).
"""

from growlab.attention.heat_maps import Heatmaps, heatmaps
from growlab.attention.interventions import (
    Votes,
    accuracy_by_hidden_parts,
    background_votes,
    changed,
    effective_parts,
    logits,
    part_votes,
    votes,
)
from growlab.attention.measures import activations, auc, baselines, coverage, randomised, road

__all__ = [
    "Heatmaps", "Votes", "accuracy_by_hidden_parts", "activations", "auc", "background_votes", "baselines", "changed",
    "coverage", "effective_parts", "heatmaps", "logits", "part_votes", "randomised", "road", "votes",
]  # fmt: skip
