"""The daemon's answers as text for people: one module per view, each a function from an answer to a page."""
