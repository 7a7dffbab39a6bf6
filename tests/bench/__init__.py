"""The benchmark: operations per second and server CPU per operation, beside a bare responder."""
