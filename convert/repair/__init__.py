"""Try other ways to make what missed its budget, choose on other samples, judge."""
