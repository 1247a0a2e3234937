"""Metrics of fusion, and what is made of them: tables, published rows, plots and the HTML report."""
