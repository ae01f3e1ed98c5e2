"""The network and how it learns: weights, head, frozen prefix, BatchNorm statistics, the training loop."""
