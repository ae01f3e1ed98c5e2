"""What runs in the measured processes: the peers as a Keras user writes them, and what is counted and measured with Keras."""
