"""The attempt that a person counts by, as SQL over one person's events in order.

Each event is one 64-bit number: milliseconds since the range began, then its place among the
person's events. So comparing numbers compares events, and two at one millisecond keep the order
of the log. ``e`` has them in order with a sentinel behind, ``m`` what each matches.

Everything is a backward pass: "the next event that matches X, at or after here" is an
``arrayReverseFill``, and what follows an attempt's step is carried along from the end of the
array to its beginning. So the cost is linear in the events, however many attempts a person makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from projections.funnels.definition import STEPS_MAX, Definition
from projections.funnels.matching import MASK_BITS, TIME_SHIFT

#: Bits of a place among one person's events, where three numbers share 64 bits: 4 remain for the
#: steps that are missing.
_PLACE_BITS = 29
assert STEPS_MAX < 1 << 63 - 2 * _PLACE_BITS

_NEVER = f"toUInt64({2**64 - 1})"
_NEVER_MASK = f"toUInt32({2**32 - 1})"


@dataclass(frozen=True)
class Clock:
    """How an event's 64 bits are divided, and the window of an attempt."""

    from_ms: int
    span_ms: int
    window_ms: int

    @property
    def bits(self) -> int:
        """Bits for the place among the person's events; one is left for the sentinel."""
        return 63 - self.span_ms.bit_length()

    @property
    def places(self) -> int:
        """The bits of an event that are its place."""
        return (1 << self.bits) - 1

    def within(self, start: str, event: str) -> str:
        """Whether an event lies in the window of an attempt, its end included."""
        elapsed = f"bitShiftRight({event}, {self.bits}) - bitShiftRight({start}, {self.bits})"
        return f"({event} < {_NEVER} and {elapsed} <= {self.window_ms})"


def attempts_sql(definition: Definition, rows: str, clock: Clock, with_value: bool) -> str:
    """One row for each person who made an attempt: ``level``, ``t_1 … t_n`` and ``value``.

    ``level`` is how many steps the best attempt reached, ``t_k`` when it reached the k-th of them
    in milliseconds since the range began, ``value`` the breakdown's value at its first step.
    """
    count = len(definition.steps)
    prepared = _prepared(definition, rows, clock, with_value)
    if definition.order == "unordered":
        paths = _unordered(definition, prepared, clock)
    else:
        paths = _in_order(definition, prepared, clock)
    # The most steps; of these the attempt that reached the last of them first; of these the one
    # that began last. Places among the person's events are enough to tell, and fit one number.
    last = f"bitAnd(path[length(path)], {clock.places})"
    first = f"bitAnd(path[1], {clock.places})"
    best = (
        f"arrayMap(path -> ({count} - length(path)) * {1 << 2 * _PLACE_BITS}"
        f" + {last} * {1 << _PLACE_BITS} + {(1 << _PLACE_BITS) - 1} - {first}, paths)"
    )
    times = ", ".join(
        f"bitShiftRight(best[{k}], {clock.bits}) as t_{k}" for k in range(1, count + 1)
    )
    value = f", vals[bitAnd(best[1], {clock.places})] as value" if with_value else ""
    return (
        f"select toUInt8(length(best)) as level, {times}{value} from (select"
        f" {best} as ranks, paths[indexOf(ranks, arrayMin(ranks))] as best"
        f"{', vals' if with_value else ''} from ({paths}))"
    )


def _prepared(definition: Definition, rows: str, clock: Clock, with_value: bool) -> str:
    """A person's events in order as ``e`` and ``m``, for all who have a first step."""
    if definition.order == "unordered":
        opens = f"bitAnd(toUInt32(k), {(1 << len(definition.steps)) - 1}) != 0"
    else:
        opens = "bitTest(toUInt32(k), 0)"
    if with_value:
        keys = "arraySort(pair -> pair.1, groupArray((k, value))) as pairs, pairs.1 as ks"
        keys += ", pairs.2 as vals"
    else:
        keys = "arraySort(groupArray(k)) as ks"
    time = f"toUInt64(toUInt64(bitShiftRight(x, {TIME_SHIFT})) - {clock.from_ms})"
    return (
        f"select arrayPushBack(arrayMap((x, i) -> bitOr(bitShiftLeft({time}, {clock.bits}),"
        f" toUInt64(i)), ks, arrayEnumerate(ks)), {_NEVER}) as e,"
        f" arrayPushBack(arrayMap(x -> bitAnd(toUInt32(x), {(1 << MASK_BITS) - 1}), ks),"
        f" {_NEVER_MASK}) as m{', vals' if with_value else ''}"
        f" from (select {keys} from ({rows}) group by person having countIf({opens}) > 0)"
    )


def _in_order(definition: Definition, prepared: str, clock: Clock) -> str:
    """Paths of ordered and strict attempts: each step at the first event that can be it.

    ``n_i_k`` is, for an attempt that stands at step i here, when it reaches step k.
    """
    count = len(definition.steps)
    columns = _exclusions(definition)
    for i in range(count - 1, 0, -1):
        columns += _stand(definition, i)
    names = [f"x{k}" for k in range(1, count + 1)]
    starts = _starts(["e", *(f"n_1_{k}" for k in range(2, count + 1))], "bitTest(b, 0)")
    path = f"arrayFilter(x -> {clock.within('x1', 'x')}, [{', '.join(names)}])"
    return f"select {_mapped(path, names, starts)} as paths, * from ({_with(columns, prepared)})"


