"""Who and what the demo is made of. All of it is invented."""

from dataclasses import dataclass

__all__ = ["ORG", "PEOPLE", "PROJECTS", "TEAMS", "DemoProject", "Habit"]

ORG = "Harbor Freight Lab"
TEAMS = ("Routing", "Customs", "Warehouse", "Platform", "Insights")


@dataclass(frozen=True, slots=True)
class Habit:
    """How a project uses Claude: models with their weights, tokens of a typical call, share of cache reads, tools."""

    models: tuple[tuple[str, int], ...]
    input_tokens: int
    output_tokens: int
    cached: float
    latency_ms: int
    tools: tuple[tuple[str, str], ...] = ()
    source: str = "sdk"
    errors: float = 0.01


@dataclass(frozen=True, slots=True)
class DemoProject:
    """A project: its team, how many calls its people make on a weekday, and how."""

    name: str
    team: str
    calls: int
    habit: Habit


_CODE = Habit(
    models=(("claude-opus-5-5", 5), ("claude-sonnet-5-5", 4), ("claude-haiku-5-5", 3)),
    input_tokens=2600, output_tokens=900, cached=0.86, latency_ms=5200, source="claude_code",
    tools=(
        ("github", "create_pull_request"), ("github", "search_code"), ("postgres", "query"), ("", "Bash"), ("", "Edit"),
    ),
)  # fmt: skip

PROJECTS = (
    DemoProject("route-planner", "Routing", 210, _CODE),
    DemoProject("customs-copilot", "Customs", 170, Habit(
        models=(("claude-sonnet-5-5", 6), ("claude-opus-5-5", 2)), input_tokens=5200, output_tokens=620, cached=0.55,
        latency_ms=3100, tools=(("tariffs", "lookup_code"), ("tariffs", "list_documents")),
    )),
    DemoProject("dock-assistant", "Warehouse", 240, Habit(
        models=(("claude-haiku-5-5", 8), ("claude-sonnet-5-5", 1)), input_tokens=1400, output_tokens=210, cached=0.4,
        latency_ms=900, tools=(("inventory", "find_item"), ("inventory", "reserve")), errors=0.02,
    )),
    DemoProject("ci-reviewer", "Platform", 140, Habit(
        models=(("claude-sonnet-5-5", 5), ("claude-opus-4-8", 1)), input_tokens=9800, output_tokens=1100, cached=0.3,
        latency_ms=7400, tools=(("github", "get_pull_request"), ("github", "add_comment")), errors=0.015,
    )),
    DemoProject("platform-tools", "Platform", 110, _CODE),
    DemoProject("demand-forecast", "Insights", 60, Habit(
        models=(("claude-opus-5-5", 3), ("claude-fable-5-2", 1), ("claude-fable-5-1", 1)), input_tokens=14000,
        output_tokens=2300, cached=0.2, latency_ms=14500, tools=(("postgres", "query"),),
    )),
    DemoProject("invoice-reader", "Customs", 120, Habit(
        models=(("claude-haiku-5-5", 3), ("claude-haiku-4-5", 1)), input_tokens=3600, output_tokens=340, cached=0.1,
        latency_ms=1500,
    )),
)  # fmt: skip

# Name and team; the first is the person whom the demo signs in.
PEOPLE = (
    ("Ines Carvalho", "Platform"), ("Tomas Lindqvist", "Routing"), ("Amara Okoye", "Routing"),
    ("Jonas Weber", "Routing"), ("Mei Tanaka", "Routing"), ("Ravi Menon", "Routing"), ("Elif Aydin", "Customs"),
    ("Pavel Novak", "Customs"), ("Sofia Marchetti", "Customs"), ("Daniel Mbeki", "Customs"),
    ("Hana Kim", "Warehouse"), ("Luca Moretti", "Warehouse"), ("Grace Adeyemi", "Warehouse"),
    ("Oskar Nilsen", "Warehouse"), ("Leila Haddad", "Warehouse"), ("Marta Kowalska", "Platform"),
    ("Noah Fischer", "Platform"), ("Yuki Sato", "Platform"), ("Clara Dubois", "Platform"), ("Ivan Petrov", "Platform"),
    ("Nadia Rahman", "Insights"), ("Erik Johansson", "Insights"), ("Lucia Fernandez", "Insights"),
    ("Samuel Osei", "Insights"),
)  # fmt: skip
