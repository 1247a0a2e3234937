"""The mathematics of DDFM: the diffusion prior, its sampler and the EM rectification. Knows no files."""
