"""Where work runs: the interface every device keeps, and one file for each kind of device."""
