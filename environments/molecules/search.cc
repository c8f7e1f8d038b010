// Parents are drawn by rank; a child whose text was proposed before is drawn again a few times.
#include "molecules/search.h"

#include <algorithm>
#include <set>

namespace dure::molecules {
namespace {

struct Individual {
  Tree tree;
  double score = 0;
};

class Population {
 public:
  explicit Population(Campaign& campaign) : campaign_(campaign) {}

  void add(Tree tree) {
    const std::string text = smiles_of(tree);
    seen_.insert(text);
    individuals_.push_back({std::move(tree), campaign_.propose(text).score});
    std::stable_sort(individuals_.begin(), individuals_.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    if (individuals_.size() > 10) individuals_.resize(10);
  }

  Tree child(Rng& rng) const {
    for (int attempt = 0;; ++attempt) {
      Tree tree = parent(rng);
      if (rng.uniform() < 0.5) tree = cross(tree, parent(rng), rng);
      tree = mutate(tree, rng);
      if (attempt == 20 || !seen_.contains(smiles_of(tree))) return tree;
    }
  }

 private:
  const Tree& parent(Rng& rng) const {
    const auto count = static_cast<int64_t>(individuals_.size());
    return individuals_[std::min(rng.below(count), rng.below(count))].tree;
  }

  Campaign& campaign_;
  std::vector<Individual> individuals_;
  std::set<std::string> seen_;
};

}  // namespace

const Proposal& Campaign::propose(const std::string& smiles) {
  Proposal proposal{smiles, chemistry_.measure(smiles), 0};
  if (proposal.properties) proposal.score = molecules::score(*proposal.properties, target_);
  proposals_.push_back(std::move(proposal));
  return proposals_.back();
}

double Campaign::best(size_t count) const {
  double best = 0;
  for (size_t i = 0; i < std::min(count, proposals_.size()); ++i)
    best = std::max(best, proposals_[i].score);
  return best;
}

std::vector<std::string> Campaign::distinct(bool meeting) const {
  std::set<std::string> found;
  for (const Proposal& p : proposals_)
    if (p.properties && (!meeting || meets(*p.properties, target_)))
      found.insert(p.properties->smiles);
  return {found.begin(), found.end()};
}

Summary summarise(const Campaign& campaign, int64_t budget) {
  Summary out;
  out.needed = budget + 1;
  for (int64_t n = budget; n >= 1; --n) {
    const double best = campaign.best(static_cast<size_t>(n));
    out.reward += best / static_cast<double>(budget);
    if (best >= 1 && n <= static_cast<int64_t>(campaign.proposals().size())) out.needed = n;
  }
  out.best = campaign.best();
  out.met = out.best >= 1;
  double valid = 0;
  for (const Proposal& p : campaign.proposals()) valid += p.properties ? 1 : 0;
  const std::vector<std::string> distinct = campaign.distinct(false);
  const auto count = static_cast<double>(campaign.proposals().size());
  out.valid = count == 0 ? 0 : valid / count;
  out.distinct = valid == 0 ? 0 : static_cast<double>(distinct.size()) / valid;
  // Of a hundred at most: pairs are many.
  out.diversity = campaign.chemistry().diversity(
      {distinct.begin(),
       distinct.begin() + static_cast<long>(std::min<size_t>(distinct.size(), 100))});
  return out;
}

void search(Campaign& campaign, Method method, int64_t budget, Rng& rng) {
  const int64_t first = method == Method::kRandom ? budget : std::clamp<int64_t>(budget / 4, 4, 20);
  Population population(campaign);
  while (static_cast<int64_t>(campaign.proposals().size()) < budget && campaign.best() < 1) {
    const bool blind = static_cast<int64_t>(campaign.proposals().size()) < first;
    population.add(blind ? draw_tree(rng) : population.child(rng));
  }
}

}  // namespace dure::molecules
