"""What a call of D saw, told by the gradients at its output, where nothing else tells it.

An augmentation without autograd between G and D cuts every trace. But D's loss pulls its output up on real
samples and down on fakes, or the other way round, and G's loss pulls the outputs of sure fakes to where D's
pulls those of reals. So the sign of d loss / d output, compared with the sign on the fakes of G's own steps,
is a vote: the same sign says real, the opposite one fake. One vote is weak: a least-squares loss pulls both
sides the same way while D has put both on one side of a target, and a hinge pulls not at all. So votes are
gathered by the place that a call has in its step, which the script's text fixes, and row by row, as rows of
both kinds may come in one batch; and only a place whose votes agree is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from gandiag.loop.calls import Call, Kind

#: Rounds after which a place may be decided, and how far its votes must agree by then, in [-1, 1]. More rounds
#: make up for less agreement: some scripts swap the labels now and then on purpose.
ROUNDS, AGREEMENT = 6, 0.8
MORE_ROUNDS, LESS_AGREEMENT = 12, 0.5
#: Rounds of the taint pass that must have told the same of a place.
TAUGHT = 3
#: Rows of a batch that must have a decided side, and rows of each side in a batch with both.
MOST_ROWS, SOME_ROWS = 0.95, 0.1
#: Runs of equal rows in a batch with both sides: real and fake are joined in blocks, not shuffled.
BLOCKS = 4
#: How far the gradients on G's fakes must point in one direction, in [0, 1], to be measured along it.
ALIKE = 0.95
#: Rounds after which a place that is still undecided is given up, so that looking costs nothing any more.
GIVE_UP = 400

Place = tuple[int, int, int, int]


@dataclass(slots=True)
class _Ballot:
    votes: Tensor  # (n,), the sum over rounds of +1 for real and -1 for fake
    cast: Tensor  # (n,), rounds in which the row had any gradient
    rounds: int = 0
    kind: Kind | None = None
    rows: Tensor | None = None
    waiting: dict[Kind, int] = field(default_factory=dict)  # calls counted so far, by what they were taken for


@dataclass(slots=True)
class _Lesson:
    kind: Kind
    rows: Tensor | None
    rounds: int = 0


@dataclass(slots=True, frozen=True)
class _Pull:
    """The gradient at D's output, and what it had not reproduced of its input, see `_errors`."""

    cotangent: Tensor
    errors: Tensor | None


