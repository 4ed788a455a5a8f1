"""Model observers: how well a known signal can be detected in an image, for task-based assessment of image quality.

Barrett and Myers, Foundations of Image Science, 2004, chapters 13 and 14.
"""
