"""Whose money is where: postings, the batched write path, the books."""
