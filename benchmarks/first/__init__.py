"""The same first study, as a user writes it in three tools. Each script prints when its first value was there."""
