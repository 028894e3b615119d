"""Pictures in, batches out: the first station of the flow. Notebook 00."""

from growlab.data.batches import Batches, Data, Split, crop_and_flip
from growlab.data.sources import load_data

__all__ = ["Batches", "Data", "Split", "crop_and_flip", "load_data"]
