"""What waits for its turn is worked on as one; each caller sees its own end."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from apps.usage.ingest.turns import Turns


@dataclass
class Piece:
    name: str
    size: int = 1
    error: BaseException | None = None


def run_all(turns: Turns[Piece], pieces: list[Piece], held: Callable[[], bool]) -> list[str]:
    """Run each on a thread of its own, one after the other once ``held`` says so; what each of them saw."""
    ends = [""] * len(pieces)

    def run(number: int) -> None:
        try:
            turns.run(pieces[number])
            ends[number] = "done"
        except BaseException as error:
            ends[number] = str(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(pieces))]
    threads[0].start()
    while not held():
        pass
    for waiting, thread in enumerate(threads[1:], start=1):
        thread.start()
        while len(turns._waiting) < waiting:
            pass
    GO_ON.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return ends


GO_ON = threading.Event()


@pytest.fixture(autouse=True)
def _go_on() -> None:
    GO_ON.clear()


def test_what_gathers_is_one_turn_up_to_its_size_and_in_its_order() -> None:
    acted: list[list[str]] = []

    def act(pieces: list[Piece]) -> None:
        acted.append([piece.name for piece in pieces])
        assert GO_ON.wait(5)

    turns: Turns[Piece] = Turns(act, most=5)
    pieces = [Piece("a"), Piece("b", 2), Piece("c", 2), Piece("d", 2), Piece("e", 9), Piece("f")]
    assert run_all(turns, pieces, lambda: bool(acted)) == ["done"] * 6
    assert acted == [["a"], ["b", "c"], ["d"], ["e"], ["f"]]
    assert not turns._busy


def test_an_error_of_one_is_not_the_others_and_one_of_the_turn_is_everyones() -> None:
    acted: list[int] = []

    def act(pieces: list[Piece]) -> None:
        acted.append(len(pieces))
        assert GO_ON.wait(5)
        for piece in pieces:
            if piece.name == "bad":
                piece.error = ValueError("bad")

    def finish(pieces: list[Piece]) -> None:
        if any(piece.name == "away" for piece in pieces):
            raise OSError("away")

    turns = Turns(act, finish, most=3)
    pieces = [Piece("a"), Piece("bad"), Piece("b"), Piece("c"), Piece("away"), Piece("bad"), Piece("d")]
    assert run_all(turns, pieces, lambda: bool(acted)) == ["done", "bad", "done", "done", "away", "bad", "away"]
    turns.run(Piece("later"))
    assert not turns._busy


def test_an_act_that_fails_hands_the_lead_on() -> None:
    acted: list[int] = []

    def act(pieces: list[Piece]) -> None:
        acted.append(len(pieces))
        assert GO_ON.wait(5)
        if len(acted) == 1:
            raise KeyboardInterrupt("no")

    turns: Turns[Piece] = Turns(act, most=9)
    assert run_all(turns, [Piece("a"), Piece("b"), Piece("c")], lambda: bool(acted)) == ["no", "done", "done"]
    assert acted == [1, 2]


def said_by_two(size: int) -> list[str]:
    """What two turns say; the first is finished only when the second, of this size, has gone as far as it can."""
    said: list[str] = []
    first_finishes, second_acted = threading.Event(), threading.Event()

    def act(pieces: list[Piece]) -> None:
        said.append(f"act {pieces[0].name}")

    def finish(pieces: list[Piece]) -> None:
        said.append(f"finish {pieces[0].name}")
        if pieces[0].name == "a":
            first_finishes.set()
            assert GO_ON.wait(5)
        else:
            second_acted.set()
        said.append(f"finished {pieces[0].name}")

    turns = Turns(act, finish, most=8)
    first, second = (threading.Thread(target=turns.run, args=(piece,)) for piece in (Piece("a"), Piece("b", size)))
    first.start()
    assert first_finishes.wait(5)
    second.start()
    second_acted.wait(0.3)
    GO_ON.set()
    first.join(10)
    second.join(10)
    return said


def test_a_small_turn_is_finished_after_the_one_before_and_acted_on_beside_it() -> None:
    assert said_by_two(1) == ["act a", "finish a", "act b", "finished a", "finish b", "finished b"]


def test_a_larger_one_waits_for_none() -> None:
    assert said_by_two(2) == ["act a", "finish a", "act b", "finish b", "finished b", "finished a"]
