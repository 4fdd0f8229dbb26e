"""Many runs of one scenario. Each starts where it leaves the base run and stops where it joins an earlier run.

Both only save time. A run is a function of its plan, so the part before the first fault need not be repeated. Between
processes, the rest of a run is a function of its books, so it need not be checked twice. ``is_thorough`` does neither.
"""

from shared.config.settings import Settings
from tests.faults.books import Books, Outcome
from tests.faults.engines import Engine
from tests.faults.plan import Fault, FaultPlan
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.simulation import Simulation, settings_of


class Exploration:
    """The runs of one scenario with one webhook mode, on one engine."""

    def __init__(
        self, scenario: Scenario, mode: WebhookMode, engine: Engine, settings: Settings | None = None,
        *, is_thorough: bool = False, is_warm: bool = False, learns: bool = True,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.mode = mode
        self.runs = 0
        self.failures: list[str] = []
        self._engine = engine
        self._settings = settings or settings_of(scenario)
        self._is_warm = is_warm
        self._is_thorough = is_thorough or is_warm  # a warm instance's memory is not in the books
        self._learns = learns  # else only the base's moments are known
        self._known: dict[int, int] = {}  # state: the most ticks since the last fault with which a run was there

    async def base(self, *faults: Fault) -> "Base":
        """Runs the scenario with ``faults``, and keeps moments from which other runs can start."""
        base = Base(FaultPlan(faults))
        base.outcome = await self._run(self._simulation(base.plan, None), base)
        if not faults:
            self._known |= {books.fingerprint(): books.outcome.ticks for _, books in base.moments}
        return base

    async def disturb(self, base: "Base", fault: Fault) -> Outcome:
        """Runs the base with one more fault, which must come after the base's faults."""
        plan = FaultPlan((*base.plan.faults, fault))
        count, books = (0, None) if self._is_thorough else base.before(fault.number)
        plan.points = base.plan.points[:count]
        plan.struck = [known for known in base.plan.faults if known.number <= count]
        if books is not None:
            await self._engine.load(books.state)
            books = books.copy()
        return await self._run(self._simulation(plan, books), None)

    def _simulation(self, plan: FaultPlan, books: Books | None) -> Simulation:
        return Simulation(self.scenario, self.mode, plan, self._engine, self._settings, books, is_warm=self._is_warm)

    async def _run(self, simulation: Simulation, base: "Base | None") -> Outcome:
        if not simulation.plan.points:
            await self._engine.clear()
        while not simulation.is_over:
            if simulation.is_between and base is not None:
                base.moments.append((len(simulation.plan.points), simulation.books.copy()))
            await simulation.step()
            if base is None and self._is_known(simulation):
                simulation.books.outcome.is_known = True
                break
        outcome = simulation.books.outcome if simulation.books.outcome.is_known else simulation.judge()
        self.runs += 1
        if not simulation.plan.is_over:
            outcome.violations.append("a fault of the plan never struck")
        if outcome.violations:
            self.failures.append(self._report(simulation.plan, outcome))
        return outcome

    def _is_known(self, simulation: Simulation) -> bool:
        if self._is_thorough or not (simulation.plan.is_over and simulation.is_between):
            return False
        fingerprint, ticks = simulation.books.fingerprint(), simulation.books.outcome.ticks
        # With as many ticks or fewer, this run ends in time if the earlier one did.
        if self._known.get(fingerprint, -1) >= ticks:
            return True
        if self._learns:
            self._known[fingerprint] = ticks
        return False

    def _report(self, plan: FaultPlan, outcome: Outcome) -> str:
        shown = "".join(f"\n    {violation}" for violation in outcome.violations[:4])
        return f"{self.scenario.name}, webhooks {self.mode}, {plan}:{shown}"


class Base:
    """A run from which others start."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.moments: list[tuple[int, Books]] = []
        self.outcome = Outcome()

    def before(self, number: int) -> tuple[int, Books]:
        """Returns the last moment before this I/O, and how many I/Os came before it."""
        return max((moment for moment in self.moments if moment[0] < number), key=lambda moment: moment[0])
