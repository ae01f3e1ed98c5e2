"""Training: phases, the loop over epochs, what it optimises, and where it goes on after a crash."""
