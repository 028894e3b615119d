"""What editors and type checkers read: the names of __init__.py, which it loads when they are first used.

A test compares the two.
"""

# ruff: noqa: I001 - in the order of the flow
from growlab.data.sources import load_data as load_data
from growlab.data import critters as critters
from growlab.models import mlp as mlp, vgg5 as vgg5, vgg16 as vgg16, mobilenet as mobilenet
from growlab.models import parameter_count as parameter_count
from growlab.structure.units import units as units, Unit as Unit, Edit as Edit
from growlab.plans import GrowthPlan as GrowthPlan, Candidate as Candidate
from growlab.plans import propose as propose, apply as apply, preview as preview
from growlab.methods.splitting import splitting_matrices as splitting_matrices
from growlab.similarity import cosine_map as cosine_map, mean_cosine as mean_cosine, twin_angle as twin_angle
from growlab.similarity import null_bands as null_bands, welch_bound as welch_bound, effective_rank as effective_rank
from growlab.penalties import similarity_penalty as similarity_penalty, weight_change as weight_change
from growlab.norms import refresh_statistics as refresh_statistics
from growlab.decorrelation import decorrelate as decorrelate
from growlab.growth import Growth as Growth
from growlab.training import train as train, evaluate as evaluate, learning_rate as learning_rate
from growlab.history import History as History, similarity_figures as similarity_figures
from growlab.records import save as save, load as load
from growlab import attention as attention
from growlab.attention.heat_maps import heatmaps as heatmaps
from growlab.attention.interventions import part_votes as part_votes, effective_parts as effective_parts
from growlab.attention.interventions import accuracy_by_hidden_parts as accuracy_by_hidden_parts
from growlab.attention.interventions import background_votes as background_votes
from growlab.attention.measures import coverage as coverage, road as road, auc as auc
from growlab.lab.run import Run as Run
from growlab.lab.grids import grid as grid
from growlab.lab.execute import execute as execute
from growlab.lab.results import results as results, collect as collect
from growlab.lab.statistics import summary as summary
from growlab.lab.verdicts import verdicts as verdicts
from growlab.course.exercises import check as check, hint as hint, solution as solution
from growlab.course.exercises import answer as answer, predict as predict, progress as progress
from growlab import plots as plots
from growlab.course import explore as explore

__all__: list[str]
