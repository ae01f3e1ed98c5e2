"""kpipe: declarative, cached pipelines that fine-tune and compare Keras image classifiers."""

__version__ = "0.1.0"
