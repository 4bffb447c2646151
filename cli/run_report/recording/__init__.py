"""What a run left on disk, read and matched with the truth."""
