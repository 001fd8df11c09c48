"""Grades strangers' notebooks: checks run in one process, the student's code in another, walled in.

Left out of the teaching library: nothing there imports this package. `pip install fmbook[grading]`.
"""
