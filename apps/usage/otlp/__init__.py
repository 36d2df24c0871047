"""The OTLP/HTTP receiver: telemetry of Claude Code and of agents that follow the GenAI conventions becomes events."""
