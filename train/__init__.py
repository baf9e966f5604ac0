"""Train a recipe and leave a run folder: ``python -m train RECIPE``."""

if __name__ == "train":
    from edgeward.runtime.aliases import install

    install("train")
