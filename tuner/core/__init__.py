"""The words of the project as plain values. This package imports nothing else of tuner."""
