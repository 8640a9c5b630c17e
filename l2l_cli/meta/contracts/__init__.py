"""What tasks, learners, rules and estimators owe, tried on a few steps of a few episodes before they are trusted."""
