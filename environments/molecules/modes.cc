// Everything follows from seeds: a target's number, a trace's number.
#include "molecules/modes.h"

#include <algorithm>
#include <cmath>
#include <istream>
#include <ostream>

#include "base/error.h"
#include "molecules/episode.h"

namespace dure::molecules {
namespace {

std::set<std::string> read_known(const std::string& path) {
  std::set<std::string> known;
  if (path.empty()) return known;
  const std::string text = read_file(path);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    known.insert(text.substr(at, end - at));
    at = end + 1;
  }
  return known;
}

// Of the pool, in order of score for the target; the target's own source is not in it.
std::vector<size_t> ranked(const std::vector<Drawn>& pool, const Target& target) {
  std::vector<double> scores;
  std::vector<size_t> order;
  for (size_t i = 0; i < pool.size(); ++i) {
    scores.push_back(score(pool[i].properties, target));
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

// Rank of proposal number `i`: among the first tenth, then ever nearer to the first.
size_t rank_of(int64_t i, size_t count, bool guided, Rng& rng) {
  double share = 1;
  if (guided) share = 0.1 * std::pow(0.3, static_cast<double>(i));
  return static_cast<size_t>(
      rng.below(std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(count)))));
}

void propose_from(const std::vector<Drawn>& pool, bool guided, int64_t count, Campaign& campaign,
                  Rng& rng) {
  const std::vector<size_t> order = ranked(pool, campaign.target());
  for (int64_t i = 0; i < count && campaign.best() < 1; ++i)
    campaign.propose(pool[order[rank_of(i, order.size(), guided, rng)]].properties.smiles);
}

struct Row {
  double reward = 0, best = 0, met = 0, valid = 0, distinct = 0, diversity = 0;
  std::vector<int64_t> needed;
  void add(const Summary& s) {
    reward += s.reward;
    best += s.best;
    met += s.met ? 1 : 0;
    valid += s.valid;
    distinct += s.distinct;
    diversity += s.diversity;
    needed.push_back(s.needed);
  }
  std::string text(const char* name, int64_t budget) {
    const auto n = static_cast<double>(needed.size());
    return fmt::format("| {} | {} | {:.0f} % | {} | {:.3f} | {:.3f} | {:.0f} % | {:.2f} |\n", name,
                       budget, 100 * met / n, environments::median_text(needed, budget), best / n,
                       reward / n, 100 * valid / n, diversity / n);
  }
};

void expect_near(std::ostream& out, const std::string& what, double found, double published,
                 double tolerance) {
  const bool right = std::abs(found - published) <= tolerance;
  out << fmt::format("{:<40} {:9.4f}  expected {:9.4f}  {}\n", what, found, published,
                     right ? "ok" : "WRONG");
  if (!right) fail(ErrorCode::kCorrupt, "self-test: {} is {}, not {}", what, found, published);
}

}  // namespace

void serve(const ServeOptions& options) {
  const Chemistry chemistry;
  const std::set<std::string> known = read_known(options.known);
  environments::serve(
      [&](const Json& item, uint64_t, int64_t) { return begin_episode(chemistry, known, item); });
}

void write_items(const ItemOptions& options, std::ostream& out) {
  const Chemistry chemistry;
  for (int64_t i = options.first; i < options.first + options.count; ++i) {
    const Target target = draw_target(chemistry, static_cast<uint64_t>(options.seed),
                                      static_cast<uint64_t>(i), options.heldout);
    const std::string id =
        fmt::format("molecules-{}{}-{}", options.heldout ? "heldout-" : "", options.seed, i);
    out << item_of(id, target, options.proposals).dump() << "\n";
  }
}

void write_traces(const TraceOptions& options, std::ostream& out) {
  const Chemistry chemistry;
  const auto seed = static_cast<uint64_t>(options.seed);
  const std::vector<Drawn> pool = draw_pool(chemistry, seed, options.pool);
  if (options.form == TraceForm::kSmiles) {
    for (const Drawn& drawn : pool) out << drawn.properties.smiles << "\n";
    return;
  }
  for (int64_t i = 0; i < options.targets; ++i) {
    const auto number = static_cast<uint64_t>(i);
    Campaign campaign(chemistry, draw_target(chemistry, seed, number, false));
    Rng rng(seed, stream_id("molecules.trace", number));
    propose_from(pool, rng.uniform() < options.guided, options.proposals, campaign, rng);
    if (options.form == TraceForm::kChat) {
      out << conversation(campaign, options.proposals).dump() << "\n";
    } else {
      Json record = Json::object();
      record["text"] = text_of(campaign, options.proposals);
      out << record.dump() << "\n";
    }
  }
}

void print_baselines(const BaselineOptions& options, std::ostream& out) {
  const Chemistry chemistry;
  const auto seed = static_cast<uint64_t>(options.seed);
  out << "| search | proposals | met | needed (median) | best score | reward | valid | diversity "
         "|\n"
         "|---|--:|--:|--:|--:|--:|--:|--:|\n";
  for (const int64_t budget : options.proposals)
    for (const auto& [method, name] : enum_names(Method{})) {
      Row row;
      for (int64_t i = 0; i < options.targets; ++i) {
        const auto number = static_cast<uint64_t>(i);
        Campaign campaign(chemistry, draw_target(chemistry, seed, number, true));
        Rng rng(seed, stream_id("molecules.baseline", static_cast<uint64_t>(method), number));
        search(campaign, method, budget, rng);
        row.add(summarise(campaign, budget));
      }
      out << row.text(name, budget) << std::flush;
    }
}

void print_properties(std::istream& in, std::ostream& out) {
  const Chemistry chemistry;
  std::string line;
  while (std::getline(in, line)) {
    const auto p = chemistry.measure(line);
    Json record = Json::object();
    record["input"] = line;
    record["valid"] = p.has_value();
    if (p) {
      record["smiles"] = p->smiles;
      record["weight"] = p->weight;
      record["logp"] = p->logp;
      record["qed"] = p->qed;
      record["sa"] = p->sa;
    }
    out << record.dump() << "\n";
  }
}

void self_test(std::ostream& out) {
  const Chemistry chemistry;
  const auto aspirin = chemistry.measure("O=C(C)Oc1ccccc1C(=O)O");
  const auto caffeine = chemistry.measure("Cn1cnc2c1c(=O)n(C)c(=O)n2C");
  if (!aspirin || !caffeine) fail(ErrorCode::kCorrupt, "self-test: aspirin is no molecule");
  expect_near(out, "aspirin: molecular weight [g/mol]", aspirin->weight, 180.159, 1e-3);
  expect_near(out, "aspirin: logP (Wildman, Crippen)", aspirin->logp, 1.3101, 1e-3);
  expect_near(out, "aspirin: synthetic accessibility", aspirin->sa, 1.580, 1e-3);
  expect_near(out, "caffeine: molecular weight [g/mol]", caffeine->weight, 194.194, 1e-3);
  // RDKit's Python module, which has acceptors and alerts of its own, gives 0.538.
  expect_near(out, "caffeine: QED", caffeine->qed, 0.538, 0.05);
  if (chemistry.measure("c1ccccc") || chemistry.measure("C(C)(C)(C)(C)C"))
    fail(ErrorCode::kCorrupt, "self-test: a text that is no molecule was taken for one");
  const std::set<std::string> known;
  Json item = Json::object();
  item["fields"] = item_of("self-test", draw_target(chemistry, 1, 0, false), 2);
  auto episode = begin_episode(chemistry, known, item);
  episode->start();
  out << "an episode: " << episode->finish("done").dump() << "\nself-test passed\n";
}

}  // namespace dure::molecules
