"""From measurements to predictors: regressions, calibration, intervals, accuracy, transfer."""
