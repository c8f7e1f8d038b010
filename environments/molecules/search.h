// environments/molecules/search.h: proposals for one target in order, what they are worth, and how
// they are chosen without a language model.
//
// Not here: conversations (episode.h), tables (modes.h).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "molecules/target.h"

namespace dure::molecules {

struct Proposal {
  std::string text;                      // as it was proposed
  std::optional<Properties> properties;  // absent: no molecule
  double score = 0;
};

// Every proposal is one evaluation, valid or not, new or not.
class Campaign {
 public:
  Campaign(const Chemistry& chemistry, const Target& target)
      : chemistry_(chemistry), target_(target) {}
  const Proposal& propose(const std::string& smiles);
  const std::vector<Proposal>& proposals() const { return proposals_; }
  const Chemistry& chemistry() const { return chemistry_; }
  const Target& target() const { return target_; }
  double best(size_t count = SIZE_MAX) const;             // score among the first `count`
  std::vector<std::string> distinct(bool meeting) const;  // canonical, valid, each once

 private:
  const Chemistry& chemistry_;
  Target target_;
  std::vector<Proposal> proposals_;
};

struct Summary {
  double reward = 0;  // mean over the budget of the best score after 1, 2, ... proposals
  double best = 0;    // score
  bool met = false;
  int64_t needed = 0;    // proposals until the target was met; budget + 1 where it was not
  double valid = 0;      // share of proposals
  double distinct = 0;   // different molecules, share of the valid ones
  double diversity = 0;  // of the different molecules
};
Summary summarise(const Campaign& campaign, int64_t budget);

enum class Method : uint8_t { kRandom, kGenetic };
constexpr auto enum_names(Method) {
  return std::to_array<EnumName<Method>>(
      {{Method::kRandom, "random"}, {Method::kGenetic, "genetic"}});
}

// Random trees; or a genetic search over trees: the first quarter of the budget (4 to 20) random,
// then children of the best ten, crossed or not, each mutated. Ends early where the target is met.
void search(Campaign& campaign, Method method, int64_t budget, Rng& rng);

}  // namespace dure::molecules
