"""What ``tools.evaluate_prior`` writes into the model card: denoising, curves, samples and tables."""
