"""Configuration, supervision and status: the one place where the four protocols meet."""
