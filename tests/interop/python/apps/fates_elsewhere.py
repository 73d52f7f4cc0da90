"""The same with results in files, which no store of ours keeps."""
import os

os.makedirs("results", exist_ok=True)
os.environ["CELERY_RESULT_BACKEND"] = "file://" + os.path.abspath("results")

from fates import app  # noqa: E402, F401
