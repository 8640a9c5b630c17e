"""The limits of learning: learners that know the prior that tasks are drawn from."""
