import os

# matplotlib refuses to be imported where a notebook has named a backend of its own; figures here need no screen.
os.environ["MPLBACKEND"] = "agg"
