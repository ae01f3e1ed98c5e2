"""ResNet50 (He et al. 2015, arXiv 1512.03385), as keras.applications builds it."""

NAME = "ResNet50"
APPLICATION = "ResNet50"
SCALING = "caffe"
SMALLEST = 32
BLOCKS = [
    "pool1_pool",
    "conv2_block1_out", "conv2_block2_out", "conv2_block3_out",
    "conv3_block1_out", "conv3_block2_out", "conv3_block3_out", "conv3_block4_out",
    "conv4_block1_out", "conv4_block2_out", "conv4_block3_out", "conv4_block4_out", "conv4_block5_out", "conv4_block6_out",
    "conv5_block1_out", "conv5_block2_out", "conv5_block3_out",
]  # fmt: skip
LAYERS = 175
IMAGENET = {
    "file": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "md5": "4d473c1dd8becc155b73f8504c6f6626",
}
