"""Detectors as values: genotype, graph, costs, and what is built from them."""
