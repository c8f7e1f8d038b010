// Everything follows from seeds: a unit's number, a trace's number, a repeat's number.
#include "plant/modes.h"

#include <algorithm>
#include <ostream>

#include "plant/episode.h"

namespace dure::plant {
namespace {

struct Row {
  double regret = 0;
  double reward = 0;
  double within = 0;
  std::vector<int64_t> needed;
};

void add_search(const Unit& unit, const Optimum& optimum, Method method, int64_t budget,
                const BaselineOptions& options, int64_t number, Row& row) {
  Campaign campaign(unit, static_cast<uint64_t>(options.seed), static_cast<uint64_t>(number));
  Rng rng(
      static_cast<uint64_t>(options.seed),
      stream_id("plant.baseline", static_cast<uint64_t>(method), static_cast<uint64_t>(number)));
  search(campaign, method, budget, rng);
  const Score s = score(campaign, optimum, budget);
  row.regret += std::min(s.regret, 1.0);
  row.reward += s.reward;
  row.within += s.within_5_percent ? 1 : 0;
  row.needed.push_back(s.experiments_to_5_percent);
}

std::string row_text(const char* name, int64_t budget, const Row& row) {
  const auto n = static_cast<double>(row.needed.size());
  return fmt::format("| {} | {} | {:.3f} | {:.0f} % | {} | {:.3f} |\n", name, budget,
                     row.regret / n, 100 * row.within / n,
                     environments::median_text(row.needed, budget), row.reward / n);
}

}  // namespace

void write_items(const ItemOptions& options, std::ostream& out) {
  for (int64_t i = options.first; i < options.first + options.count; ++i) {
    const Unit unit =
        draw_unit(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(i), options.heldout);
    const std::string id =
        fmt::format("plant-{}{}-{}", options.heldout ? "heldout-" : "", options.seed, i);
    out << item_of(id, unit, find_optimum(unit), options.experiments).dump() << "\n";
  }
}

void write_traces(const TraceOptions& options, std::ostream& out) {
  if (options.methods.empty())
    fail(ErrorCode::kInvalidArgument, "traces: methods is empty: name one at least");
  const auto seed = static_cast<uint64_t>(options.seed);
  for (int64_t i = 0; i < options.units * options.per_unit; ++i) {
    const Unit unit = draw_unit(seed, static_cast<uint64_t>(i / options.per_unit), false);
    const auto number = static_cast<uint64_t>(i);
    Campaign campaign(unit, seed, number);
    Rng rng(seed, stream_id("plant.trace", number));
    search(campaign, options.methods[static_cast<size_t>(i) % options.methods.size()],
           options.experiments, rng);
    if (options.form == TraceForm::kChat) {
      out << conversation(campaign).dump() << "\n";
    } else {
      Json record = Json::object();
      record["text"] = text_of(campaign);
      out << record.dump() << "\n";
    }
  }
}

void print_baselines(const BaselineOptions& options, std::ostream& out) {
  out << "| search | runs | regret | within 5 % | runs to 5 % (median) | reward |\n"
         "|---|--:|--:|--:|--:|--:|\n";
  std::vector<Unit> units;
  std::vector<Optimum> optima;
  for (int64_t i = 0; i < options.units; ++i) {
    units.push_back(draw_unit(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(i), true));
    optima.push_back(find_optimum(units.back()));
  }
  for (const int64_t budget : options.experiments)
    for (const auto& [method, name] : enum_names(Method{})) {
      Row row;
      for (int64_t i = 0; i < options.units * options.repeats; ++i) {
        const auto unit = static_cast<size_t>(i / options.repeats);
        add_search(units[unit], optima[unit], method, budget, options, i, row);
      }
      out << row_text(name, budget, row) << std::flush;
    }
}

void print_optimum(const OptimumOptions& options, std::ostream& out) {
  const Unit unit = draw_unit(static_cast<uint64_t>(options.seed),
                              static_cast<uint64_t>(options.unit), options.heldout);
  Json found = Json::object();
  found["unit"] = to_json(unit);
  found["optimum"] = to_json(find_optimum(unit, static_cast<int>(options.levels)));
  out << found.dump(2) << "\n";
}

}  // namespace dure::plant
