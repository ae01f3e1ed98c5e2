"""Findings: why training does not work, measured on the network and the images, with the line that mends it.

One rule a module; each gives at most one finding and says nothing about a healthy run. What needs no network to be found is
in two: `recipe_checks` on an augmentation, `static_checks` on data and pixels.
"""
