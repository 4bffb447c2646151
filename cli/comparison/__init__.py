"""What `leeway bench` is made of: the work that was asked for, cards of the systems, a table, a JSON document."""
