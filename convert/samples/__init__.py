"""Which samples calibrate, choose and judge; leakage between them; golden vectors."""
