"""The command line: commands parse, call and print, and hold no logic."""
