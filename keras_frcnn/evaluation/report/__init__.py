"""The results of an evaluation, for people and for programs: tables, files and pages."""
