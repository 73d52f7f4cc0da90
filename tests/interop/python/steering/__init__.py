"""Celery's own remote control, towards a worker of ours: the scenarios of drive_control.py."""
