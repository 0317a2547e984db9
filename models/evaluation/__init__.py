"""COCO's average precision of a training run or of a .tflite."""
