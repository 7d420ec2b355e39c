"""From run folders to one report: tables with intervals, the paper's figures, plain words.

`report.write_report(runs, out)` is the door. Nothing here imports TensorFlow, so a report takes
seconds; matplotlib, pandas, SciPy and scikit-learn are imported by the functions that need them.
"""
