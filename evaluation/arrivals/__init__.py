"""When requests come: processes, cameras that see the same thing, trace files, recordings. One file for each kind."""
