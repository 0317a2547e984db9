"""The .tflite format, read and written without TensorFlow."""
