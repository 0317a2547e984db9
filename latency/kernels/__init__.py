"""A Graph as the runtime executes it: kernels, their features, their cache traffic."""
