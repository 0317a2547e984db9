"""This PC as a device: a pinned worker, operator profiles, and the C runner built on demand."""
