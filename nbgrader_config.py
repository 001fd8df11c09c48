"""nbgrader's course: solutions/ is the source, exercises/ the release, an era is an assignment."""

c = get_config()  # noqa: F821 - defined by nbgrader when it reads this file

c.CourseDirectory.course_id = "fmbook"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.ExecutePreprocessor.timeout = 60  # seconds a cell may take
c.ExecutePreprocessor.iopub_timeout = 60  # a busy machine is slow to answer: no reason to fail
c.ClearSolutions.code_stub = {"python": "# your code here\nraise NotImplementedError"}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.HTMLExporter.exclude_anchor_links = True  # a student's heading must not be named like a cell
