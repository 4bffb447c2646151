"""Holds the answer rules, one file for each kind of app: which tasks a request opens and when it may be answered."""
