"""The thresholds and shares that steer a call, each with the measurement behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Sizes, seconds and shares; seconds are those of a slow machine with two busy processors.

    Attributes
    ----------
    seconds_dual, seconds_prove : float
        Default time limits of the efforts "dual" and "prove".
    first_quantum : float
        Seconds of the first turn of a deep method: some groups of sweeps at n = m = 10, ten looks at the clock.
    settling_weight : float
        Quanta that a search gets in a round where it is made for the problem.  Two squared clouds of 300 points in the
        plane are proved to .1 % in 3.4 s (with 1: 3.5 s), where the search alone takes 2.6 s.
    plan_share : float
        Share of a limit after which the search for the first plan ends: 3000 x 3000 points with 5 s leave the rest to
        the bounds, and smaller problems need far less.
    improvements : int
        Plans of bounds from which a descent is tried in one call.
    piece : float
        Seconds that a piece of work takes besides what its numbers take: some hundred calls of numpy.
    last_pass : float
        Seconds an entry of both costs, kept for the cheap bounds and the value of the plan.
    last_point : float
        Seconds a point, kept for the same between points of few coordinates.
    smooth_entries : int
        Entries nm from which a few Sinkhorn scalings before each linear program pay: they halve its pivots there.
    pair_points : int
        Points up to which the compiled pair solver is taken: it beats the other in time and value there.
    pair_seconds : float
        What it takes at most.
    tiny_entries : int
        Entries nm up to which twenty more starts take less time than the call around them.
    many_starts : int
        Entries nm up to which eight starts cost less than the linear programs of one large problem.
    random_starts : int
        Random vertices among them; with six 18 of 20 problems of 6 points end at their optimum.
    entropic_cold, entropic_steps : float, int
        Share of the loss of the product coupling below which entropic runs are in float64 and begin with that many
        falling temperatures.
    tiny_free, few_starts : int
        Entries nm up to which problems with a free marginal get that many random vertices.
    free_steps, free_programs : int
        Where a marginal is free: steps of the annealed start, and linear programs for each start before the best is
        followed to the end.
    label_entries : int
        Entries n^2 m up to which single changes of labels cost no more than the descents.
    label_starts, label_steps : int, float
        Random labels of semi-relaxed problems, and entries of the costs that they may look at.
    subspace_points : int
        Points from which the few eigenvalues of a subspace are taken: all of 1500 take .5 s.
    pair_programs : int
        Entries nm up to which partial plans get a linear program for every pair of rows: 20 x 20 take .2 s.
    label_sweeps, label_nodes : int
        Groups of five sweeps of the dual of semi-relaxed problems at most; nodes of the first search.
    kicks, kick_starts : int
        Kicks of a permutation, and random permutations beside the rounded plans: chr12c ends at its optimum.
    kick_steps, kick_step : float
        Exchanges that are looked at in all, and the seconds of one.
    anneal_share : float
        Share of a limited time after which the annealed run ends.
    vertex_share : float
        Share of it after which the vertex that the run points to is taken as it is.
    single_entries : int
        Entries nm from which plans are looked for in float32 first: products take half the time there.
    swap : float
        Seconds an entry of the cost, for a sweep and a swap.
    anneal_look : float
        Seconds of annealed steps between two looks at the clock.
    slow_grain : int
        Numbers in a block of inner problems, which take ten times as long as reading them.
    polish : int
        Cost of solving all inner problems, in certificates that take their prices as they are.
    first_sweeps : int
        Sweeps before the first certificate.
    sweeps : int
        Sweeps between two certificates, each as dear as 3 to 5 sweeps; fixed, so that runs repeat.
    flat_groups : int
        Groups of sweeps without progress after which a run has stalled.
    grace : float
        Seconds that a last certificate may be late.
    grace_share : float
        Share of the time given that it may be late besides.
    shorten : float
        Factor of the step length after every quarter of the flat groups: shorter steps settle tight problems.
    sweep : float
        Seconds of a sweep for each number of the state.
    first_state : float
        Cost of the first state, in sweeps.
    certificate : float
        Cost of a certificate, in sweeps, before the first.
    caution : float
        Factor on the cost of a certificate that is kept in reserve.
    split_steps : int
        Steps of each ascent of the split bounds; later ones gain less than the reformulation does in their time.
    split_finish : int
        Frank-Wolfe steps at the end of each ascent.
    split_entries : int
        Entries nm up to which the ascents are worth their time.
    cone_sweeps : int
        Sweeps of the reformulation from which the cone starts.
    cone_steps : int
        Most steps of the cone; random costs of 12 points are at .98 of their optimum there.
    cone_fewest : int
        Steps that make a start of the cone worth its time.
    cone_step : float
        Seconds of a step for each n^3 m^3.
    cone_step_base : float
        Seconds of a step besides.
    few_sweeps : int
        Sweeps for which there has to be time, or longer steps prove more.
    longer_step : float
        Factor of these longer steps.
    quadratic_steps : int
        Frank-Wolfe steps of the quadratic bound.
    part_sweeps : int
        Sweeps of the reformulation of a part.
    part_group : int
        Steps of the cone between two proofs of a part.
    part_steps : int
        Steps of the cone of a part in all.
    part_gain : float
        Share of what is missing that a group of steps has to gain, or the part is divided instead.
    coupling_entries : int
        Entries nm up to which so many relaxations are solved in time.
    least_mass : float
        Free mass under which a part is not divided again.
    ascent_rounds : int
        Rounds of dual ascent at a node.
    tree_nodes : int
        Most nodes of a tree.
    least_gap : float
        Relative gap to which a search goes where less is asked.
    tree_points : int
        Points up to which a tree is worth its time.
    tree_certain : int
        Points up to which it ends within seconds.
    tree_slice : int
        Work over n^5 between two meetings of the searches: some 50 ms.
    cheap_slice : int
        Nodes between two meetings where they are cheap.
    tree_root : float
        Seconds of the root over n^5.
    tree_node : float
        Seconds of a node over n^5.
    cheap_node : float
        Seconds of a cheap node.
    cheap_points : int
        Points below which a weak root goes faster with many cheap nodes.
    cheap_gap : float
        Gap of the root that counts as weak.
    moment_entries : int
        Entries of the cross moment beyond which boxes are hopeless.
    settled_entries : int
        Entries up to which boxes reach the optimum of hundreds of points.
    cuts : int
        Cuts remembered.
    boxes : int
        Boxes waiting at a time.
    slice_boxes : int
        Boxes of the longest slice.
    prices : int
        Numbers kept for warm starts.
    rotation_entries : int
        Entries nm up to which dense linear programs are solved for cells of rotations.
    rotation_cells : int
        Cells of rotations that are bounded before the nuclear norm, which takes as many: half of a bound is there then.
    pivots : int
        Pivots of a linear program at most.
    restrict_entries : int
        Entries from which good potentials are worth restricting the linear program.
    pricing_rounds : int
        Rounds of pricing before the whole program is solved.
    program : float
        Seconds an entry of a large linear program.
    window : int
        Calls a worker that wait or run at a time: memory does not grow with the number of calls.
    deaths : int
        Deaths of worker processes without one answer between them after which a table stops.
    point_atoms : int
        Atoms from which a plan between points is valued through moments: below, pairs of atoms take no longer.
    large_entries : int
        Entries nm from which plans between points are searched for from coarse to fine: a dense search takes longer.
    point_bytes : int
        Bytes a point that this search takes.
    row_bytes : int
        Bytes a point that the search along sampled rows takes.
    row_points, distance_points : int
        Points up to which a pass over all rows is affordable: of paths in graphs 5 minutes, of distances 3.
    tree_width : int
        Coordinates up to which a kd tree finds near points faster than a look at all.
    direct_atoms : int
        Atoms up to which the sum over pairs of atoms is taken even where a factored form exists.
    recount_atoms : int
        Atoms of a dense plan up to which the sum is taken where its expanded form cancels.
    cancelled : float
        Share of the costs below which the margin of an expanded form could hide the objective.
    checked_bytes : int
        Bytes from which the room is looked at.
    said_bytes : int
        Bytes from which a line says what a call takes.
    """

    seconds_dual: float = 10.0
    seconds_prove: float = 60.0
    first_quantum: float = 0.05
    settling_weight: float = 4.0
    plan_share: float = 0.4
    improvements: int = 12
    piece: float = 1e-3
    last_pass: float = 6e-8
    last_point: float = 5e-6
    smooth_entries: int = 20_000
    pair_points: int = 64
    pair_seconds: float = 0.03
    tiny_entries: int = 400
    many_starts: int = 2_500
    random_starts: int = 6
    entropic_cold: float = 0.03
    entropic_steps: int = 24
    tiny_free: int = 150
    few_starts: int = 20
    free_steps: int = 16
    free_programs: int = 50
    label_entries: int = 200_000
    label_starts: int = 60
    subspace_points: int = 1500
    pair_programs: int = 2500
    label_sweeps: int = 60
    label_nodes: int = 20_000
    label_steps: float = 2e6
    anneal_share: float = 0.4
    vertex_share: float = 0.7
    single_entries: int = 90_000
    swap: float = 3e-9
    anneal_look: float = 0.05
    slow_grain: int = 1 << 17
    polish: int = 10
    first_sweeps: int = 20
    sweeps: int = 40
    flat_groups: int = 16
    grace: float = 0.004
    grace_share: float = 0.02
    shorten: float = 0.3
    sweep: float = 5e-10
    first_state: float = 4.0
    certificate: float = 3.0
    caution: float = 1.2
    split_steps: int = 80
    split_finish: int = 30
    split_entries: int = 40_000
    cone_sweeps: int = 150
    cone_steps: int = 200
    cone_fewest: int = 8
    cone_step: float = 1.5e-10
    cone_step_base: float = 5e-4
    few_sweeps: int = 60
    longer_step: float = 2.0
    quadratic_steps: int = 40
    part_sweeps: int = 150
    part_group: int = 16
    part_steps: int = 320
    part_gain: float = 0.1
    coupling_entries: int = 300
    kicks: int = 1000
    kick_starts: int = 6
    kick_steps: float = 2e8
    kick_step: float = 2e-8
    least_mass: float = 0.02
    ascent_rounds: int = 2
    tree_nodes: int = 100_000_000
    least_gap: float = 1e-9
    tree_points: int = 40
    tree_certain: int = 12
    tree_slice: int = 400_000_000
    cheap_slice: int = 1 << 14
    tree_root: float = 6e-9
    tree_node: float = 5e-10
    cheap_node: float = 4e-6
    cheap_points: int = 17
    cheap_gap: float = 0.15
    moment_entries: int = 9
    settled_entries: int = 4
    cuts: int = 20_000
    boxes: int = 200_000
    slice_boxes: int = 1024
    prices: int = 1 << 24
    rotation_entries: int = 4_000_000
    rotation_cells: int = 3000
    pivots: int = 100_000_000
    restrict_entries: int = 20_000
    pricing_rounds: int = 40
    program: float = 5e-7
    window: int = 8
    deaths: int = 3
    point_atoms: int = 1_000
    large_entries: int = 1_000_000
    point_bytes: int = 800
    row_bytes: int = 10_000
    row_points: int = 50_000
    distance_points: int = 200_000
    tree_width: int = 8
    direct_atoms: int = 30_000
    recount_atoms: int = 10_000
    cancelled: float = 1e-6
    checked_bytes: int = 2**28
    said_bytes: int = 2 * 2**30


POLICY = Policy()
