"""The page in the browser: what a visitor asks for, fused and shown. Only :mod:`util.page.layout` knows gradio."""
