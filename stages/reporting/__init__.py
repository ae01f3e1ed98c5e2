"""What the report is made of: results of branches, statistics, tables, figures, words."""
