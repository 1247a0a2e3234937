"""The noise of sources: what it is, and how it leaves them before they are fused. Equations: docs/local.md."""
