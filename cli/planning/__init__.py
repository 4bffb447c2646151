"""What `leeway plan` is made of: what was asked, the box tried and put before cameras, and how it is told."""
