"""The Web API's methods, one small function each: world and arguments in, answer out, SlackError for a refusal."""
