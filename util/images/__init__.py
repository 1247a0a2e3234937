"""Images and the files that hold them: reading and writing, pairs, colour, the layouts of data sets."""
