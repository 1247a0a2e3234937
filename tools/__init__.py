"""What a user runs rarely: training a prior, making the sample pairs."""
