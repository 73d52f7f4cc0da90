"""The producer of apps/older.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps"))
import older  # noqa: E402

DEADLINE = 60

assert older.doubled.delay({1, 2}).get(timeout=DEADLINE) == {2, 4}
older.prints.delay("hello").get(timeout=DEADLINE)
