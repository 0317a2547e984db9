"""What is wrong with a .tflite file for the program that is to open it."""
