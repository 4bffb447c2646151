"""Which tasks a request opens and when it may be answered: one file for each kind of app."""
