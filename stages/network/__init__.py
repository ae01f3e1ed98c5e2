"""The network: its weights, head, frozen prefix, BatchNorm statistics, what it costs, the device it runs on."""
