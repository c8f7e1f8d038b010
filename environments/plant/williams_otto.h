// environments/plant/williams_otto.h: the Williams-Otto plant: a stirred reactor, a decanter, a
// column, and a recycle with a purge, at steady state.
//
// Owns the published equations and constants. Not here: prices and limits (unit.h).
//
//   A + B -> C        r1 = k1 X_A X_B M     [kg of A /s]
//   C + B -> P + E    r2 = k2 X_B X_C M     [kg of B /s]; takes 2 kg of C, gives 1 kg of P, 2 kg of
//   E P + C -> G        r3 = k3 X_C X_P M     [kg of C /s]; takes 0.5 kg of P, gives 1.5 kg of G
//   k_i = activity_i a_i exp(-b_i / T)      [1/s], T in K
//
// The decanter takes out all of G (waste). The column takes P overhead (product), except what stays
// with E in its bottoms, 0.1 kg of P a kg of E. Of the bottoms the purge fraction leaves as fuel,
// the rest goes back to the reactor. With a purge fraction of 1 the reactor stands alone.
// Sources: T. J. Williams, R. E. Otto, AIEE Transactions 79 (1960) 458, in degrees Rankine, pounds
// and hours (a = 5.9755e9, 2.5962e12, 9.6283e15 1/h, b = 12000, 15000, 20000 R), here in SI; the
// form of the balances: L. T. Biegler, Nonlinear Programming (SIAM 2010), section 1.4 and chapter
// 8; the reactor alone: J. F. Forbes, T. E. Marlin, Computers & Chemical Engineering 20 (1996) 717.
#pragma once

#include <array>

namespace dure::plant {

enum Species { kA, kB, kC, kE, kG, kP, kSpeciesCount };

struct Operation {
  double feed_a_kg_s = 0;
  double feed_b_kg_s = 0;
  double temperature_k = 0;
  double purge_fraction = 1;                // of the column's bottoms, above 0, at most 1
  double holdup_kg = 0;                     // mass in the reactor, M
  std::array<double, 3> activity{1, 1, 1};  // of the three reactions; 1 as published
};

struct SteadyState {
  std::array<double, kSpeciesCount> fraction{};  // mass fractions in the reactor
  double outflow_kg_s = 0;                       // of the reactor
  double product_kg_s = 0;                       // overhead P
  double waste_kg_s = 0;                         // G
  double purge_kg_s = 0;                         // fuel
  double residual_kg_s = 0;                      // largest of the balances, absolute
  bool converged = false;                        // residual below 1e-9 kg/s
};

std::array<double, 3> rate_constants(const Operation& operation);  // [1/s]

// The balances of the six species [kg/s]; zero at steady state. Sums to zero where fractions sum to
// 1.
std::array<double, kSpeciesCount> balances(const Operation& operation,
                                           const std::array<double, kSpeciesCount>& fraction);

// By pseudo-transient continuation from the feed, so that a state is found which the plant itself
// would run into. Deterministic.
SteadyState solve(const Operation& operation);

}  // namespace dure::plant
