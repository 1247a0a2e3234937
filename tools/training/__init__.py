"""What ``tools.train_prior`` is made of: photographs, batches, the loop, its processes and a look at the prior."""
