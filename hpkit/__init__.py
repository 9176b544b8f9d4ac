"""hpkit teaches how machines learn to see when two photos show the same thing."""

__version__ = "0.1.0"