def _stand(definition: Definition, i: int) -> list[str]:
    """``n_i_k`` for all k: what follows a stand at step i, unless an exclusion ends it."""
    columns = [f"{_following('ee', i)} as s_{i}"]
    conditions = []
    if definition.order == "strict":
        # The very next event is the next step, or the attempt is over.
        conditions.append(("y", "ee", "y != s"))
    for number, exclusion in enumerate(definition.exclusions):
        if exclusion.from_step <= i < exclusion.to_step:
            # The step that ends the exclusion's reach is not excluded by itself.
            order = "<" if exclusion.to_step == i + 1 else "<="
            conditions.append((f"y{number}", f"excluded_{number}", f"y{number} {order} s"))
    for k in range(i + 1, len(definition.steps) + 1):
        follows = f"s_{i}" if k == i + 1 else _following(_after(f"n_{i + 1}_{k}"), i)
        if conditions:
            names = ", ".join(["v", "s", *(name for name, _, _ in conditions)])
            arrays = ", ".join([follows, f"s_{i}", *(array for _, array, _ in conditions)])
            ends = " or ".join(condition for _, _, condition in conditions)
            follows = f"arrayMap(({names}) -> if({ends}, {_NEVER}, v), {arrays})"
        columns.append(f"{follows} as n_{i}_{k}")
    return columns


def _unordered(definition: Definition, prepared: str, clock: Clock) -> str:
    """Paths of unordered attempts: any step opens one, then each counts when it first happens.

    A step is done by the first event that matches it; where several steps match the same, each
    takes an event of its own. An exclusion ends an attempt that has done one of its two steps
    and not the other.
    """
    count = len(definition.steps)
    columns = _exclusions(definition)
    columns += [f"{_carried(definition, 'e', k)} as f_{k}" for k in range(count)]
    names = [f"x{k}" for k in range(count)]
    arrays = [f"f_{k}" for k in range(count)]
    ends = []
    for number, exclusion in enumerate(definition.exclusions):
        a, b = exclusion.from_step - 1, exclusion.to_step - 1
        for k in (a, b):
            columns.append(f"{_carried(definition, f'excluded_{number}', k)} as z_{number}_{k}")
            names.append(f"z{number}_{k}")
            arrays.append(f"z_{number}_{k}")
        lapse = f"if(x{a} < x{b}, z{number}_{a}, z{number}_{b})"
        ends.append(f"if({lapse} < greatest(x{a}, x{b}) and x{a} != x{b}, {lapse}, {_NEVER})")
    end = f"arrayMin([{', '.join([*ends, _NEVER])}])"
    done = ", ".join(f"x{k}" for k in range(count))
    path = f"arraySort(arrayFilter(x -> {clock.within('start', 'x')} and x < {end}, [{done}]))"
    starts = _starts(["e", *arrays], f"bitAnd(b, {(1 << count) - 1}) != 0")
    paths = _mapped(path, ["start", *names], starts)
    return f"select {paths} as paths, * from ({_with(columns, prepared)})"


def _carried(definition: Definition, array: str, step: int) -> str:
    """An array's value at the event that does the step for an attempt that begins here."""
    match = definition.steps[step].match
    earlier = sum(other.match == match for other in definition.steps[:step])
    carried = _at_next(array, step)
    for _ in range(earlier):
        carried = _at_next(_after(carried), step)
    return carried


def _exclusions(definition: Definition) -> list[str]:
    """``excluded_j``: the next event strictly after this one that the exclusion matches."""
    first = len(definition.steps)
    return [
        f"{_following('ee', first + number)} as excluded_{number}"
        for number in range(len(definition.exclusions))
    ]


def _with(columns: Sequence[str], prepared: str) -> str:
    """The columns beside ``e`` and ``m``, and these as seen from the event before."""
    seen = f"{_after('e')} as ee, arrayShiftLeft(m, 1, {_NEVER_MASK}) as mm"
    return f"select *, {', '.join([seen, *columns])} from ({prepared})"


def _starts(arrays: Sequence[str], opens: str) -> str:
    """Of each array what stands at the events that open an attempt, in one pass."""
    among = f"arrayFilter((x, v, b) -> {opens} and v < {_NEVER}, arrayZip({{}}), e, m)"
    return among.format(", ".join(arrays))


def _mapped(path: str, names: Sequence[str], starts: str) -> str:
    """The path of each start, whose parts go by these names."""
    if len(names) == 1:
        return f"arrayMap(x -> arrayMap({names[0]} -> {path}, [x.1])[1], {starts})"
    return f"arrayMap(({', '.join(names)}) -> {path}, {starts})"


def _at_next(array: str, bit: int, mask: str = "m") -> str:
    """An array's value at the next event, from this one on, that has the bit."""
    return f"arrayReverseFill((v, b) -> bitTest(b, {bit}), {array}, {mask})"


def _following(seen: str, bit: int) -> str:
    """An array's value at the next event after this one that has the bit.

    Args:
        seen: the array as seen from the event before.
        bit: the number of the match.
    """
    return _at_next(seen, bit, "mm")


def _after(array: str) -> str:
    """An array as seen from the event before: what is here is what comes next."""
    return f"arrayShiftLeft({array}, 1, {_NEVER})"
