"""What each of the five commands does, and how evaluate and compare show what they found."""
