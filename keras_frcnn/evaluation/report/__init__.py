"""Results for people and programs: tables, files, pages."""