class Votes:
    """Gathers votes by place and says what the calls there see, once it is sure.

    On a GPU the votes are summed there, and looked at through a copy that is fetched when it has arrived.
    """

    def __init__(self) -> None:
        self._ballots: dict[Place, _Ballot] = {}
        self._pulled: dict[int, _Pull] = {}  # how each D was pulled on the fakes of G's last step
        self._copies: list[tuple[_Ballot, Tensor, torch.cuda.Event]] = []
        self._lessons: dict[tuple[object, ...], _Lesson] = {}
        self._saw_fakes: set[int] = set()  # Ds in whose own steps some call is surely fake

    def calibrate(self, call: Call) -> None:
        """Note a sure fake of G's step, where anything is voted on: in most loops nothing is."""
        if call.cotangent is not None and self._ballots:
            self._pulled[id(call.unit)] = _Pull(call.cotangent, _errors(call, call.cotangent))

    @property
    def has_been_taught(self) -> bool:
        """Whether the taint pass has told anything that nothing else tells."""
        return bool(self._lessons)

    def teach(self, call: Call, place: tuple[object, ...]) -> None:
        """Note what the taint pass says of a call, or that it says nothing: then its place is not to be trusted."""
        rows = call.fake_rows
        lesson = self._lessons.setdefault(place, _Lesson(call.kind, rows))
        same = rows is None or lesson.rows is None or torch.equal(rows, lesson.rows)
        if lesson.kind is not call.kind or not same or (rows is None) != (lesson.rows is None):
            lesson.kind = Kind.UNKNOWN
        lesson.rounds += 1

    def taught(self, call: Call, place: tuple[object, ...]) -> Kind:
        """What the taint pass has taught of the calls at a place; UNKNOWN where it has not, or not surely."""
        lesson = self._lessons.get(place)
        if lesson is None or lesson.rounds < TAUGHT:
            return Kind.UNKNOWN
        if lesson.kind is Kind.CAT:
            call.guessed_rows = lesson.rows
        return lesson.kind

    def ask(self, call: Call, place: Place, taken_for: Kind) -> Kind | None:
        """Cast the vote of a call and say what the calls at its place are; None while that is not sure.

        Args:
            call: of D's step, with a plain gradient.
            place: unit, calls in the step, its number among them, rows of its output.
            taken_for: what it is counted as until the votes have decided.
        """
        if call.cotangent is None or call.cotangent.ndim == 0:
            return None
        ballot = self._ballots.get(place)
        if ballot is None:
            zeros = torch.zeros(len(call.cotangent), device=call.cotangent.device)
            ballot = self._ballots[place] = _Ballot(zeros, zeros.clone())
        self._fetch()
        if ballot.kind is None and ballot.rounds < GIVE_UP:
            self._vote(ballot, call)
        kind = self._believed(place, ballot)
        if kind is None:
            ballot.waiting[taken_for] = ballot.waiting.get(taken_for, 0) + 1
        elif ballot.rows is not None:
            call.guessed_rows = ballot.rows
        return kind

    def saw_fakes(self, used: list[Call]) -> None:
        """Note of which units a call in D's own step is known to be fake."""
        if self._ballots:
            self._saw_fakes.update(id(call.unit) for call in used if call.kind is Kind.FAKE)

    def _believed(self, place: Place, ballot: _Ballot) -> Kind | None:
        """What a ballot has decided, but real only where something else is not.

        While a D has both sides on one side of its targets, a least-squares loss pulls them the same way, and all
        would be called real.
        """
        unit = place[0]
        if ballot.kind is not Kind.REAL or unit in self._saw_fakes:
            return ballot.kind
        others = [other for (owner, *_), other in self._ballots.items() if owner == unit]
        if any(o.kind in (Kind.FAKE, Kind.CAT) or (o.kind is None and o.rounds >= MORE_ROUNDS) for o in others):
            self._saw_fakes.add(unit)
            return ballot.kind
        if all(other.kind is Kind.REAL for other in others):
            for other in others:  # vote anew
                other.kind, other.rounds = None, 0
                other.votes.zero_()
                other.cast.zero_()
        return None

    def overrule(self, place: Place, kind: Kind) -> None:
        """The calls at a place are of this kind, whatever the votes say."""
        if place in self._ballots:
            self._ballots[place].kind, self._ballots[place].rows = kind, None

    def settled(self) -> list[tuple[Kind, Kind, int]]:
        """Since it was last asked: what calls had been taken for, what they were, and how many there were."""
        found = []
        for place, ballot in self._ballots.items():
            kind = self._believed(place, ballot) if ballot.waiting else None
            if kind is not None:
                found += [(before, kind, n) for before, n in ballot.waiting.items()]
                ballot.waiting = {}
        return found

    def _vote(self, ballot: _Ballot, call: Call) -> None:
        known, cotangent = self._pulled.get(id(call.unit)), call.cotangent
        if known is None or cotangent is None or known.cotangent.device != cotangent.device:
            return
        with torch.no_grad():
            if known.cotangent.shape[1:] != cotangent.shape[1:]:
                return
            flat, reference = _flat(cotangent), _flat(known.cotangent)
            # Along the reference and not its sum: the gradients of a softmax over classes sum to nothing.
            along = flat @ normalize(reference.mean(dim=0), dim=0)
            errors = _errors(call, cotangent)
            if errors is not None and known.errors is not None:
                # A D on pixels, or of two classes on points, has such shapes too; but its loss pulls all rows alike.
                alike = normalize(reference, dim=1).mean(dim=0).norm()
                towards = (flat * errors).sum(dim=1) * (reference * known.errors).sum().sign()
                along = torch.where(alike < ALIKE, towards, along)
            votes = torch.where(along.abs() > 1e-3 * flat.norm(dim=1), along.sign(), 0)
            ballot.votes += votes
            ballot.cast += votes != 0
        ballot.rounds += 1
        if ballot.rounds < ROUNDS:
            return
        both = torch.stack([ballot.votes, ballot.cast])
        if both.device.type == "cpu":
            self._decide(ballot, both)
        elif ballot.rounds % ROUNDS == 0 and both.device.type == "cuda":
            copy = torch.empty(both.shape, dtype=both.dtype, pin_memory=True)
            copy.copy_(both, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._copies.append((ballot, copy, event))

    def _fetch(self) -> None:
        while self._copies and self._copies[0][2].query():  # type: ignore[no-untyped-call]
            ballot, copy, _ = self._copies.pop(0)
            if ballot.kind is None:
                self._decide(ballot, copy)

    def _decide(self, ballot: _Ballot, both: Tensor) -> None:
        votes, cast = both
        share = votes / cast.clamp_min(1)
        heard = cast >= ROUNDS / 2
        enough = torch.where(cast >= MORE_ROUNDS, LESS_AGREEMENT, AGREEMENT)
        real, fake = heard & (share >= enough), heard & (share <= -enough)
        reals, fakes = float(real.float().mean()), float(fake.float().mean())
        if reals >= MOST_ROWS:
            ballot.kind = Kind.REAL
        elif fakes >= MOST_ROWS:
            ballot.kind = Kind.FAKE
        elif reals + fakes >= MOST_ROWS and min(reals, fakes) >= SOME_ROWS:
            rows = share < 0
            if 1 + int((rows[1:] != rows[:-1]).sum()) <= BLOCKS:
                ballot.kind = Kind.CAT
                ballot.rows = rows


def _errors(call: Call, cotangent: Tensor) -> Tensor | None:
    """What an autoencoder among the Ds has not reproduced, each row of length 1, shape (n, -1).

    Its loss pulls each row's output towards its input or away from it, in no direction that rows would share
    (Zhao et al. 2016, arXiv 1609.03126; Berthelot et al. 2017, arXiv 1703.10717).

    Returns:
        None for a D whose output is of another shape than its input, or of one number.
    """
    x, y = call.main_input, call.output
    if x is None or y is None or not x.shape == y.shape == cotangent.shape or y[:1].numel() < 2 or not call.intact():
        return None
    with torch.no_grad():
        return normalize(_flat(y - x), dim=1)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1).float()


def place_of(call: Call, number: int, count: int) -> Place:
    """Where a call stands: call `number` of `count` of its unit in one step, with so many rows."""
    rows = len(call.cotangent) if call.cotangent is not None and call.cotangent.ndim else 0
    return id(call.unit), count, number, rows
