"""The training job: PySpark 3.5, Python 3.9 (EMR 7 has no newer one), numpy, and nothing else of Kinstream.

`train.py` is what is submitted; the other modules go with it as `job_package.package()`, by `--py-files`.
"""
