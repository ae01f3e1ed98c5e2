"""Backbones, one module each: literals only, free of keras, so that preprocess can read them on any backend.

APPLICATION   the function in keras.applications that builds the network (include_top=False)
SCALING       the pixel contract (a name in stages.pixels) that its published weights were trained on
SMALLEST      smallest height and width in pixels that the network accepts
BLOCKS        layers at which its blocks end, in order
LAYERS        number of layers that keras.applications lists, the input layer included
IMAGENET      file of the published weights below KERAS_HOME/models, and its MD5 as Keras checks it
"""
