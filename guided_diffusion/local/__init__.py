"""Local fusion: the rectification whose precisions are local. Equations: docs/local.md."""
