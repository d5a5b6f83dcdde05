"""The flow, one verb a file: submit, plan, dispatch, execute, handoff, merge, finish; steer for people,
tick for what was lost, transition for every write. A stage reads, decides, acts, records."""
