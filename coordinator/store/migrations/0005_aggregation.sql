-- Which numbers a suite's rows become, as its task says; none: all that the rows allow.
ALTER TABLE run_suites ADD COLUMN aggregation TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(aggregation));
