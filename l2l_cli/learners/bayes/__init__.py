"""The best that is possible: learners that know the task's prior."""
