"""Who does the thinking: the planner's conversation, and the agents that work on one subtask."""
