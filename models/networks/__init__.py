"""A Graph as a Keras network and as a torch network, with the same weights."""
