"""From a trained detector to a .tflite file that is known to do the same."""
