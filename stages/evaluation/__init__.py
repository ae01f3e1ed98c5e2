"""What evaluate measures: predictions of the saved network, metrics with intervals, calibration, the images it is wrong about."""
