"""The front: the best network of every size, from the trials that are trained in full to what is delivered."""
