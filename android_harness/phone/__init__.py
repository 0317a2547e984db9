"""A phone as a device: adb, its settings, one visit, and Google's benchmark_model on it."""
