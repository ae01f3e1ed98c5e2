"""Training with kpipe against Keras scripts: the same networks, pictures and recipe, each in processes of its own."""
