"""VGG16 (Simonyan & Zisserman 2014, arXiv 1409.1556), as keras.applications builds it."""

NAME = "VGG16"
APPLICATION = "VGG16"
SCALING = "caffe"
SMALLEST = 32
BLOCKS = ["block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool"]
LAYERS = 19
IMAGENET = {
    "file": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "md5": "6d6bbae143d832006294945121d1f1fc",
}
