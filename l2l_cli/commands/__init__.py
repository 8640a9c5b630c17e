"""What each of the four commands does, and how evaluate and compare show what they found."""
