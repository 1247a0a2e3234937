"""Two videos or folders of frames, fused as one sequence."""
