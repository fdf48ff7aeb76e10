"""What is at which address: one module for each group of pages, and the API."""
