// environments/molecules/target.h: what is wanted of a molecule, and how near one comes.
//
// Not here: measuring (chemistry.h), conversations (episode.h).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "molecules/chemistry.h"
#include "molecules/fragments.h"

namespace dure::molecules {

struct Target {
  double weight_min = 0;  // [g/mol]
  double weight_max = 0;
  double logp_min = 0;
  double logp_max = 0;
  double qed_min = 0;
  double sa_max = 10;
};

bool meets(const Properties& p, const Target& target);
// From 0 to 1: the product over the four properties of 1 within, exp(-distance / scale) outside;
// scales: 40 g/mol, logP 1, QED 0.15, SA 1. 1 exactly where it meets the target.
double score(const Properties& p, const Target& target);

// Target number `index` of a seed: ranges around a drawn molecule of QED 0.5 or more, so that each
// can be met: 30 g/mol wide, logP 0.6 wide. Held-out targets have streams of their own.
Target draw_target(const Chemistry& chemistry, uint64_t seed, uint64_t index, bool heldout);

Json to_json(const Target& target);
Target read_target(const Json& json);  // Throws Error naming the field.

// Drawn molecules with what was measured of them: what traces choose from. The same (seed, count)
// gives the same ones.
struct Drawn {
  Tree tree;
  Properties properties;
};
std::vector<Drawn> draw_pool(const Chemistry& chemistry, uint64_t seed, int64_t count);

}  // namespace dure::molecules
