// environments/plant/modes.h: what the program writes besides episodes: items, traces, the table of
// baselines.
#pragma once

#include <iosfwd>

#include "plant/search.h"

namespace dure::plant {

struct ItemOptions {
  int64_t count = 100;
  int64_t seed = 1;
  int64_t first = 0;
  int64_t experiments = 6;
  bool heldout = false;
  template <typename V>
  void visit(V& v) {
    v("count", count, "how many", between(1, 1000000));
    v("seed", seed, "of what is drawn", at_least(0));
    v("first", first, "number of the first unit", at_least(0));
    v("experiments", experiments, "runs of the plant in an episode", between(1, 1000));
    v("heldout", heldout, "units that no trace and no training item has");
  }
};
void write_items(const ItemOptions& options, std::ostream& out);

enum class TraceForm : uint8_t { kChat, kText };
constexpr auto enum_names(TraceForm) {
  return std::to_array<EnumName<TraceForm>>(
      {{TraceForm::kChat, "chat"}, {TraceForm::kText, "text"}});
}
struct TraceOptions {
  int64_t units = 200;
  int64_t per_unit = 10;
  int64_t seed = 1;
  int64_t experiments = 6;
  TraceForm form = TraceForm::kChat;
  std::vector<Method> methods = {Method::kRandom, Method::kBayes, Method::kUsualBayes};
  template <typename V>
  void visit(V& v) {
    v("units", units, "training units, from number 0", between(1, 1000000));
    v("per_unit", per_unit, "traces of each", between(1, 100000));
    v("seed", seed, "of units, noise and searches", at_least(0));
    v("experiments", experiments, "runs of the plant in a trace", between(1, 1000));
    v("form", form, "conversations to fine-tune on, or texts to pretrain on");
    v("methods", methods, "who searched, in turn");
  }
};
void write_traces(const TraceOptions& options, std::ostream& out);

struct BaselineOptions {
  int64_t units = 40;
  int64_t seed = 1;
  int64_t repeats = 2;
  std::vector<int64_t> experiments = {6, 12, 24};
  template <typename V>
  void visit(V& v) {
    v("units", units, "held-out units, from number 0", between(1, 100000));
    v("seed", seed, "of units, noise and searches", at_least(0));
    v("repeats", repeats, "searches of each unit", between(1, 10000));
    v("experiments", experiments, "budgets: runs of the plant");
  }
};
void print_baselines(const BaselineOptions& options, std::ostream& out);

struct OptimumOptions {
  int64_t unit = 0;
  int64_t seed = 1;
  int64_t levels = 12;
  bool heldout = false;
  template <typename V>
  void visit(V& v) {
    v("unit", unit, "its number", at_least(0));
    v("seed", seed, "of the unit", at_least(0));
    v("levels", levels, "of the grid, in each of three directions", between(2, 200));
    v("heldout", heldout, "a held-out unit");
  }
};
void print_optimum(const OptimumOptions& options, std::ostream& out);

}  // namespace dure::plant
