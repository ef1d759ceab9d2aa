"""Products C1 T C2' for solvers: factored where the spaces allow it, in single precision where asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gwfast.arrays import Array, namespace, sparse_times_dense
from gwfast.plan import Plan
from gwfast.problem import Problem, linearised, product


@dataclass(frozen=True, eq=False)
class Products:
    """The matrices of a problem, ready for many products in one dtype.

    Attributes
    ----------
    problem : Problem
    single : bool
        float32 products; the results are float32 and only good to find plans with.
    """

    problem: Problem
    single: bool

    @property
    def factored(self) -> bool:
        """Whether both spaces multiply through factors, O(n m d) a product."""
        return self.problem.x.factored and self.problem.y.factored

    @cached_property
    def costs(self) -> tuple[Array, Array]:
        """Both dense costs in the dtype of the products."""
        costs = self.problem.x.dense(), self.problem.y.dense()
        if not self.single:
            return costs
        xp = namespace(costs[0])
        return xp.astype(costs[0], xp.float32), xp.astype(costs[1], xp.float32)

    def image(self, plan: Array | Plan) -> Array:
        """C1 T C2' (n, m): two matrix products for a dense plan, one for atoms."""
        return self._image(plan, transposed=False)

    def back(self, plan: Array | Plan) -> Array:
        """C1' T C2 (n, m), the same as `image` where both costs are symmetric."""
        return self._image(plan, transposed=True)

    def gradient(self, plan: Array | Plan) -> Array:
        """Gradient (n, m) of the objective at a coupling, as `gwfast.problem.gradient`."""
        image = self.image(plan)
        back = image if self.problem.symmetric else self.back(plan)
        return linearised(
            self.problem, image, back, plan if isinstance(plan, Plan) else Plan(self.problem.shape, matrix=plan)
        )

    def _image(self, plan: Array | Plan, transposed: bool) -> Array:
        if self.factored:
            dense = plan.toarray() if isinstance(plan, Plan) else plan
            dense = namespace(dense).astype(dense, self.problem.p.dtype)  # the factors are float64, single or not
            return product(self.problem.T if transposed else self.problem, dense)
        c1, c2 = self.costs
        turn = namespace(c1).matrix_transpose
        left = c1 if self.problem.x.symmetric or not transposed else turn(c1)
        right = c2 if self.problem.y.symmetric or transposed else turn(c2)
        if isinstance(plan, Plan) and not plan.is_dense:
            return left @ sparse_times_dense(plan.rows, plan.cols, plan.mass, plan.shape, right)
        dense = plan.matrix if isinstance(plan, Plan) else plan
        return left @ (namespace(c1).astype(dense, c1.dtype) @ right)
