"""A folder of pairs taken through a run: batches, memory, ranks, results, resumption and the record of it all."""
