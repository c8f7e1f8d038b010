// Implicit Euler steps of growing length on the six mass fractions, which become Newton steps.
// Residuals are differenced forward; the 6 x 6 system is eliminated with pivots.
#include "plant/williams_otto.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dure::plant {
namespace {

using Vector = std::array<double, kSpeciesCount>;
using Matrix = std::array<Vector, kSpeciesCount>;

constexpr double kProductInBottoms = 0.1;  // kg of P a kg of E

double product_in_bottoms(const Vector& x) { return std::min(x[kP], kProductInBottoms * x[kE]); }

double outflow(const Operation& op, const Vector& x) {
  const double bottoms = x[kA] + x[kB] + x[kC] + x[kE] + product_in_bottoms(x);
  const double recycled = (1 - op.purge_fraction) * bottoms;
  return (op.feed_a_kg_s + op.feed_b_kg_s) / std::max(1 - recycled, 1e-6);
}

Vector balances_at(const Operation& op, const std::array<double, 3>& k, const Vector& x) {
  const double out = outflow(op, x);
  const double lost = op.purge_fraction * out;  // of what is in the bottoms, a fraction of x
  const double r1 = k[0] * x[kA] * x[kB] * op.holdup_kg;
  const double r2 = k[1] * x[kB] * x[kC] * op.holdup_kg;
  const double r3 = k[2] * x[kC] * x[kP] * op.holdup_kg;
  Vector in_less_out;
  in_less_out[kA] = op.feed_a_kg_s - lost * x[kA] - r1;
  in_less_out[kB] = op.feed_b_kg_s - lost * x[kB] - r1 - r2;
  in_less_out[kC] = -lost * x[kC] + 2 * r1 - 2 * r2 - r3;
  in_less_out[kE] = -lost * x[kE] + 2 * r2;
  in_less_out[kG] = -out * x[kG] + 1.5 * r3;
  in_less_out[kP] = (out - lost) * product_in_bottoms(x) - out * x[kP] + r2 - 0.5 * r3;
  return in_less_out;
}

// Solves a y = b; a and b are used up.
Vector eliminate(Matrix a, Vector b) {
  for (int column = 0; column < kSpeciesCount; ++column) {
    int pivot = column;
    for (int row = column + 1; row < kSpeciesCount; ++row)
      if (std::abs(a[row][column]) > std::abs(a[pivot][column])) pivot = row;
    std::swap(a[column], a[pivot]);
    std::swap(b[column], b[pivot]);
    for (int row = column + 1; row < kSpeciesCount; ++row) {
      const double factor = a[row][column] / a[column][column];
      for (int i = column; i < kSpeciesCount; ++i) a[row][i] -= factor * a[column][i];
      b[row] -= factor * b[column];
    }
  }
  for (int row = kSpeciesCount - 1; row >= 0; --row) {
    for (int i = row + 1; i < kSpeciesCount; ++i) b[row] -= a[row][i] * b[i];
    b[row] /= a[row][row];
  }
  return b;
}

double largest(const Vector& v) {
  double most = 0;
  for (const double value : v) most = std::max(most, std::abs(value));
  return most;
}

void euler_step(const Operation& op, const std::array<double, 3>& k, double step_s, Vector& x) {
  const Vector now = balances_at(op, k, x);
  Matrix a{};
  for (int i = 0; i < kSpeciesCount; ++i) {
    const double h = 1e-7;
    Vector moved = x;
    moved[i] += h;
    const Vector then = balances_at(op, k, moved);
    for (int row = 0; row < kSpeciesCount; ++row) a[row][i] = -(then[row] - now[row]) / h;
    a[i][i] += op.holdup_kg / step_s;
  }
  const Vector change = eliminate(a, now);
  double sum = 0;
  for (int i = 0; i < kSpeciesCount; ++i) {
    x[i] = std::max(x[i] + change[i], 0.0);
    sum += x[i];
  }
  for (double& value : x) value /= sum;
}

}  // namespace

std::array<double, 3> rate_constants(const Operation& op) {
  constexpr std::array<double, 3> kFactorPerS = {5.9755e9 / 3600, 2.5962e12 / 3600,
                                                 9.6283e15 / 3600};
  constexpr std::array<double, 3> kBarrierK = {12000 / 1.8, 15000 / 1.8, 20000 / 1.8};
  std::array<double, 3> k;
  for (int i = 0; i < 3; ++i)
    k[i] = op.activity[i] * kFactorPerS[i] * std::exp(-kBarrierK[i] / op.temperature_k);
  return k;
}

Vector balances(const Operation& op, const Vector& fraction) {
  return balances_at(op, rate_constants(op), fraction);
}

SteadyState solve(const Operation& op) {
  const std::array<double, 3> k = rate_constants(op);
  const double feed = op.feed_a_kg_s + op.feed_b_kg_s;
  Vector x{};
  x[kA] = op.feed_a_kg_s / feed;
  x[kB] = op.feed_b_kg_s / feed;
  SteadyState state;
  double step_s = 0.05 * op.holdup_kg / feed;
  for (int i = 0; i < 200; ++i) {
    euler_step(op, k, step_s, x);
    state.residual_kg_s = largest(balances_at(op, k, x));
    if (state.residual_kg_s < 1e-10 * std::max(1.0, outflow(op, x))) break;
    step_s = std::min(step_s * 2, 1e9);
  }
  state.fraction = x;
  state.outflow_kg_s = outflow(op, x);
  state.product_kg_s = state.outflow_kg_s * (x[kP] - product_in_bottoms(x));
  state.waste_kg_s = state.outflow_kg_s * x[kG];
  state.purge_kg_s = op.purge_fraction * state.outflow_kg_s *
                     (x[kA] + x[kB] + x[kC] + x[kE] + product_in_bottoms(x));
  state.converged = state.residual_kg_s < 1e-9 * std::max(1.0, state.outflow_kg_s);
  return state;
}

}  // namespace dure::plant
