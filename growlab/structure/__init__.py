"""What can grow in a model: graph.py traces it, channels.py follows its channels, units.py makes units of them."""
