"""What ``tools.reproduce`` is made of: runs over data sets, and checks of what the iterations do."""
